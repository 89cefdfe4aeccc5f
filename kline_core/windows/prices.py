"""Prices of windows, gathered from bars: the only module that turns bars into windows.

A *time scale* is a number of traded bars per candle: 1 for daily charts, 5 and 21 for about weekly and monthly ones.
The candles are counted backwards from the window's last bar, so that every candle is whole on every date, and none
depends on the weekday or on a later bar. A candle has the open of its first bar, the close of its last one, and the
highest high and lowest low of all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars, group_by_code
from kline_core.typing import Floats64, Int32s, Int64s


class WindowPrices(NamedTuple):
    """Adjusted prices of n windows: float64 `(n, window_bars)` each, bars or candles in order of time."""

    open: Floats64
    high: Floats64
    low: Floats64
    close: Floats64


def window_positions(ends: Int64s, window_bars: int) -> Int64s:
    """Positions of the bars of the windows that end on the bars `ends` (n,): int64 `(n, window_bars)`."""
    return np.asarray(ends)[:, None] + np.arange(1 - window_bars, 1)


def window_prices(bars: SymbolBars, ends: Int64s, window_bars: int, scale: int = 1) -> WindowPrices:
    """Prices of the windows of one symbol that end on the bars `ends` (n,): `window_bars` candles of `scale` bars each.

    Raises IndexError if a window leaves the history.
    """
    span = window_bars * scale
    if len(ends) and (ends.min() < span - 1 or ends.max() >= len(bars.close)):
        raise IndexError(
            f"ends reach from {ends.min()} to {ends.max()}; for windows of {span} bars they must lie between "
            f"{span - 1} and {len(bars.close) - 1}"
        )
    at = window_positions(ends, span)
    if scale == 1:
        return WindowPrices(bars.open[at], bars.high[at], bars.low[at], bars.close[at])
    at = at.reshape(len(at), window_bars, scale)
    first, last = at[:, :, 0], at[:, :, -1]
    return WindowPrices(bars.open[first], bars.high[at].max(axis=2), bars.low[at].min(axis=2), bars.close[last])


def prices_of_windows(
    frames: BarsBySymbol, symbols: Sequence[str], code: Int32s, bar: Int64s, window_bars: int, scale: int = 1
) -> WindowPrices:
    """Prices of n windows of any symbols; window i is of `symbols[code[i]]` and ends on its traded bar `bar[i]`.

    `scale`: bars per candle, see `window_prices`.

    Raises IndexError if a window leaves the history.
    """
    prices = WindowPrices(*(np.empty((len(code), window_bars)) for _ in range(4)))
    for which, at in group_by_code(code):
        found = window_prices(frames[symbols[which]], bar[at], window_bars, scale)
        for price, gathered in zip(prices, found, strict=True):
            price[at] = gathered
    return prices
