"""Charts that carry volume: candles above, volumes beneath, and a moving average among the candles.

The layout is that of Jiang, Kelly & Xiu, "(Re-)Imag(in)ing Price Trends", Journal of Finance 78 (2023), for 20 days: of
64 rows the upper 51 hold the prices, the lower 12 the volumes, and one between them nothing. Candles are those of
`kline_core.windows.charts`, in fewer rows. A volume is a bar in the centre column, by the largest of the window; none,
or 0, is no bar. The average is that of the last closes, as many as the window has bars. Where it lies between lowest
low and highest high it is a mark over all three columns, beneath the candle; where history does not reach back there is
none.

No pixel depends on the unit of prices or volumes. Volumes are not corrected for splits that only some vendors apply to
them: within a window, a split shows as a step.
"""

from typing import Final, NamedTuple

import numpy as np

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.bars.symbol_bars import BarsBySymbol, group_by_code
from kline_core.typing import Floats64, Int32s, Int64s, Pixels
from kline_core.windows.chart_rows import HEIGHT, PIXELS_PER_BAR, rounded_rows
from kline_core.windows.charts import candles
from kline_core.windows.prices import WindowPrices, prices_of_windows, window_positions

PRICE_ROWS: Final = 51
VOLUME_ROWS: Final = 12
VOLUME, AVERAGE = 128, 64
"""Brightness of a volume, and of a mark of the average."""


def render_volume_charts(prices: WindowPrices, volume: Floats64, average: Floats64) -> Pixels:
    """Charts of n windows: uint8 (n, 3 * bars, 64), as of `kline_core.windows.charts.render_charts`.

    Args:
        prices: Adjusted prices, float64 (n, bars) each.
        volume: float64 (n, bars), NaN if unknown.
        average: float64 (n, bars): moving average on each bar, in the unit of the prices; NaN where there is none.
    """
    count, n_bars = volume.shape
    charts = np.zeros((count, n_bars, PIXELS_PER_BAR, HEIGHT), dtype=np.uint8)
    charts[:, :, :, HEIGHT - PRICE_ROWS :] = candles(*prices, height=PRICE_ROWS)
    known = np.where(volume > 0, volume, 0.0)
    most = known.max(axis=1, keepdims=True, initial=0.0)
    rows = rounded_rows(known / np.where(most > 0, most, 1.0) * VOLUME_ROWS)
    lit = np.arange(VOLUME_ROWS) < rows[:, :, None]
    charts[:, :, 1, :VOLUME_ROWS] = lit.astype(np.uint8) * np.uint8(VOLUME)
    lowest, highest = prices.low.min(axis=1, keepdims=True), prices.high.max(axis=1, keepdims=True)
    height = highest - lowest
    # A mean of prices in ticks often is the lowest or the highest of them, which rounding must not decide.
    with np.errstate(invalid="ignore"):
        inside = (average >= lowest * (1.0 - SAME_PRICE)) & (average <= highest * (1.0 + SAME_PRICE))
    window, bar = np.nonzero(inside & (height > SAME_PRICE * highest))
    place = np.clip((average[window, bar] - lowest[window, 0]) / height[window, 0], 0.0, 1.0)
    row = HEIGHT - PRICE_ROWS + rounded_rows(place * (PRICE_ROWS - 1))
    marked = charts[window, bar, :, row]
    charts[window, bar, :, row] = np.maximum(marked, np.uint8(AVERAGE))
    return charts.reshape(count, n_bars * PIXELS_PER_BAR, HEIGHT)


class VolumeWindows(NamedTuple):
    """What the charts of n windows show: arguments of `render_volume_charts`."""

    prices: WindowPrices
    volume: Floats64
    average: Floats64

    def part(self, at: Int64s | slice) -> "VolumeWindows":
        """Some of the windows."""
        return VolumeWindows(WindowPrices(*(each[at] for each in self.prices)), self.volume[at], self.average[at])


def volume_windows(
    frames: BarsBySymbol, symbols: list[str], code: Int32s, bar: Int64s, window_bars: int
) -> VolumeWindows:
    """Prices, volumes and averages of n windows, named as for `kline_core.windows.prices.prices_of_windows`.

    There is an average on each bar before which lie `window_bars - 1` others of the symbol.
    """
    prices = prices_of_windows(frames, symbols, code, bar, window_bars)
    volume, average = np.full((2, len(code), window_bars), np.nan)
    for which, at in group_by_code(code):
        bars = frames[symbols[which]]
        place = window_positions(bar[at], window_bars)
        volume[at] = bars.volume[place]
        average[at] = _averages(bars.close, window_bars)[place]
    return VolumeWindows(prices, volume, average)


def _averages(close: Floats64, bars: int) -> Floats64:
    """Mean of the last `bars` closes on each bar, float64 (n,); NaN where there are fewer."""
    found = np.full(len(close), np.nan)
    if len(close) >= bars:
        # Each from its own closes, so that no mean depends on how far back the history reaches.
        found[bars - 1 :] = np.lib.stride_tricks.sliding_window_view(close, bars).mean(axis=1)
    return found
