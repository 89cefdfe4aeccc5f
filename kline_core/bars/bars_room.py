"""Room behind the bars of each symbol, so that a day's bars are written there instead of copying all history.

As `kline_core._growing`, for many symbols whose bars lie in the same arrays, each with room of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from kline_core._growing import CLAIMING, Memory, memory_of, read_only
from kline_core.bars.symbol_bars import BARS, BarsBySymbol, SymbolBars
from kline_core.typing import Int64s

BARS_BEHIND: Final = 64
"""Bars that find room behind those of a symbol: a quarter of a year, some kilobytes a symbol."""


@dataclass(frozen=True, slots=True, eq=False)
class BarsRoom:
    """Arrays that hold the bars of many symbols, one symbol behind the other with room after each."""

    columns: Mapping[str, NDArray[Any]]
    """Columns of `SymbolBars`, each `(n,)`, which can be written."""
    place: Mapping[str, int]
    """Position of each symbol in the next two."""
    first: Int64s
    """int64 (symbols + 1,): position of each symbol's first bar, and the end of all."""
    taken: Int64s
    """int64 (symbols,): bars of each symbol that are written, for whatever version of the table."""

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]], counts: Mapping[str, int]) -> Self:
        """The room of arrays with the bars of these symbols, so many of each and `BARS_BEHIND` more."""
        taken = np.fromiter(counts.values(), dtype=np.int64, count=len(counts))
        first = np.concatenate([[0], np.cumsum(taken + BARS_BEHIND)])
        return cls(columns, {symbol: place for place, symbol in enumerate(counts)}, first, taken)

    def frames(self) -> dict[str, SymbolBars]:
        """The bars of all symbols as they are written."""
        return self._frames(self.place, self.first[:-1], self.first[:-1] + self.taken)

    def followed_by(self, frames: BarsBySymbol, newer: BarsBySymbol) -> dict[str, SymbolBars]:
        """`frames` and then `newer`, of those symbols whose newer bars find room behind the ones held."""
        names = [symbol for symbol in newer if symbol in self.place and symbol in frames]
        place = np.array([self.place[symbol] for symbol in names], dtype=np.int64)
        had, more = (np.array([len(each[symbol]) for symbol in names], dtype=np.int64) for each in (frames, newer))
        dates = self.columns["dates"]
        address = dates.ctypes.data + dates.itemsize * self.first[place]
        there = np.array([frames[symbol].dates.ctypes.data for symbol in names], dtype=np.int64) == address
        with CLAIMING:
            fits = there & (self.taken[place] == had) & (self.first[place] + had + more <= self.first[place + 1])
            self.taken[place[fits]] += more[fits]
        names = [symbol for symbol, fit in zip(names, fits.tolist(), strict=True) if fit]
        first, had, more = self.first[place[fits]], had[fits], more[fits]
        if names:
            before = np.cumsum(more) - more
            at = np.repeat(first + had - before, more) + np.arange(int(more.sum()))
            for name, column in self.columns.items():
                column[at] = np.concatenate([getattr(newer[symbol], name) for symbol in names])
        return self._frames(names, first, first + had + more)

    def _frames(self, symbols: Any, first: Int64s, last: Int64s) -> dict[str, SymbolBars]:
        columns = [read_only(column) for column in self.columns.values()]
        return {
            symbol: SymbolBars(symbol, *(column[start:stop] for column in columns))
            for symbol, start, stop in zip(symbols, first.tolist(), last.tolist(), strict=True)
        }


def with_room_behind(frames: Sequence[Sequence[SymbolBars]], symbols: Sequence[str]) -> BarsRoom:
    """A copy of the bars of symbols, each one's in parts one after the other, with room behind them.

    In one array a column: large arrays are in large pages, and many small ones, in memory that the process has not had
    before, took ten times as long.
    """
    counts = {symbol: sum(map(len, parts)) for symbol, parts in zip(symbols, frames, strict=True)}
    return BarsRoom.of({name: np.concatenate(with_gaps(frames, name)) for name in BARS}, counts)


def with_gaps(frames: Sequence[Sequence[SymbolBars]], name: str) -> list[NDArray[Any]]:
    """A column of the bars of symbols, each one's in parts, as pieces in a row, with room behind each symbol."""
    behind = np.zeros(BARS_BEHIND, dtype=getattr(frames[0][0], name).dtype)
    return [piece for parts in frames for piece in (*(getattr(bars, name) for bars in parts), behind)]


def mapped_frames(
    columns: Mapping[str, NDArray[Any]], counts: Mapping[str, int]
) -> tuple[dict[str, SymbolBars], BarsRoom | None]:
    """The bars of arrays that were mapped with room, and it (`kline_core.store.mapping.map_with_room`).

    None if there was no memory for the room of one.
    """
    memories = {name: memory_of(columns[name]) for name in BARS}
    written = {name: _to_be_written(columns[name], memory) for name, memory in memories.items() if memory is not None}
    if len(written) < len(BARS):
        return BarsRoom.of({name: columns[name] for name in BARS}, counts).frames(), None
    room = BarsRoom.of(written, counts)
    return room.frames(), room


def _to_be_written(array: NDArray[Any], memory: Memory) -> NDArray[Any]:
    with CLAIMING:
        memory.written = True
    return memory.array(array.dtype, array.shape, array.ctypes.data - memory.address)
