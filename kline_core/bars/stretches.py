"""Stretches of the bars of many symbols, one behind the other in the same arrays.

Of thousands of symbols with some new bars each, the calls cost more than the work. What is computed from the bars
around each bar alone comes out the same where the stretches lie one behind the other, as long as no window reaches from
one into the next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.typing import Int32s, Int64s

AT_ONCE: Final = 1 << 18
"""Bars that lie in the same arrays, at most, unless one stretch alone has more: 2 MB a column."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Stretches `asked.start` to `asked.stop` of those that were asked for."""

    asked: slice
    first: Int64s
    """int64 (stretches,): position of each stretch's first bar."""
    start: Int64s
    """int64 (stretches,): ordinal of that bar in its symbol's history."""
    length: Int64s
    """int64 (stretches,): bars of each stretch."""
    columns: dict[str, NDArray[Any]]
    """Columns of `SymbolBars` by name, each `(bars,)`."""

    def find(self, at: Int64s) -> tuple[Int64s, Int64s]:
        """Of bars at positions, int64 (m,): which of these stretches each is in, and its ordinal in the history."""
        among = np.searchsorted(self.first, at, side="right") - 1
        return among, at - self.first[among] + self.start[among]


def stretches(
    frames: BarsBySymbol, symbols: Sequence[str], start: Int64s, stop: Int64s, names: Sequence[str]
) -> Iterator[Stretches]:
    """Bars `start[i]` to `stop[i]`, without the last one, of each of the `symbols` (n,), in their order.

    `names`: columns of `SymbolBars`. Raises IndexError if a stretch leaves the history, or is of no bars.
    """
    length = stop - start
    before = np.concatenate([[0], np.cumsum(length)])
    low = 0
    while low < len(symbols):
        high = max(low + 1, int(np.searchsorted(before, before[low] + AT_ONCE, side="right")) - 1)
        parts = [
            (frames[symbol], first, last)
            for symbol, first, last in zip(
                symbols[low:high], start[low:high].tolist(), stop[low:high].tolist(), strict=True
            )
        ]
        for bars, first, last in parts:
            if not 0 <= first < last <= len(bars.dates):
                raise IndexError(f"{bars.symbol} has {len(bars.dates)} bars, and not those from {first} to {last - 1}")
        columns = {name: np.concatenate([getattr(b, name)[first:last] for b, first, last in parts]) for name in names}
        part = slice(low, high)
        yield Stretches(part, before[part] - before[low], start[part], length[part], columns)
        low = high


@dataclass(frozen=True, slots=True, eq=False)
class BarsAround:
    """Bars around some of n windows."""

    windows: Int64s
    """int64 (m,): which of the n windows."""
    ends: Int64s
    """int64 (m,): position of each one's last bar."""
    columns: dict[str, NDArray[Any]]
    """Columns of `SymbolBars` by name."""


def bars_around(
    frames: BarsBySymbol,
    symbols: Sequence[str],
    code: Int32s,
    bar: Int64s,
    before: int,
    after: int,
    names: Sequence[str],
) -> Iterator[BarsAround]:
    """The bars from `before` before to `after` after the last bar of each of n windows, which lie together.

    Window i is of the symbol `symbols[code[i]]` and ends on its traded bar `bar[i]`; each comes once. Raises IndexError
    if that leaves the history.
    """
    if len(code) == 0:
        return
    order = np.argsort(code, kind="stable")
    which, first = np.unique(code[order], return_index=True)
    ends = bar[order]
    bounds = np.append(first, len(code))
    start, stop = np.minimum.reduceat(ends, first) - before, np.maximum.reduceat(ends, first) + after + 1
    for part in stretches(frames, [symbols[at] for at in which.tolist()], start, stop, names):
        rows = slice(bounds[part.asked.start], bounds[part.asked.stop])
        shift = np.repeat(part.first - part.start, np.diff(bounds[part.asked.start : part.asked.stop + 1]))
        yield BarsAround(order[rows], ends[rows] + shift, part.columns)
