"""Plot of an attention map: the candles of a sample's charts, and how much of its likeness rests on each.

Orange to violet (ColorBrewer PuOr, C. Brewer 2002, safe for every kind of colour vision), so that nobody takes it for a
rise or a fall: violet where the likeness falls without the candle, orange where it rises. Only the lighter part of the
scale, since candles are drawn on it.
"""

from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from kline_core.factor.attention import Attention
from kline_core.factor.explanation import Explanation
from kline_core.plots.candles import bare_with_labels, draw_candles, frame_candles
from kline_core.plots.style import FONT, INK, QUIET, line_above, png, sheet
from kline_core.typing import Floats64

_HEADER, _SCALE, _ROW = 0.7, 2.9, 0.26
"""Inches of the header, of each time scale's candles with what is written at them, and of each match."""
_COLOURS: Final = LinearSegmentedColormap.from_list(
    "attention", matplotlib.colormaps["PuOr"](np.linspace(0.2, 0.8, 64))
)


def attention_picture(view: Explanation, path: Path) -> Path:
    """Write `attention_png` to a file; returns `path`. Raises `OSError` if the file cannot be written."""
    path.write_bytes(attention_png(view))
    return path


def attention_png(view: Explanation) -> bytes:
    """`attention_figure` as a PNG."""
    return png(attention_figure(view))


def attention_figure(view: Explanation) -> Figure:
    """Draw the attention map of a sample, 1350 pixels wide.

    For each time scale the sample's candles, on ground in the colour of what they contribute to its similarity to the
    best match; below, a strip for each match, a field per candle. One scale of colours for all. Raises ValueError if
    the explanation has no map, or no matches.
    """
    attention = view.attention
    if attention is None or not view.matches:
        raise ValueError("the explanation has no attention map")
    steps, count = view.settings.patterns, len(view.matches)
    each = _SCALE + _ROW * count
    height = _HEADER + each * len(steps.scales)
    figure = sheet(9, height)
    _header(figure, view, height)
    most = max(float(np.abs(drops).max()) for drops in attention.drops.values())
    # A chart of which no candle matters is all paper.
    colours, norm = _COLOURS, Normalize(-most or -1.0, most or 1.0)
    for row, (scale, weight) in enumerate(zip(steps.scales, steps.weights_of_scales, strict=True)):
        top = _HEADER + each * row
        upper = figure.add_axes((0.03, 1 - (top + 2.55) / height, 0.79, 2.05 / height))
        lower = figure.add_axes((0.03, 1 - (top + 2.62 + _ROW * count) / height, 0.79, _ROW * count / height))
        _chart(upper, view, attention.drops[scale][0], scale, weight, (colours, norm))
        _strips(lower, view, attention, scale, (colours, norm))
    return figure


def _header(figure: Figure, view: Explanation, height: float) -> None:
    assert view.attention is not None, "it was checked"
    best = view.matches[0]
    title = f"{view.symbol} on {view.date}: on which candles the likeness rests"
    figure.text(0.03, 1 - 0.38 / height, title, fontsize=14, weight="bold", color=INK, family=FONT)
    lines = [
        f"Best match {best.symbol} {best.end}, similarity of the vectors {view.attention.similarity[0]:.3f}. "
        "Each candle was painted over in turn and the chart encoded again.",
        "Violet: less alike without it; orange: more alike. Numbers: the largest change, +: lost without the candle. "
        "A picture of the encoder, no proof.",
    ]
    for row, line in enumerate(lines):
        figure.text(0.03, 1 - (0.62 + 0.2 * row) / height, line, fontsize=8, color=QUIET, family=FONT)


def _chart(
    axes: Axes, view: Explanation, drops: Floats64, scale: int, weight: float, colours: tuple[Colormap, Normalize]
) -> None:
    """The candles of a scale, on ground in the colour of their drops."""
    if scale == 1:
        bars = view.window
        prices = [bars.open, bars.high, bars.low, bars.close]
    else:
        prices = [price[0] for price in view.candles[scale]]
    name = f"{scale} bars a candle, {weight:.0%} of the similarity".replace("%", " %") if scale > 1 else "The chart"
    line_above(axes, name, 9.5, INK, "bold", 5)
    first = 1 - len(drops)
    draw_candles(axes, first, prices, INK)
    frame_candles(axes, first, 0, float(prices[2].min()), float(prices[1].max()))
    for place, drop in enumerate(drops, first):
        axes.axvspan(place - 0.5, place + 0.5, color=_colour(drop, colours), linewidth=0, zorder=0)
    axes.set_xlim(first - 0.5, 0.5)


def _strips(
    axes: Axes, view: Explanation, attention: Attention, scale: int, colours: tuple[Colormap, Normalize]
) -> None:
    """A strip for each match, the best one on top."""
    drops = attention.drops[scale]
    count, bars = drops.shape
    axes.imshow(
        drops,
        cmap=colours[0],
        norm=colours[1],
        aspect="auto",
        interpolation="nearest",
        extent=(0.5 - bars, 0.5, count - 0.5, -0.5),
    )
    largest = drops[np.arange(count), np.abs(drops).argmax(axis=1)]
    axes.set_yticks(
        range(count),
        [f"{match.rank} {match.symbol} {most:+.3f}" for match, most in zip(view.matches, largest, strict=True)],
    )
    axes.yaxis.tick_right()
    axes.set_xticks([])
    bare_with_labels(axes, [QUIET] * count)


def _colour(drop: float, colours: tuple[Colormap, Normalize]) -> tuple[float, float, float, float]:
    colour, norm = colours
    found: tuple[float, float, float, float] = colour(norm(drop))
    return found
