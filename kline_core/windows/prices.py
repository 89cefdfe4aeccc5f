"""Prices of windows, gathered from bars: the only module that turns bars into windows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars, group_by_code
from kline_core.typing import Floats64, Int32s, Int64s


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

    Raises IndexError if a window leaves the history.
    """
    if len(ends) and (ends.min() < window_bars - 1 or ends.max() >= len(bars.close)):
        raise IndexError(
            f"ends reach from {ends.min()} to {ends.max()}; for windows of {window_bars} bars they must lie between "
            f"{window_bars - 1} and {len(bars.close) - 1}"
        )
    at = window_positions(ends, window_bars)
    return WindowPrices(bars.open[at], bars.high[at], bars.low[at], bars.close[at])


def prices_of_windows(
    frames: BarsBySymbol, symbols: Sequence[str], code: Int32s, bar: Int64s, window_bars: int
) -> WindowPrices:
    """Prices of n windows of any symbols; window i is of `symbols[code[i]]` and ends on its traded bar `bar[i]`.

    Raises IndexError if a window leaves the history.
    """
    prices = WindowPrices(*(np.empty((len(code), window_bars)) for _ in range(4)))
    for which, at in group_by_code(code):
        for price, gathered in zip(prices, window_prices(frames[symbols[which]], bar[at], window_bars), strict=True):
            price[at] = gathered
    return prices
