"""Bars: what a sound one is, and all of a market's bars in memory.

`validate_bars` is the one door through which bars enter. A row that passes has

* a symbol that is safe in a path and in a query,
* a date that no other row of its symbol has,
* prices with ``low <= open, close <= high``,
* a volume and an amount that are missing or at least 0, and
* prices, an adjustment factor and products of the two from `LEAST` to `MOST`. No market has others, and ratios within
  these bounds fit into a float32: one absurd price would otherwise make a return that no table takes.

A day is *suspended* when its volume is 0 or missing and its bar is flat (open = high = low = close). A bar that moved
was traded, whatever its volume says: vendors deliver days of zero or unknown volume with real prices. It is kept.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.calendar import Dates, parse_dates
from kline_core.cells import Faults, Floats, rejected_frame, rejected_rows, to_numbers
from kline_core.errors import InputError
from kline_core.hashes import mix64, text_hash

PRICES = ("open", "high", "low", "close")
REQUIRED = ("symbol", "date", *PRICES, "volume")
OPTIONAL = ("amount", "adj_factor")
BAR_COLUMNS = (*REQUIRED, *OPTIONAL, "suspended")
LEAST, MOST = 1e-12, 1e12
"""Bounds, themselves included, of raw prices, of adjustment factors and of adjusted prices."""

_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._^=-]{0,31}", re.ASCII)
_ABSURD = f"is not between {LEAST:g} and {MOST:g}"


def is_symbol(value: object) -> bool:
    """Whether a value is text that may serve as a symbol: 1-32 letters, digits or ``._^=-``, without ``..``."""
    return isinstance(value, str) and _SYMBOL.fullmatch(value) is not None and ".." not in value


def check_symbol(symbol: object, name: str = "symbol") -> str:
    """The symbol itself; InputError where it is not safe to use in a path or a query."""
    if isinstance(symbol, str) and is_symbol(symbol):
        return symbol
    raise InputError(
        f"{name} is {symbol!r}; a symbol is 1-32 letters, digits or ._^=- without '..', for instance 600519.SH"
    )


@dataclass(frozen=True, slots=True, eq=False)
class SymbolBars:
    """The traded bars of one symbol in order of their dates; suspended days are left out. The arrays are read-only.

    Prices are adjusted: raw price times the cumulative backward adjustment factor of the day, 1.0 where none was given.
    """

    symbol: str
    dates: Dates
    """datetime64[D] (n,), strictly increasing."""
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    """As delivered, NaN where unknown."""
    content: npt.NDArray[np.uint64]
    """(n,) one hash per bar over symbol, date, raw prices and adjustment factor. Volume is left out: no value depends
    on it, and vendors correct it for days afterwards."""

    def __len__(self) -> int:
        """Number of traded bars."""
        return len(self.dates)


FrameCache = dict[str, SymbolBars]


@dataclass(frozen=True, slots=True)
class Validated:
    """The rows of a frame, each in exactly one of two frames."""

    bars: pd.DataFrame
    """`BAR_COLUMNS`: dates as datetime64[s], `adj_factor` NaN where the frame had no such column; index as given."""
    rejected: pd.DataFrame
    """`REJECTED_COLUMNS`: where the row came from, its index label, its symbol as text, why, and the offending cell."""


def validate_bars(frame: pd.DataFrame, source: str) -> Validated:
    """Divide rows from outside into sound bars and rejected rows.

    Rows that agree in everything are one bar: the first stays, the others are rejected. Of rows that give one symbol
    and date different contents none is kept, since nothing says which is right. So the bars that are kept do not
    depend on the order of the rows.

    Args:
        frame: Columns `REQUIRED` and perhaps `OPTIONAL`, typed or as text; its index labels name the rows in reports.
        source: Name of the file, for reports.

    Raises:
        InputError: A required column is missing.
    """
    checked = check_rows(frame, source)
    kept, rejected = reject_duplicates(checked.bars, np.full(len(checked.bars), source, dtype=object))
    return Validated(kept, pd.concat([checked.rejected, rejected], ignore_index=True))


def check_rows(frame: pd.DataFrame, source: str) -> Validated:
    """`validate_bars` without its look at duplicates: each row by itself."""
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise InputError(f"{source}: column {missing[0]} is missing; needed are {', '.join(REQUIRED)}")
    faults = Faults(frame)
    symbols = _check_symbols(frame["symbol"], faults)
    dates, no_date = parse_dates(frame["date"])
    faults.mark(no_date, "date", "is missing or no date")
    numbers = {name: to_numbers(frame[name], name, faults) for name in (*PRICES, "volume")}
    for name in OPTIONAL:
        numbers[name] = to_numbers(frame[name], name, faults) if name in frame.columns else np.full(len(frame), np.nan)
    _check_prices(numbers, faults)
    for name in ("volume", "amount"):
        faults.mark(np.isinf(numbers[name]), name, "is not finite")
        faults.mark(numbers[name] < 0, name, "is negative")
    if "adj_factor" in frame.columns:
        _check_factors(numbers, faults)
    bars = pd.DataFrame({"symbol": symbols, "date": dates.astype("datetime64[s]"), **numbers}, index=frame.index)
    bars["suspended"] = is_suspended(bars)
    return Validated(bars[~faults.any()], faults.rejected(source))


def is_suspended(bars: pd.DataFrame) -> pd.Series:
    """Where a bar tells of a day without trading: volume 0 or missing, and open = high = low = close."""
    flat = (bars["open"] == bars["high"]) & (bars["high"] == bars["low"]) & (bars["low"] == bars["close"])
    return flat & ~(bars["volume"] > 0)


def reject_duplicates(bars: pd.DataFrame, sources: npt.NDArray[np.object_]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sound rows without those that share symbol and date, and the rejected ones; see `validate_bars`.

    Files that give different contents for one bar of a symbol are perhaps deliveries on different adjustment bases: the
    dates that only one of them has would then be on another scale than their neighbours. So all rows of such a symbol
    are rejected, whichever file they are from. Rows with an adjustment factor and rows without one are not compared.

    Args:
        bars: Rows of `Validated.bars`, perhaps of several files one after the other.
        sources: Name of the file of each row (n,).
    """
    key = ["symbol", "date", "given"]
    keys = bars[key[:2]].assign(given=bars["adj_factor"].notna())
    repeated = keys.duplicated(keep=False).to_numpy()
    if not repeated.any():
        return bars, rejected_frame([])
    some = keys[repeated]
    again = bars[repeated].duplicated(list(BAR_COLUMNS), keep="first").to_numpy()
    group = some.groupby(key).ngroup().to_numpy()
    conflict = (np.bincount(group, weights=~again) > 1)[group]
    files = some.assign(file=sources[repeated])[conflict].groupby(key)["file"]
    several = files.min() != files.max()
    contested = several[several].index.to_frame(index=False).groupby("symbol")["date"].min()
    hopeless = bars["symbol"].isin(contested.index).to_numpy()
    different, same = np.zeros((2, len(bars)), dtype=bool)
    different[repeated], same[repeated] = conflict, again & ~conflict
    rows = []
    for mask, reason in (
        (hopeless, "the files contradict each other about this symbol; remove the older delivery"),
        (different & ~hopeless, "symbol and date are given more than once, with different contents"),
        (same & ~hopeless, "symbol and date are given more than once, with the same contents"),
    ):
        hit = bars[mask]
        days = hit["date"].dt.strftime("%Y-%m-%d")
        if mask is hopeless:
            days = "first on " + hit["symbol"].map(contested.dt.strftime("%Y-%m-%d"))
        rows.append(rejected_rows(sources[mask], hit.index, hit["symbol"], reason, days))
    return bars[~(hopeless | different | same)], rejected_frame(rows)


def frame_cache(bars: pa.Table | pd.DataFrame, symbols: Iterable[str] | None = None) -> FrameCache:
    """All symbols' traded bars in memory, from the `bars` table in any order.

    The arrays of one symbol are slices of arrays that all symbols share. A symbol of which every bar is suspended is
    there with no bars.

    Args:
        bars: Columns symbol, date, open, high, low, close, volume, adj_factor (perhaps missing) and suspended.
        symbols: Keep only these; all by default. Ones without bars are left out.

    Raises:
        InputError: A symbol has two bars of one date.
    """
    if isinstance(bars, pd.DataFrame):
        bars = pa.Table.from_pandas(bars, preserve_index=False)
    codes, names = _encoded(bars["symbol"])
    dates = _column(bars["date"].cast(pa.date32()).cast(pa.int32())).astype("datetime64[D]")
    chosen = np.ones(len(names), dtype=bool)
    if symbols is not None:
        chosen = np.isin(names, list(symbols))
    key = codes << 32 | dates.astype(np.int64) + 2**31
    order = None if np.all(key[1:] > key[:-1]) else np.argsort(key, kind="stable")
    if order is not None:
        key = key[order]
        if twice := np.flatnonzero(key[1:] == key[:-1]).tolist():
            row = order[twice[0]]
            raise InputError(
                f"bars hold symbol {names[codes[row]]} twice on {dates[row]}; "
                "restore the home from a copy, or ingest all files into a new one"
            )
    traded = ~_column(bars["suspended"]) & chosen[codes]
    take = np.flatnonzero(traded) if order is None else order[traded[order]]
    codes, dates = codes[take], dates[take]
    raw = [_column(bars[name])[take] for name in PRICES]
    factor = _column(pc.fill_null(bars["adj_factor"], 1.0))[take]
    hashes = np.array([text_hash(name) for name in names], dtype=np.uint64)
    columns: list[npt.NDArray[Any]] = [dates, *(price * factor for price in raw), _column(bars["volume"])[take]]
    columns.append(_content(hashes[codes], dates, [*raw, factor]))
    for column in columns:
        column.flags.writeable = False
    bounds = np.searchsorted(codes, np.arange(len(names) + 1))
    return {
        str(name): SymbolBars(str(name), *(column[first:last] for column in columns))
        for name, keep, first, last in zip(names, chosen, bounds[:-1], bounds[1:], strict=True)
        if keep
    }


def _encoded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
    """Codes (n,) into the sorted distinct texts."""
    encoded = column.combine_chunks().dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)], names[order]


def _column(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = column.to_numpy()
    return values


def _content(symbol: npt.NDArray[np.uint64], dates: Dates, columns: list[Floats]) -> npt.NDArray[np.uint64]:
    """One hash per row (n,), a chain of `mix64` over the bits of the row's cells."""
    state = mix64(symbol ^ dates.astype(np.int64).view(np.uint64))
    for column in columns:
        state = mix64(state ^ column.view(np.uint64))
    return state


def _check_symbols(column: pd.Series, faults: Faults) -> pd.Series:
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    # The last place is that of missing values, whose code is -1.
    safe = np.array([*(is_symbol(value) for value in distinct), False])
    faults.mark(~safe[codes], "symbol", "is not safe to use: 1-32 letters, digits or ._^=- without '..'")
    return column.astype(str)


def _check_prices(numbers: dict[str, Floats], faults: Faults) -> None:
    for name in PRICES:
        faults.mark(np.isnan(numbers[name]), name, "is missing")
        faults.mark(np.isinf(numbers[name]), name, "is not finite")
        faults.mark(numbers[name] <= 0, name, "is not above 0")
        faults.mark(_absurd(numbers[name]), name, _ABSURD)
    faults.mark(numbers["high"] < numbers["low"], "high", "is below low")
    for name in ("open", "close"):
        outside = (numbers[name] < numbers["low"]) | (numbers[name] > numbers["high"])
        faults.mark(outside, name, "lies outside low to high")


def _check_factors(numbers: dict[str, Floats], faults: Faults) -> None:
    factor = numbers["adj_factor"]
    faults.mark(np.isnan(factor), "adj_factor", "is missing")
    faults.mark(np.isinf(factor), "adj_factor", "is not finite")
    faults.mark(factor <= 0, "adj_factor", "is not above 0")
    faults.mark(_absurd(factor), "adj_factor", _ABSURD)
    with np.errstate(all="ignore"):
        out = _absurd(numbers["low"] * factor) | _absurd(numbers["high"] * factor)
    faults.mark(out, "adj_factor", f"makes an adjusted price that {_ABSURD}")


def _absurd(values: Floats) -> npt.NDArray[np.bool_]:
    return (values < LEAST) | (values > MOST)
