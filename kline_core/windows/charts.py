"""Candlestick charts as pixels, straight from arrays.

The geometry is that of Jiang, Kelly & Xiu, "(Re-)Imag(in)ing Price Trends", Journal of Finance 78 (2023): three pixel
columns a bar and 64 rows, so 60 x 64 for 20 bars. Every window is scaled by its own lowest low and highest high. Unlike
theirs a bar is a candlestick: the outer columns hold the body, the centre column holds body and wick, and the body's
brightness tells rising from falling.

No pixel depends on the unit of the prices; which row a price lies in is said in `kline_core.windows.chart_rows`.

The tensor is time-major, `(windows, 3 * bars, 64)`: row 0 of the last axis is the lowest price. `to_picture` turns a
chart upright for people.
"""

from typing import TYPE_CHECKING

import numpy as np

from kline_core.typing import Flags, Floats64, Pixels
from kline_core.windows.chart_rows import HEIGHT, PIXELS_PER_BAR, chart_rows

if TYPE_CHECKING:
    from PIL import Image

WICK, FALLING, RISING = 96, 160, 255
"""Brightness of a wick, and of the body of a falling and of a rising bar, on a background of 0."""


def _spans() -> Flags:
    """Column of pixels, bool `(64,)`, that is lit from row i to row j, for every i and j: `(64, 64, 64)`."""
    rows = np.arange(HEIGHT)
    return (rows >= rows[:, None, None]) & (rows <= rows[None, :, None])


_SPANS = _spans()
_WICKS = _SPANS.astype(np.uint8) * np.uint8(WICK)
_BODIES = np.stack([_SPANS.astype(np.uint8) * np.uint8(FALLING), _SPANS.astype(np.uint8) * np.uint8(RISING)])


def render_charts(open_: Floats64, high: Floats64, low: Floats64, close: Floats64) -> Pixels:
    """Charts of windows given as prices, in any currency: the very pixels that the encoder sees.

    Args:
        open_: float64 (windows, bars), adjusted and positive, bars in order of time; so are `high`, `low` and `close`.
        high: as `open_`.
        low: as `open_`.
        close: as `open_`.

    Returns:
        uint8 (windows, 3 * bars, 64): time-major, row 0 of the last axis is the lowest price. A window whose prices
        are all equal is drawn as one line at half height. All prices of a window times one constant change no pixel.

    Source of the geometry: Jiang, Kelly & Xiu, "(Re-)Imag(in)ing Price Trends", Journal of Finance 78 (2023).

    Examples:
        >>> import numpy as np
        >>> close = np.linspace(10.0, 12.0, 20)[None]
        >>> kl.render_charts(close - 0.1, close + 0.2, close - 0.2, close).shape
        (1, 60, 64)
    """
    count, n_bars = open_.shape
    return candles(open_, high, low, close).reshape(count, n_bars * PIXELS_PER_BAR, HEIGHT)


def candles(open_: Floats64, high: Floats64, low: Floats64, close: Floats64, height: int = HEIGHT) -> Pixels:
    """The candles of n windows in so many rows, up to 64: uint8 (n, bars, 3, height)."""
    rows = chart_rows(open_, high, low, close, height)
    drawn = np.empty((*open_.shape, PIXELS_PER_BAR, height), dtype=np.uint8)
    body = _BODIES[rows.rising.astype(np.intp), rows.bottom, rows.top, :height]
    drawn[:, :, 0] = body
    drawn[:, :, 2] = body
    np.maximum(body, _WICKS[rows.low, rows.high, :height], out=drawn[:, :, 1])
    return drawn


def to_picture(chart: Pixels, enlarge: int = 6) -> "Image.Image":
    """The encoder's own pixels of a chart, upright (time to the right, price upwards) and enlarged.

    `chart` is uint8 `(width, 64)`; returns a grey Pillow image of `width * enlarge` x `64 * enlarge` pixels.
    """
    from PIL import Image

    upright = np.ascontiguousarray(chart.T[::-1])
    picture = Image.fromarray(upright)
    return picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST)
