"""Bars in memory: the traded bars of each symbol, as arrays."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core._hashing import mix64, text_hash
from kline_core.bars.adjustment import factor_changes
from kline_core.bars.columns import PRICES
from kline_core.bars.jumps import Releases, beyond_any_limit, is_released, unexplained_jumps
from kline_core.errors import InputError
from kline_core.typing import Dates, Flags, Floats64, Hashes, Int32s, Int64s, Objects, Positions


@dataclass(frozen=True, slots=True, eq=False)
class SymbolBars:
    """The n traded bars of one symbol in order of date, without suspended days. The arrays are read-only.

    Prices are float64 (n,) and adjusted: raw price times the day's cumulative backward adjustment factor, or times 1.0
    if none was given.
    """

    symbol: str
    dates: Dates
    """datetime64[D] (n,), strictly increasing."""
    open: Floats64
    high: Floats64
    low: Floats64
    close: Floats64
    volume: Floats64
    """float64 (n,): as delivered, NaN if unknown."""
    adj_factor: Floats64
    """float64 (n,): as delivered, 1.0 if none was given."""
    content: Hashes
    """uint64 (n,): hash of each bar's symbol, date, raw prices and change of the factor since the traded bar before
    (`kline_core.bars.adjustment`). Volume is left out: no value depends on it, and vendors correct it for days
    afterwards."""
    jumps: Flags
    """bool (n,): whether the change from the bar before is an unexplained jump (`kline_core.bars.jumps`) that nobody
    has released."""

    def __len__(self) -> int:
        """Number of traded bars."""
        return len(self.dates)

    def find(self, dates: Dates) -> Int64s:
        """Ordinal of the bar of each date (datetime64[D], any order): int64 (n,), -1 if the date has no bar."""
        at = np.searchsorted(self.dates, dates).astype(np.int64)
        there = at < len(self.dates)
        there[there] = self.dates[at[there]] == dates[there]
        return np.where(there, at, -1)

    def count_until(self, date: np.datetime64) -> int:
        """Number of bars up to and including a day."""
        return int(np.searchsorted(self.dates, date, side="right"))

    def part(self, first: int, last: int) -> "SymbolBars":
        """The bars `first` to `last`, without the last one."""
        return SymbolBars(self.symbol, *(getattr(self, name)[first:last] for name in BARS))


BARS: Final = tuple(field.name for field in fields(SymbolBars)[1:])
"""Names of the columns of `SymbolBars`."""


BarsBySymbol: TypeAlias = Mapping[str, SymbolBars]
"""The bars of several symbols, by symbol."""


def bars_by_symbol(
    bars: pa.Table | pd.DataFrame,
    symbols: Iterable[str] | None = None,
    after: BarsBySymbol | None = None,
    releases: Releases = MappingProxyType({}),
) -> dict[str, SymbolBars]:
    """Traded bars of all symbols, by symbol in sorted order, from rows of the `bars` table in any order.

    The arrays of one symbol are slices of arrays that all symbols share. A symbol whose days are all suspended has an
    entry without bars.

    Args:
        bars: Columns symbol, date, open, high, low, close, volume, adj_factor (null if none was given) and suspended.
        symbols: Return only these; all by default. A symbol without rows has no entry.
        after: Bars of some symbols that these rows come after.
        releases: Jumps that are released (`kline_core.bars.jumps.released`).

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
    key = symbol_day_keys(codes, dates.astype(np.int64))
    order = None if np.all(key[1:] > key[:-1]) else np.argsort(key, kind="stable")
    if order is not None:
        key = key[order]
        if twice := np.flatnonzero(key[1:] == key[:-1]).tolist():
            row = order[twice[0]]
            raise InputError(
                f"bars hold symbol {names[codes[row]]} twice on {dates[row]}; "
                "restore the home from a copy, or ingest all files into a new one",
                column="date",
                value=dates[row],
            )
    traded = ~_column(bars["suspended"]) & chosen[codes]
    take = np.flatnonzero(traded) if order is None else order[traded[order]]
    # Not held beside the columns: 25 bytes a bar.
    del key, order, traded
    codes, dates = codes[take], dates[take]
    prices = [_column(bars[name])[take] for name in PRICES]
    factor = _column(pc.fill_null(bars["adj_factor"], 1.0))[take]
    hashes = np.array([text_hash(name) for name in names], dtype=np.uint64)
    bounds = np.searchsorted(codes, np.arange(len(names) + 1)).astype(np.int64)
    filled = np.diff(bounds) > 0
    change = factor_changes(factor, bounds[:-1][filled], _last_factors(names, after or {})[filled])
    content = _content(hashes[codes], dates, [*prices, change])
    del change
    for price in prices:
        price *= factor
    columns: list[npt.NDArray[Any]] = [dates, *prices, _column(bars["volume"])[take]]
    columns += [factor, content, _jumps(names, codes, dates, columns[4], bounds, after or {}, releases)]
    for column in columns:
        column.flags.writeable = False
    return {
        str(name): SymbolBars(str(name), *(column[first:last] for column in columns))
        for name, keep, first, last in zip(names, chosen, bounds[:-1], bounds[1:], strict=True)
        if keep
    }


def _jumps(
    names: Objects,
    codes: Int64s,
    dates: Dates,
    close: Floats64,
    bounds: Int64s,
    after: BarsBySymbol,
    releases: Releases,
) -> Flags:
    """Whether each bar is an unexplained jump that nobody has released: bool (n,).

    `close`: adjusted. `bounds`: position of each symbol's first bar, and at the end the number of all.
    """
    first = bounds[:-1][np.diff(bounds) > 0]
    # No symbol's first bar has a change; what lies in new memory may be no number at all.
    change = np.full(len(close), np.nan)
    np.divide(close[1:], close[:-1], out=change[1:])
    change -= 1.0
    change[first] = np.nan
    had, day_before = np.zeros(len(names), dtype=np.int64), {}
    for which in np.flatnonzero(np.diff(bounds)).tolist() if after else ():
        earlier = after.get(names[which])
        if earlier is not None and len(earlier):
            had[which], day_before[bounds[which]] = len(earlier), earlier.dates[-1]
            change[bounds[which]] = close[bounds[which]] / earlier.close[-1] - 1.0
    jumps = np.zeros(len(close), dtype=bool)
    some = np.flatnonzero(beyond_any_limit(change))
    if len(some) == 0:
        return jumps
    symbols = names[codes[some]]
    count = had[codes[some]] + some - bounds[codes[some]]
    before = dates[some - 1]
    for at in np.flatnonzero(np.isin(some, first)).tolist():
        before[at] = day_before[some[at]]
    jumps[some] = unexplained_jumps(symbols, count, dates[some], before, change[some])
    for at in np.flatnonzero(jumps).tolist() if releases else ():
        jumps[at] = not is_released(releases, names[codes[at]], dates[at], float(change[at]))
    return jumps


def symbol_day_keys(code: npt.NDArray[np.integer], day: npt.NDArray[np.integer]) -> Int64s:
    """Code of a symbol and days since 1970 as one number, which orders by symbol and then by day: int64 (n,)."""
    keys: Int64s = (code.astype(np.int64) << 32) + (day.astype(np.int64) + 2**31)
    return keys


def days_of(key: Int64s) -> Int64s:
    """Days since 1970 of `symbol_day_keys`: int64 (n,)."""
    days: Int64s = (key & (2**32 - 1)) - 2**31
    return days


def row_keys(rows: pa.Table, symbols: Sequence[str] | Objects) -> Int64s:
    """`symbol_day_keys` of rows with symbol and date; the code is the position in `symbols`, -1 if it is none."""
    names = pa.array(symbols, pa.string())
    code = pc.fill_null(pc.index_in(rows["symbol"].cast(pa.string()), value_set=names), -1).to_numpy()
    return symbol_day_keys(code, rows["date"].cast(pa.int32()).to_numpy())


def _last_factors(names: Objects, bars: BarsBySymbol) -> Floats64:
    """Factor of each symbol's last bar, float64 (symbols,): NaN if it has none."""
    last = (bars[name].adj_factor[-1] if name in bars and len(bars[name]) else np.nan for name in names)
    return np.fromiter(last, dtype=np.float64, count=len(names))


def group_by_code(code: Int32s) -> Iterator[tuple[int, Positions]]:
    """Each distinct code in `code` (n,), in ascending order, with its positions."""
    order = np.argsort(code, kind="stable")
    which, first = np.unique(code[order], return_index=True)
    yield from zip(which.tolist(), np.split(order, first)[1:], strict=True)


def _encoded(column: pa.ChunkedArray) -> tuple[Int64s, Objects]:
    """Codes, int64 (n,), into the sorted distinct texts, and these texts."""
    encoded = column.combine_chunks().dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)], names[order]


def _column(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = column.to_numpy()
    return values


def _content(symbol: Hashes, dates: Dates, columns: list[Floats64]) -> Hashes:
    """One hash per row, uint64 (n,): a chain of `mix64` over the bits of the row's cells."""
    state = mix64(symbol ^ dates.astype(np.int64).view(np.uint64))
    for column in columns:
        state = mix64(state ^ column.view(np.uint64))
    return state
