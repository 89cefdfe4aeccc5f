"""Prices of windows, gathered from the bars that they end on: the one place where bars become windows."""

from typing import NamedTuple

import numpy as np

from kline_core.bars.symbol_bars import SymbolBars
from kline_core.typing import Floats64, Int64s


class WindowPrices(NamedTuple):
    """Adjusted prices of n windows: float64 `(n, window_bars)` each, bars in order of time."""

    open: Floats64
    high: Floats64
    low: Floats64
    close: Floats64


def window_positions(ends: Int64s, window_bars: int) -> Int64s:
    """Positions of the bars of the windows that end on the bars `ends` (n,): int64 `(n, window_bars)`."""
    return np.asarray(ends)[:, None] + np.arange(1 - window_bars, 1)


def window_prices(bars: SymbolBars, ends: Int64s, window_bars: int) -> WindowPrices:
    """Prices of the windows of one symbol that end on the bars `ends` (n,).

    Raises IndexError where a window leaves the history.
    """
    if len(ends) and (ends.min() < window_bars - 1 or ends.max() >= len(bars)):
        raise IndexError(
            f"ends reach from {ends.min()} to {ends.max()}; for windows of {window_bars} bars they must lie between "
            f"{window_bars - 1} and {len(bars) - 1}"
        )
    at = window_positions(ends, window_bars)
    return WindowPrices(bars.open[at], bars.high[at], bars.low[at], bars.close[at])


def empty_prices(count: int, window_bars: int) -> WindowPrices:
    """Room for the prices of `count` windows, of any symbols."""
    return WindowPrices(*(np.empty((count, window_bars)) for _ in range(4)))
