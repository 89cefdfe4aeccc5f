"""The sample dates of a symbol: deterministic, spread over the years, and stable from one day to the next."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kline_core._hashing import GOLDEN, mix64, text_hash
from kline_core.bars.jumps import released
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.dates import parse_date, parse_dates
from kline_core.errors import DateError, InputError, SettingError
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.typing import Dates, Hashes
from kline_core.windows.windows import usable_ends


def choose_dates(symbol: str, dates: Dates, samples: int) -> Dates:
    """Choose `samples` of a symbol's usable dates.

    `dates`: datetime64[D] (n,), strictly increasing: the dates on which a usable window ends.

    1. If `samples` is at least n, all dates are chosen.
    2. Otherwise the newest date is chosen, and the other `samples - 1` come from the dates before it, the pool.
    3. Each date has a priority that depends on the symbol and the date alone: the first 8 bytes (little-endian) of
       BLAKE2b with an 8-byte digest over the symbol in UTF-8, plus 0x9E3779B97F4A7C15 times the days since 1970-01-01,
       modulo 2**64, passed through the finaliser of SplitMix64.
    4. Within each calendar year of the pool, which has c dates, they are ranked r = 1, 2, ... c by priority, lowest
       first (equal priorities: earlier date first), and date r gets the key (2r - 1) / c.
    5. The `samples - 1` dates of the pool with the lowest keys are chosen (equal keys: lower priority first, then the
       earlier date). That is Webster's method of apportionment with the years as states, their dates as population and
       the samples as seats, so that every year gets its share, rounded.

    Returns the chosen dates, increasing: datetime64[D] (min(samples, n),). They never depend on the process or machine.

    Nested: the dates chosen for fewer samples are among those chosen for more. And when one newer date is appended,
    at most two of the earlier choices leave (one of which is the date that was the newest), and besides the new date
    at most one enters. Proof: the pool gains one date d, of the year y, which lowers each of y's keys and no other.
    The highest key chosen is below 2, so that at the same cut y has at most one seat more; since the cut can then only
    fall, no other year gains: y gains at most one seat, and another year loses it. Within y the ranking gains d and is
    otherwise kept. So the choice from the pool gains at most one date and loses at most one; d itself, chosen before as
    the newest, may leave as well.

    Sources: M. Balinski and H. P. Young, Fair Representation (2nd ed., Brookings, 2001), for Webster's method and why
    seats move only to a state that grew; G. Steele, D. Lea and C. Flood, Fast Splittable Pseudorandom Number
    Generators (OOPSLA 2014), for SplitMix64.

    Raises `SettingError` if `samples` is below 1.
    """
    if samples < 1:
        bound = "at least 1"
        raise SettingError(f"samples is {samples}; it must be {bound}", parameter="samples", value=samples, bound=bound)
    if samples >= len(dates):
        return dates.copy()
    if samples == 1:
        return dates[-1:].copy()
    pool = dates[:-1]
    priority = _priority(symbol, pool)
    year = pool.astype("datetime64[Y]").astype(np.int64)
    by_priority = np.lexsort((pool, priority, year))
    _, first, count = np.unique(year, return_index=True, return_counts=True)
    rank = np.arange(1, len(pool) + 1) - np.repeat(first, count)
    key = np.empty(len(pool))
    # Years are shorter than 2**26 days, so that different fractions never round to the same float64.
    key[by_priority] = (2 * rank - 1) / np.repeat(count, count)
    chosen = np.lexsort((pool, priority, key))[: samples - 1]
    return np.concatenate([pool[np.sort(chosen)], dates[-1:]])


def _priority(symbol: str, dates: Dates) -> Hashes:
    """Step 3 of `choose_dates`: uint64 (n,)."""
    days = dates.astype("datetime64[D]").astype(np.int64).astype(np.uint64)
    # `mix64` adds one step itself; arithmetic on uint64 arrays is modulo 2**64.
    return mix64(np.uint64(text_hash(symbol)) + (days - np.uint64(1)) * GOLDEN)


def usable_dates(
    home: Home,
    settings: PatternSettings,
    symbols: Sequence[str] | None = None,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
    bars_version: int | None = None,
) -> dict[str, Dates]:
    """Days on which a usable window of a symbol ends, from `first` to `last`, both included.

    datetime64[D], increasing, by symbol; symbols without a usable day are left out. Raises `DateError` if no symbol has
    one, and what `Home` raises.
    """
    bars = home.read("bars", version=bars_version)
    releases = released(home.notes(bars_version))
    found = {}
    for symbol, frame in bars_by_symbol(bars, symbols, releases=releases).items():
        days = frame.dates[usable_ends(frame, settings)]
        days = days if first is None else days[days >= first]
        days = days if last is None else days[days <= last]
        if len(days):
            found[symbol] = days
    if not found:
        span = f"from {first or 'the first bar'} to {last or 'the newest bar'}"
        raise DateError(
            f"no symbol has a usable day {span} in {home.uri}; widen the range or ingest bars of it",
            value=(first, last),
        )
    return found


def requested_dates(dates: pd.MultiIndex | pd.DataFrame | Mapping[str, Any]) -> dict[str, Dates]:
    """Sample dates named by the caller, by symbol: datetime64[D], unique, increasing.

    `dates`: a MultiIndex with the levels date and asset (or symbol), a frame with such columns or levels, or dates by
    symbol. Raises `InputError` if it is something else, lacks a column or names no symbol in a row, and `DateError`
    naming the row of a value that is no date.
    """
    if isinstance(dates, Mapping):
        named: dict[str, Dates] = {}
        for symbol, days in dates.items():
            if str(symbol) in named:
                raise InputError(f"dates name the symbol {symbol} more than once", column="symbol", value=symbol)
            named[str(symbol)] = np.unique(_days_of(str(symbol), days))
        return named
    if isinstance(dates, pd.MultiIndex):
        frame = dates.to_frame(index=False)
    elif isinstance(dates, pd.DataFrame):
        levels: list[Any] = [name for name in dates.index.names if name is not None and name not in dates.columns]
        frame = dates.reset_index(level=levels) if levels else dates
    else:
        raise InputError(
            f"dates is a {type(dates).__name__}; give a MultiIndex (date, asset), a frame with these columns, or dates "
            "by symbol",
            value=dates,
        )
    columns = ", ".join(map(str, frame.columns))
    if {"asset", "symbol"} <= set(frame.columns):
        raise InputError(f"dates have {columns}; name the symbols in one column, asset or symbol", column="asset")
    frame = frame.rename(columns={"asset": "symbol"})
    if lacking := {"symbol", "date"} - set(frame.columns):
        raise InputError(f"dates have {columns}; they need date and asset (or symbol)", column=min(lacking))
    for name in ("symbol", "date"):
        if list(frame.columns).count(name) > 1:
            raise InputError(f"dates have {columns}; column {name} must be there once", column=name)
    nameless = frame["symbol"].isna().to_numpy()
    if nameless.any():
        raise InputError(f"row {int(nameless.argmax())} of dates names no symbol", row=int(nameless.argmax()))
    days = pd.Series(_days(frame["date"], "dates").astype("datetime64[s]"))
    groups = days.groupby(frame["symbol"].astype(str).to_numpy(dtype=object))
    return {str(symbol): np.unique(part.to_numpy().astype("datetime64[D]")) for symbol, part in groups}


def _days_of(symbol: str, days: Any) -> Dates:
    """Dates of one symbol of a mapping. Raises `InputError` if they are no list, and what `_days` raises."""
    if isinstance(days, str | bytes) or not isinstance(days, Iterable):
        raise InputError(f"dates of {symbol} are {days!r}; give a list of dates", column="date", value=days)
    return _days(pd.Series(list(days)), f"dates of {symbol}")


def _days(values: pd.Series, name: str) -> Dates:
    """Values as days. Raises `DateError` naming the first row that is none."""
    days, bad = parse_dates(values)
    if bad.any():
        row = int(bad.argmax())
        value, where = values.iloc[row], f"row {row} of {name}"
        parse_date(value, where)
        raise DateError(f"{where} is {value!r}, which is no date", parameter=where, value=value)
    return days
