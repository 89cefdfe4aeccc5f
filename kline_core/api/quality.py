"""Quality of the bars, and release of jumps that are real."""

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kline_core.api.data import as_home, check_paths, symbol_names
from kline_core.compute.request import known_symbols
from kline_core.dates import optional_date, parse_date
from kline_core.errors import DateError, SettingError
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.bars.quality_report import QualityReport
    from kline_core.bars.readers.frame import Frame

Day = str | datetime.date | np.datetime64


def check(
    home: Home | str | Path,
    symbols: str | Iterable[str] | None = None,
    *,
    first: Day | None = None,
    last: Day | None = None,
    against: "str | Path | Frame | Iterable[str | Path | Frame] | None" = None,
    columns: Mapping[str, str] | None = None,
) -> "QualityReport":
    """Check the bars of a home. Changes nothing.

    Coverage against the sessions of the home's market, days that are missing for many symbols, holes, stale and
    repeated bars, units of volumes, what looks like a split, and unexplained jumps: changes of the adjusted close
    beyond the price limit of the exchange. Jumps are quarantined, so that no window reaches across them, until
    `release_jump`.

    Args:
        home: A home, or the folder or URL of one.
        symbols: Only these; None for all.
        first: First day, YYYY-MM-DD; None for the first that is stored.
        last: Last day; None for the newest.
        against: Files, folders or frames of another vendor; what they say otherwise is reported.
        columns: Names of their columns by their meaning, as for `ingest`.

    Returns:
        Counts, and a frame ``.findings``, with a row for each finding.

    Raises:
        HomeError: The home is missing or cannot be read.
        UnknownSymbolError: A symbol has no bars.
        DateError: A day cannot be read.
        InputError: The other vendor's files cannot be read.

    Examples:
        >>> kl.check(home).problems
        0
    """
    from kline_core.bars.quality import check_bars
    from kline_core.bars.readers.frame import is_frame
    from kline_core.bars.vendor_differences import vendor_rows

    store = as_home(home)
    names = symbol_names(symbols)
    if names is not None:
        names = known_symbols(store, names)
    other = None
    if against is not None:
        alone = isinstance(against, str | Path) or is_frame(against)
        given: list[Any] = [against] if alone else list(against)  # type: ignore[arg-type]
        sources = [Path(source) if isinstance(source, str | Path) else source for source in given]
        check_paths([source for source in sources if isinstance(source, Path)])
        other = vendor_rows(sources, columns)
        if names is not None:
            other = other[other["symbol"].isin(names)]
    begin = optional_date(first, "first")
    end = optional_date(last, "last")
    if begin is not None and end is not None and begin > end:
        raise DateError(f"first is {begin}, which is after last, {end}; swap them", parameter="first", value=first)
    report = check_bars(store, names, begin, end, other)
    if report.rows == 0 and (begin is not None or end is not None):
        raise DateError(
            f"no bars are stored from {begin or 'the first'} to {end or 'the newest'} day; name days that have some",
            parameter="first" if begin is not None else "last",
            value=first if begin is not None else last,
        )
    return report


def release_jump(home: Home | str | Path, symbol: str, date: Day, why: str) -> None:
    """Release an unexplained jump that is real, so that windows and outcomes reach across it again.

    Kept with the home, with its reason and today's day. It holds for the change as it is now: if the bars are
    corrected, the jump is quarantined again. Values that depend on it are computed anew by the next update and run.

    Args:
        home: A home, or the folder or URL of one.
        symbol: The symbol.
        date: Day of the bar after the jump.
        why: What the jump was, for whoever asks later.

    Raises:
        DateError: The bar of that day is no unexplained jump.
        SettingError: `why` is empty.
        UnknownSymbolError: The symbol has no bars.
        HomeError: The home is missing, or cannot be read or written.

    Examples:
        >>> kl.release_jump(home, "AAPL", "2013-03-01", "no limit there")
        Traceback (most recent call last):
        kline_core.errors.DateError: AAPL has no unexplained jump on 2013-03-01; `kline check AAPL` lists what it has
    """
    from kline_core.bars.jumps import note_name

    store = as_home(home)
    if not why.strip():
        raise SettingError("why is empty; say what the jump was (--why)", parameter="why", value=why)
    (name,) = known_symbols(store, [symbol])
    day = parse_date(date, "date")
    found = check(store, name).findings
    hit = found[found["kind"].isin(("jump", "released jump")) & (found["first"] == str(day))]
    if len(hit) == 0:
        raise DateError(
            f"{name} has no unexplained jump on {day}; `kline check {name}` lists what it has",
            parameter="date",
            value=date,
            symbol=name,
        )
    today = datetime.datetime.now(datetime.UTC).date()
    store.set_note(
        note_name(name, day), {"change": float(hit["value"].iloc[0]), "why": why.strip(), "on": today.isoformat()}
    )


def hold_jump(home: Home | str | Path, symbol: str, date: Day) -> None:
    """Take a release back, so that the jump is quarantined again.

    Raises `DateError` if nothing is released on that day, and as `release_jump`.
    """
    from kline_core.bars.jumps import note_name

    store = as_home(home)
    (name,) = known_symbols(store, [symbol])
    note = note_name(name, parse_date(date, "date"))
    if note not in store.notes():
        raise DateError(
            f"{name} has no released jump on {date}; `kline check {name}` lists what it has",
            parameter="date",
            value=date,
            symbol=name,
        )
    store.set_note(note, None)
