"""Plots of many values: their distribution, and their evaluation.

Figures within two standard errors of zero are grey. Only the others are coloured, blue above zero and vermillion below
by default, so that noise looks like noise.
"""

from textwrap import wrap
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kline_core.evaluation.report import Evaluation
from kline_core.plots.style import FAINT, FONT, INK, PAPER, QUIET, bare, line_above, png, sheet, sign_colours
from kline_core.typing import Floats64

_BINS: Final = 20
_HEAD_CHARACTERS: Final = 106


def values_picture(values: Floats64, title: str) -> bytes:
    """Histogram of the values of one day over 0 to 1, as a PNG of 1200 x 540 pixels.

    `values`: float64 (n,), NaN if a sample failed; the line below the title counts these.
    """
    there = values[~np.isnan(values)]
    figure = sheet(8, 3.6)
    failed = len(values) - len(there)
    said = f"{len(values)} symbols = {len(there)} with a value + {failed} failed"
    if len(there):
        middle = float(np.median(there))
        said += f"  ·  median (triangle) {middle:.2f}, half of them from {_at(there, 25):.2f} to {_at(there, 75):.2f}"
    _head(figure, [title], said)
    axes = figure.add_axes((0.055, 0.12, 0.915, 0.62))
    # The last bin of np.histogram includes 1.
    counts, edges = np.histogram(there, bins=_BINS, range=(0.0, 1.0))
    axes.bar(edges[:-1], counts, width=1 / _BINS, align="edge", color=QUIET, edgecolor="white", linewidth=1.2)
    highest = max(int(counts.max()), 1)
    for left, count in zip(edges, counts.tolist(), strict=False):
        if count:
            _label(axes, left + 0.5 / _BINS, count + 0.025 * highest, str(count), ha="center", va="bottom")
    if len(there):
        axes.plot(middle, 0, marker="^", color=INK, markersize=7, clip_on=False, zorder=3)
    else:
        _label(axes, 0.5, 0.5 * highest, "no symbol has a value", ha="center", va="center")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.12 * highest)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{tick:.1f}" for tick in np.linspace(0, 1, 6)])
    axes.set_yticks([])
    bare(axes)
    axes.spines["bottom"].set(visible=True, color=FAINT)
    return png(figure, palette=True)


def evaluation_picture(found: Evaluation, up: str = "blue") -> bytes:
    """`evaluation_figure` as a PNG."""
    return png(evaluation_figure(found, up), palette=True)


def evaluation_figure(found: Evaluation, up: str = "blue", head: bool = True) -> Figure:
    """IC by horizon and mean return by quantile, as a figure of 1500 x 720 pixels, or 540 without the `head`.

    Points with their standard errors: the thick bar is one, the thin one two. `up`: colour of what lies above zero, one
    of `kline_core.plots.style.UP`.
    """
    colours = sign_colours(up)
    height = 4.8 if head else 3.6
    figure = sheet(10, height)
    if head:
        _head(
            figure,
            wrap(found.verdict, _HEAD_CHARACTERS),
            f"{found.symbols} symbols, {found.samples} samples = {found.values} values + "
            f"{found.samples - found.values} failed, {found.first} to {found.last}",
        )
    sides = ((0.03, 0.15, 0.44, 0.49), (0.53, 0.15, 0.44, 0.49))
    # The head takes the rest of the height, whatever it is.
    left, right = (
        figure.add_axes((x, bottom * 4.8 / height, width, up_to * 4.8 / height)) for x, bottom, width, up_to in sides
    )
    across = any(each.rank_ic.known for each in found.horizons)
    estimates = [each.rank_ic if across else each.over_time for each in found.horizons]
    points_of(
        left,
        np.array([each.value if each.known else np.nan for each in estimates]),
        np.array([each.se if each.known else np.nan for each in estimates]),
        [f"{each.horizon}" for each in found.horizons],
        colours,
    )
    figure_title(left, f"Rank IC {'across symbols' if across else 'over time'}", "by horizon, bars from the entry")
    groups = found.quantiles.groups
    base = "the same session" if found.quantiles.across else "all dates"
    points_of(
        right,
        np.array([group.mean for group in groups]),
        np.array([group.se for group in groups]),
        [f"{group.quantile}\n{group.value:.2f}" if group.samples else f"{group.quantile}\n-" for group in groups],
        colours,
        percent=True,
    )
    figure_title(
        right, f"Mean {found.horizon}-bar return beyond that of {base}", "by fifth of the values, mean value below"
    )
    said = "thick and thin bar: one and two standard errors  ·  grey: within two standard errors of zero"
    figure.text(0.022, 0.035 * 4.8 / height, said, fontsize=7.5, color=QUIET, family=FONT, va="center")
    return figure


def _head(figure: Figure, title: list[str], details: str) -> None:
    inches = figure.get_figheight()
    y = 1 - 0.26 / inches
    for line in title:
        figure.text(0.022, y, line, fontsize=10.5, weight="bold", color=INK, family=FONT, va="center")
        y -= 0.23 / inches
    figure.text(0.022, y - 0.02 / inches, details, fontsize=8.5, color=QUIET, family=FONT, va="center")


def points_of(
    axes: Axes, means: Floats64, errors: Floats64, names: list[str], colours: dict[int, str], percent: bool = False
) -> None:
    """Estimates from left to right, each with one and two standard errors and its number."""
    reach = np.nan_to_num(np.abs(means) + 2 * np.nan_to_num(errors)).max(initial=0) or 1.0
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    for x, (mean, error) in enumerate(zip(means.tolist(), errors.tolist(), strict=True)):
        if np.isnan(mean):
            _label(axes, x, 0.06 * reach, "-", ha="center", va="bottom")
            continue
        # Not sure either if the error is NaN.
        sure = abs(mean) > 2 * error
        colour = colours[int(np.sign(mean)) if sure else 0]
        if not np.isnan(error):
            axes.vlines(x, mean - 2 * error, mean + 2 * error, color=colour, linewidth=1, zorder=2)
            axes.vlines(x, mean - error, mean + error, color=colour, linewidth=4, alpha=0.45, zorder=2)
        axes.plot(x, mean, marker="o", color=colour, markersize=6, zorder=3)
        text = f"{100 * mean:+.2f} %" if percent else f"{mean:+.3f}"
        _label(axes, x + 0.13, mean, text, ha="left", va="center", color=colour)
    axes.set_xlim(-0.5, len(names) - 0.3)
    axes.set_ylim(-1.12 * reach, 1.12 * reach)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    bare(axes)


def figure_title(axes: Axes, text: str, details: str) -> None:
    """Title and details above the axes."""
    for words, points, colour, weight, lift in ((text, 9.5, INK, "bold", 20), (details, 8, QUIET, "normal", 7)):
        line_above(axes, words, points, colour, weight, lift)


def _label(axes: Axes, x: float, y: float, text: str, ha: str, va: str, color: str = QUIET) -> None:
    # On a background of its own, since lines may run behind it.
    paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1}
    axes.text(x, y, text, fontsize=7.5, color=color, family=FONT, ha=ha, va=va, bbox=paper)


def _at(values: Floats64, percentage: float) -> float:
    return float(np.percentile(values, percentage))
