"""Where the candles of a chart begin and end, in rows of pixels: all that a chart shows, before it is drawn.

No row depends on the unit of the prices. Between two rows the upper one is taken, and a price that lies within `_HALF`
of a row under that point counts as on it; prices within `SAME_PRICE` of each other count as equal. Prices in ticks
would otherwise lie on such points exactly, and rounding would decide.
"""

from typing import NamedTuple

import numpy as np

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.typing import Flags, Floats64, Int64s, Positions

HEIGHT = 64
PIXELS_PER_BAR = 3
_HALF = 0.5 + 1e-9


class ChartRows(NamedTuple):
    """Where the candles of n charts begin and end, in rows of pixels from the bottom: intp `(n, bars)` each."""

    low: Positions
    """Lowest row of the centre column."""
    bottom: Positions
    """Lowest row of the body, which is that of the outer columns; never below `low`."""
    top: Positions
    """Highest row of the body; never above `high`."""
    high: Positions
    rising: Flags
    """bool `(n, bars)`: whether the body is drawn as rising."""

    def take(self, at: Int64s) -> "ChartRows":
        """The rows of the charts at some positions."""
        return ChartRows(self.low[at], self.bottom[at], self.top[at], self.high[at], self.rising[at])


def rounded_rows(place: Floats64) -> Positions:
    """The rows next to places that are given in rows from the lowest: intp, of the same shape."""
    return np.floor(place + _HALF).astype(np.intp)


def chart_rows(open_: Floats64, high: Floats64, low: Floats64, close: Floats64, rows_in_all: int = HEIGHT) -> ChartRows:
    """Rows of the charts that `kline_core.windows.charts.render_charts` draws of the same windows."""
    bottom = low.min(axis=1, keepdims=True)
    top = high.max(axis=1, keepdims=True)
    height = top - bottom
    flat = height <= SAME_PRICE * top
    height = np.where(flat, 1.0, height)

    def row(price: Floats64) -> Positions:
        scaled = np.where(flat, 0.5, (price - bottom) / height)
        return rounded_rows(scaled * (rows_in_all - 1))

    first, last = row(open_), row(close)
    rising = close >= open_ * (1.0 - SAME_PRICE)
    return ChartRows(row(low), np.minimum(first, last), np.maximum(first, last), row(high), rising)
