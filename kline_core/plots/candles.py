"""Candles on bare axes: hollow if the price rose, filled if it fell."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from kline_core.plots.style import PAPER, QUIET, bare
from kline_core.typing import Floats64


def draw_candles(axes: Axes, first: int, prices: list[Floats64], colour: str) -> None:
    """Candles from the position `first` on; `prices`: their opens, highs, lows and closes, as heights."""
    open_, high, low, close = prices
    x = np.arange(first, first + len(close), dtype=np.float64)
    axes.add_collection(LineCollection(_uprights(x, low, high), colors=colour, linewidths=0.9, zorder=2))
    faces = np.where(close >= open_, PAPER, colour)
    bodies = boxes(x, np.minimum(open_, close), np.maximum(open_, close), 0.62)
    axes.add_collection(PolyCollection(bodies, facecolors=faces.tolist(), edgecolors=colour, linewidths=0.9, zorder=3))


def frame_candles(axes: Axes, first: int, last: int, low: float, high: float) -> None:
    """Bare axes round the candles from the position `first` to `last`."""
    axes.set_xlim(first - 0.8, last + 0.8)
    # A window may be one flat line.
    margin = 0.06 * (high - low) or 0.01
    axes.set_ylim(low - margin, high + margin)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.yaxis.tick_right()
    bare_with_labels(axes, [QUIET] * 3)


def bare_with_labels(axes: Axes, colours: list[str]) -> None:
    """Bare axes with the labels of the y axis in `colours`."""
    bare(axes)
    for label, colour in zip(axes.get_yticklabels(), colours, strict=False):
        label.set_color(colour)


def boxes(x: Floats64, low: Floats64 | float, high: Floats64 | float, width: float) -> list[Floats64]:
    """Corners of n upright boxes: float64 (4, 2) each."""
    left, right = x - width / 2, x + width / 2
    low, high = np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape)
    corners = [np.stack(corner, axis=1) for corner in ((left, low), (left, high), (right, high), (right, low))]
    return list(np.stack(corners, axis=1))


def _uprights(x: Floats64, low: Floats64, high: Floats64) -> list[Floats64]:
    """Ends of n vertical lines: float64 (2, 2) each."""
    return list(np.stack([np.stack([x, low], axis=1), np.stack([x, high], axis=1)], axis=1))
