"""Evaluation of stored values: how well they ranked the forward returns, by horizon, quantile and year.

1. Values are read as they are stored; nothing is computed again.
2. Each is joined with the forward returns of its symbol over every horizon, measured from the entry as for patterns.
3. Across symbols: on each session with enough symbols, the correlation of values with returns; then its mean over
   sessions. This is the measure to trust, since symbols of one day share the market's move. Sessions are the days on
   which any of the symbols traded.
4. Over time: the rank correlation within each symbol; then its mean over symbols. Its standard error assumes that the
   symbols move together. It needs no shared dates, so a home with few symbols still has it.
5. The verdict judges one figure that is chosen beforehand, rank IC with the return over the settings' `return_horizon`:
   of many figures one is always far from zero.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.jumps import released
from kline_core.bars.members import known_membership
from kline_core.bars.symbol_bars import BarsBySymbol, bars_by_symbol
from kline_core.encoder.weights import weights_fingerprint
from kline_core.errors import DateError, SettingError
from kline_core.evaluation.forward_returns import ForwardReturns, forward_returns
from kline_core.evaluation.information_coefficient import (
    CrossSectionIC,
    cross_section_ic,
    cross_section_rank_ic,
    pooled_rank_ic,
    time_series_rank_ic,
)
from kline_core.evaluation.quantiles import quantile_returns
from kline_core.evaluation.report import Estimate, Evaluation, HorizonIC, YearCoverage
from kline_core.factor.export import symbols_with_values, why_no_values
from kline_core.settings import Settings
from kline_core.store.home import Home
from kline_core.store.schemas import OK
from kline_core.typing import Floats64, Int64s

MIN_SYMBOLS: Final = 5
"""Fewest symbols for a correlation across a session."""
MIN_SESSIONS: Final = 20
"""Independent sessions below which a standard error across them is itself too uncertain to judge by."""


def evaluate_values(
    home: Home,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder_path: str | Path | None = None,
    fingerprint: str | None = None,
    symbols: Sequence[str] | None = None,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
    universe: str | None = None,
) -> Evaluation:
    """Evaluate stored values against the present bars of the home.

    Args:
        home: Home with the values.
        settings: Horizons and entry lag of the returns, and with the encoder the fingerprint if none is named.
        encoder_path: Weights of the encoder; None for the default ones.
        fingerprint: Fingerprint of the values; None for that of `settings` and the encoder.
        symbols: Only these, as `resolve_symbols` takes them; None for all that have values.
        first: First sample date, datetime64[D]; None for the first that is stored.
        last: Last sample date, datetime64[D]; None for the last that is stored.
        universe: Only samples of days on which the symbol was a member of this index, by the newest list not after the
            day (`kline_core.bars.members`); None for all.

    Raises:
        HomeError: The home holds no values.
        FingerprintError: No values are stored under this fingerprint.
        UnknownSymbolError: A symbol that is named has no values.
        AmbiguousSymbolError: Several symbols with values may be meant.
        DateError: No values are stored of these dates, or none of a member.
        SettingError: `symbols` is empty, or the home keeps no members of the universe.
        EncoderError: The weights cannot be read.
    """
    wanted = fingerprint if fingerprint is not None else settings.fingerprint(weights_fingerprint(encoder_path))
    rows = _stored(home, wanted, symbols, first, last)
    asked = rows.num_rows
    if universe is not None:
        rows = _of_members(home, rows, universe)
    names = rows["symbol"].unique().to_pylist()
    columns = ["symbol", "date", "open", "high", "low", "close", "volume", "adj_factor", "suspended"]
    version = home.version("bars")
    bars = home.read("bars", columns, version, symbols=names)
    frames = bars_by_symbol(bars, releases=released(home.notes(version)))
    joined = _Joined.of(rows, frames, settings)
    ok = pc.equal(rows["status"], OK)
    values, failed = rows.filter(ok), Counter(rows.filter(pc.invert(ok))["reason"].to_pylist())
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    if joined.n_values + joined.without_bar != values.num_rows:
        raise AssertionError(f"{values.num_rows} values, {joined.n_values} joined, {joined.without_bar} without a bar")
    steps, horizon = settings.patterns, settings.factor.return_horizon
    horizons = [_horizon(joined, at, bars, bars + steps.entry_lag_bars) for at, bars in enumerate(steps.horizons)]
    main = steps.horizons.index(horizon)
    return Evaluation(
        fingerprint=wanted,
        samples=rows.num_rows,
        values=values.num_rows,
        failed=dict(failed.most_common()),
        seen=values.num_rows - values["reason"].null_count,
        without_bar=joined.without_bar,
        across_jumps=sum(part.across_jumps for part in joined.symbols),
        symbols=len(names),
        first=dates.min(),
        last=dates.max(),
        horizon=horizon,
        horizons=horizons,
        quantiles=quantile_returns(
            joined.sessions,
            joined.values,
            joined.forward[:, main],
            horizon + steps.entry_lag_bars,
            MIN_SYMBOLS if horizons[main].rank_ic.known else None,
        ),
        coverage=_coverage(rows),
        universe=universe,
        outside=asked - rows.num_rows,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """n samples that have a bar, ordered by symbol."""

    symbols: list[ForwardReturns]
    sessions: Int64s
    """int64 (n,): ordinal of the sample's date among the days on which any symbol traded."""
    values: Floats64
    forward: Floats64
    """float64 (n, horizons)"""
    without_bar: int
    """Values that were left out, since their dates have no bar."""

    @classmethod
    def of(cls, rows: pa.Table, frames: BarsBySymbol, settings: Settings) -> Self:
        parts, without_bar = [], 0
        for symbol, mine in by_symbol(rows.select(["symbol", "date", "value"])):
            if symbol in frames:
                parts.append(forward_returns(mine, frames[symbol], settings))
                without_bar += parts[-1].without_bar
            else:
                without_bar += len(mine) - mine["value"].null_count
        traded = [bars.dates for bars in frames.values()]
        days = np.unique(np.concatenate(traded)) if traded else np.array([], dtype="datetime64[D]")
        sessions = [np.searchsorted(days, part.dates).astype(np.int64) for part in parts]
        horizons = len(settings.patterns.horizons)
        return cls(
            parts,
            np.concatenate([np.zeros(0, np.int64), *sessions]),
            np.concatenate([np.zeros(0), *(part.values for part in parts)]),
            np.concatenate([np.zeros((0, horizons)), *(part.forward for part in parts)]),
            without_bar,
        )

    @property
    def n_values(self) -> int:
        return int((~np.isnan(self.values)).sum())


def by_symbol(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Each symbol with its rows, in order of symbol.

    Slices of sorted rows, since filtering all rows once per symbol takes minutes for thousands of symbols.
    """
    rows = rows.sort_by("symbol")
    runs = pc.run_end_encode(rows["symbol"].combine_chunks().cast(pa.string()))
    ends = [0, *runs.run_ends.to_pylist()]
    for symbol, (first, last) in zip(runs.values.to_pylist(), pairwise(ends), strict=True):
        yield symbol, rows.slice(first, last - first)


def _stored(
    home: Home,
    fingerprint: str,
    symbols: Sequence[str] | None,
    first: np.datetime64 | None,
    last: np.datetime64 | None,
) -> pa.Table:
    """The rows that are asked for, at least one."""
    if symbols is not None and len(symbols) == 0:
        raise SettingError(
            "symbols is empty; name at least one, or leave it out for all",
            parameter="symbols",
            value=symbols,
            bound="at least one",
        )
    names = None if symbols is None else symbols_with_values(home, fingerprint, symbols)
    columns = ["symbol", "date", "value", "status", "reason"]
    rows = home.read("factors", columns, symbols=names, fingerprint=fingerprint)
    if rows.num_rows == 0:
        raise why_no_values(home, fingerprint)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    chosen = np.ones(len(dates), dtype=bool)
    for bound, inside in ((first, np.greater_equal), (last, np.less_equal)):
        if bound is not None:
            chosen &= inside(dates, bound)
    if not chosen.any():
        raise DateError(
            f"no values are stored from {first or 'the first'} to {last or 'the last'}; they are of {dates.min()} to "
            f"{dates.max()}",
            value=(first, last),
        )
    return rows.filter(pa.array(chosen))


def _of_members(home: Home, rows: pa.Table, universe: str) -> pa.Table:
    """Rows of days on which their symbol was a member, at least one."""
    kept = known_membership(home, universe)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    inside = kept.holds(np.array(rows["symbol"].to_pylist(), dtype=object), dates)
    if not inside.any():
        raise DateError(
            f"no value is of a day on which its symbol was a member of {universe}: members are known from "
            f"{kept.dates[0]} on, and values are stored of {dates.min()} to {dates.max()}; fetch earlier members with "
            "--members-since where the source can tell them",
            parameter="universe",
            value=universe,
        )
    return rows.filter(pa.array(inside))


def _horizon(joined: _Joined, at: int, horizon: int, apart: int) -> HorizonIC:
    returns = joined.forward[:, at]
    over_time = pooled_rank_ic(
        (time_series_rank_ic(one.bars, one.values, one.forward[:, at], apart) for one in joined.symbols), together=True
    )
    pairs = int((~np.isnan(joined.values) & ~np.isnan(returns)).sum())
    missing = None
    if pairs == 0:
        missing = "no value has a known return yet" if joined.n_values else "there is no value"
    alone = missing or "no symbol has three values whose returns do not overlap"
    return HorizonIC(
        horizon=horizon,
        pairs=pairs,
        rank_ic=_across(cross_section_rank_ic(joined.sessions, joined.values, returns, apart, MIN_SYMBOLS), missing),
        ic=_across(cross_section_ic(joined.sessions, joined.values, returns, apart, MIN_SYMBOLS), missing),
        over_time=Estimate(
            over_time.value, over_time.se, over_time.symbols, alone if np.isnan(over_time.value) else None
        ),
    )


def _across(found: CrossSectionIC, missing: str | None) -> Estimate:
    if found.n_independent >= MIN_SESSIONS:
        return Estimate(found.value, found.se, found.n_independent, None)
    few = (
        f"{found.n_independent} sessions with returns that do not overlap have {MIN_SYMBOLS} or more symbols of "
        f"different values; {MIN_SESSIONS} are needed"
    )
    return Estimate(float("nan"), float("nan"), found.n_independent, missing or few)


def _coverage(rows: pa.Table) -> list[YearCoverage]:
    frame = pd.DataFrame(
        {
            "symbol": rows["symbol"].to_numpy(zero_copy_only=False),
            "date": rows["date"].to_numpy().astype("datetime64[s]"),
            "ok": pc.equal(rows["status"], OK).to_numpy(zero_copy_only=False),
        }
    )
    found = []
    for year, part in frame.groupby(frame["date"].dt.year):
        values = part[part["ok"]]
        counts = len(part), len(values), values["symbol"].nunique(), values["date"].nunique()
        found.append(YearCoverage(int(str(year)), *counts))
    return found
