"""Plot of a symbol's values beside its price."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kline_core.factor.symbol_history import SymbolHistory
from kline_core.plots.style import COLOURS, FAINT, FONT, INK, QUIET, bare, line_above, png, sheet
from kline_core.typing import Dates, Floats64

_WIDE: Final = 4.0
"""Highest close by lowest from which on prices are drawn by their logarithm."""
_MOST_TICKS: Final = 12


def history_png(found: SymbolHistory) -> bytes:
    """`history_figure` as a PNG."""
    return png(history_figure(found), palette=True)


def history_figure(found: SymbolHistory) -> Figure:
    """Adjusted closes of a symbol, and below them its values, as a figure of 1500 x 825 pixels.

    Each value is a dot on its date, and a sample without a value a tick on the ground. The line through the dots is the
    mean of the values of each year: single values lie far apart by nature, as few matches carry each.
    """
    figure = sheet(10, 5.5)
    figure.text(0.022, 0.955, found.headline, fontsize=11, weight="bold", color=INK, family=FONT, va="center")
    figure.text(
        0.022,
        0.915,
        "A value is the weighted share of similar charts that rose afterwards. It is no probability.",
        fontsize=8.5,
        color=QUIET,
        family=FONT,
        va="center",
    )
    top, bottom = figure.add_axes((0.06, 0.5, 0.915, 0.305)), figure.add_axes((0.06, 0.08, 0.915, 0.31))
    days = found.rows["date"].to_numpy().astype("datetime64[D]")
    there = np.concatenate([found.dates, days])
    ends = there.min(), there.max()
    _prices(top, found)
    _values(bottom, found, days)
    for axes in (top, bottom):
        _time(axes, *ends)
    return figure


def _prices(axes: Axes, found: SymbolHistory) -> None:
    wide = len(found.close) > 0 and found.close.max() > _WIDE * found.close.min()
    line_above(axes, "Close", 9.5, INK, "bold", 20)
    said = f"adjusted, the first stored bar as it was traded{'; by ratio' if wide else ''}"
    line_above(axes, said, 8, QUIET, "normal", 7)
    bare(axes)
    if len(found.close) == 0:
        axes.text(
            0.5, 0.5, "no bars are stored by now", transform=axes.transAxes, ha="center", color=QUIET, family=FONT
        )
        axes.set_yticks([])
        return
    axes.plot(_numbers(found.dates), found.close, color=INK, linewidth=0.9)
    low, high = float(found.close.min()), float(found.close.max())
    if wide:
        axes.set_yscale("log")
        axes.minorticks_off()
    axes.set_ylim(low * 0.97, high * 1.03)
    # The ends and what lies half-way, by ratio where the axis is by ratio.
    middle = float(np.sqrt(low * high)) if wide else (low + high) / 2
    levels = [low, middle, high] if high > 1.02 * low else [middle]
    axes.set_yticks(levels, [f"{level:.4g}" for level in levels])
    axes.grid(axis="y", color=FAINT, linewidth=0.6)


def _values(axes: Axes, found: SymbolHistory, days: Dates) -> None:
    line_above(axes, "Factor value", 9.5, INK, "bold", 20)
    there = found.has_value
    value = found.rows["value"].to_numpy(dtype=np.float64)
    said = "a dot each; line: mean of each year" + ("; ticks below: samples without a value" if not there.all() else "")
    line_above(axes, said, 8, QUIET, "normal", 7)
    axes.axhline(0.5, color=FAINT, linewidth=0.8, zorder=0)
    axes.plot(_numbers(days[there]), value[there], ".", color=COLOURS[1], markersize=4, alpha=0.55, markeredgewidth=0)
    middle, mean = _yearly(days[there], value[there])
    axes.plot(_numbers(middle), mean, color=INK, linewidth=1.4, marker="o", markersize=3.5)
    axes.plot(_numbers(days[~there]), np.full(int((~there).sum()), -0.05), "|", color=COLOURS[-1], markersize=5)
    axes.set_ylim(-0.08, 1.04)
    axes.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    bare(axes)


def _yearly(days: Dates, value: Floats64) -> tuple[Dates, Floats64]:
    """Middle of each year's sample dates, and the mean of its values."""
    years, which = np.unique(days.astype("datetime64[Y]"), return_inverse=True)
    count = np.maximum(np.bincount(which, minlength=len(years)), 1)
    mean = np.bincount(which, weights=value, minlength=len(years)) / count
    middle = np.bincount(which, weights=_numbers(days), minlength=len(years)) / count
    return middle.astype(np.int64).astype("datetime64[D]"), mean


def _time(axes: Axes, first: np.datetime64, last: np.datetime64) -> None:
    """One axis of time for both plots, with years, or months if there are few."""
    ends = _numbers(np.array([first, last]))
    margin = max(1.0, 0.01 * (ends[1] - ends[0]))
    axes.set_xlim(ends[0] - margin, ends[1] + margin)
    unit = "Y" if ends[1] - ends[0] > 2 * 365 else "M"
    marks = np.arange(first.astype(f"datetime64[{unit}]"), last.astype(f"datetime64[{unit}]") + 1)
    marks = marks[:: -(-len(marks) // _MOST_TICKS)]
    marks = marks[marks.astype("datetime64[D]") >= first]
    axes.set_xticks(_numbers(marks.astype("datetime64[D]")), [str(mark) for mark in marks])
    axes.spines["bottom"].set(visible=True, color=FAINT)


def _numbers(days: Dates) -> Floats64:
    return days.astype("datetime64[D]").astype(np.int64).astype(np.float64)
