"""Plots of what stands beside the verdict of an evaluation: decay, IC over time, parts, reliability, portfolios.

Points come with one (thick) and two (thin) standard errors. What is not distinguishable from noise is grey.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from kline_core.evaluation.breakdowns import Breakdown
from kline_core.evaluation.calibration import Calibration
from kline_core.evaluation.change_points import ROLLING, ChangePoint, RollingIC
from kline_core.evaluation.decay import Decay
from kline_core.evaluation.estimate import LEVEL, Estimate, two_sided_p
from kline_core.evaluation.portfolios import Portfolios
from kline_core.plots.style import FAINT, FONT, INK, QUIET, Figure, bare, line_above, sheet, sign_colours

_WIDTH: Final = 10.0


def decay_figure(found: Decay, up: str = "blue") -> Figure:
    """Rank IC over h bars and of bar h alone, by distance from the entry: 1500 x 510 pixels."""
    figure = sheet(_WIDTH, 3.4)
    colours = sign_colours(up)
    sides = (
        ("Rank IC with the return over h bars", [point.over for point in found.points]),
        ("Rank IC with the return of bar h alone", [point.alone for point in found.points]),
    )
    bars = [point.bars for point in found.points]
    for at, (title, estimates) in enumerate(sides):
        axes = figure.add_axes((0.065 + 0.49 * at, 0.15, 0.425, 0.73))
        _points(axes, list(range(len(bars))), estimates, colours)
        axes.set_xticks(range(len(bars)), [str(each) for each in bars])
        _axis(axes, "h, bars after the entry", "")
        line_above(axes, title, 9.5, INK, "bold", 9)
    if found.reason is None:
        said = f"half-life {found.half_life:.1f} ± {found.half_life_se:.1f} bars"
        _note(axes, said, (1, 0.96), (-4, 0), "axes fraction", ha="right", va="top", colour=INK)
    return figure


def rolling_figure(rolling: Sequence[RollingIC], changes: Sequence[ChangePoint], up: str = "blue") -> Figure:
    """Rolling mean of the rank IC, with the days on which its level changed: 1500 x 480 pixels."""
    figure = sheet(_WIDTH, 3.2)
    axes = figure.add_axes((0.065, 0.12, 0.915, 0.75))
    days, means = [each.date.astype(object) for each in rolling], np.array([each.mean for each in rolling])
    colours = sign_colours(up)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.plot(days, means, color=QUIET, linewidth=1.4)
    for sign in (1, -1):
        axes.fill_between(
            days, 0, means, where=sign * means > 0, color=colours[sign], alpha=0.15, linewidth=0, interpolate=True
        )
    for change in changes:
        axes.axvline(change.date.astype(object), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        said = f"{change.date}: {change.before:+.3f} to {change.after:+.3f}"
        _note(axes, said, (change.date.astype(object), 0.97), (4, 0), ("data", "axes fraction"), va="top", colour=INK)
    _dates(axes)
    _axis(axes, "", "")
    line_above(axes, f"Rank IC across symbols, mean of {ROLLING} sessions", 9.5, INK, "bold", 9)
    return figure


def parts_figure(found: Sequence[Breakdown], up: str = "blue") -> Figure:
    """Rank IC of all parts; coloured where it is distinguishable from zero among the parts of its breakdown."""
    colours = sign_colours(up)
    rows = [(each, part) for each in found for part in each.parts]
    height = 0.75 + 0.21 * len(rows) + 0.34 * len(found)
    figure = sheet(_WIDTH, height)
    axes = figure.add_axes((0.24, 0.5 / height, 0.62, 1 - 0.62 / height))
    axes.axvline(0, color=INK, linewidth=0.8)
    y, marks = 0.0, []
    for each in found:
        place = ("axes fraction", "data")
        _note(axes, f"by {each.by}", (-0.36, y), (0, 0), place, colour=INK, size=9, weight="bold")
        y -= 1
        for part in each.parts:
            estimate = part.rank_ic
            sure = part.p_holm <= LEVEL
            colour = colours[int(np.sign(estimate.value)) if sure else 0]
            if estimate.known:
                for width, reach, alpha in ((1, 2, 1.0), (4, 1, 0.45)):
                    ends = estimate.value - reach * estimate.se, estimate.value + reach * estimate.se
                    axes.hlines(y, *ends, color=colour, linewidth=width, alpha=alpha)
                axes.plot(estimate.value, y, marker="o", markersize=5, color=colour)
            said = (
                f"{estimate.value:+.3f}   {estimate.n} sessions"
                if estimate.known
                else f"{estimate.n} sessions: too few"
            )
            _note(axes, said, (1.01, y), (0, 0), place, colour=colour)
            marks.append((y, part.name))
            y -= 1
        y -= 0.6
    axes.set_ylim(y + 1, 0.7)
    axes.set_yticks([mark for mark, _ in marks], [name for _, name in marks])
    _axis(axes, "rank IC across symbols", "")
    axes.tick_params(axis="y", labelsize=8.5)
    return figure


def reliability_figure(found: Calibration) -> Figure:
    """Realised win by value beside the diagonal of probabilities, and the samples of each bin: 1500 x 630 pixels."""
    figure = sheet(_WIDTH, 4.2)
    axes = figure.add_axes((0.065, 0.36, 0.915, 0.52))
    below = figure.add_axes((0.065, 0.115, 0.915, 0.15), sharex=axes)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    _note(axes, "if values were probabilities", (0.9, 0.9), (-6, 4), ha="right", va="bottom")
    filled = [each for each in found.bins if each.samples]
    mean = sum(each.win * each.samples for each in filled) / max(1, found.samples)
    axes.axhline(mean, color=FAINT, linewidth=1.2)
    for each in filled:
        if not math.isnan(each.se):
            axes.vlines(each.value, each.win - 2 * each.se, each.win + 2 * each.se, color=INK, linewidth=1)
            axes.vlines(each.value, each.win - each.se, each.win + each.se, color=INK, linewidth=4, alpha=0.4)
        axes.plot(each.value, each.win, marker="o", markersize=6, color=INK)
    if found.reason is None:
        ends = np.array([0.0, 1.0])
        axes.plot(ends, found.intercept + found.slope * ends, color=INK, linewidth=1.2, zorder=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    width = 1 / max(1, len(found.bins))
    below.bar(
        [each.lowest for each in found.bins], [each.samples for each in found.bins], width, align="edge", color=FAINT
    )
    for each in filled:
        _note(
            below,
            f"{each.samples}",
            (each.lowest + width / 2, each.samples),
            (0, 1),
            ha="center",
            va="bottom",
            size=7.5,
        )
    below.set_ylim(0, 1.35 * max(1, *(each.samples for each in found.bins)))
    _axis(axes, "", "realised win")
    axes.tick_params(labelbottom=False)
    _axis(below, "value", "samples")
    below.set_yticks([])
    slope = "" if found.reason is not None else f", slope {found.slope:+.3f} ± {found.slope_se:.3f}"
    level = f": mean {mean:.2f} (grey)" if filled else ""
    line_above(axes, f"Realised win by value{level}{slope}", 9.5, INK, "bold", 9)
    return figure


def portfolios_figure(found: Portfolios, up: str = "blue") -> Figure:
    """Net worth of the portfolios at the ends of months, on a logarithmic scale: 1500 x 570 pixels."""
    figure = sheet(_WIDTH, 3.8)
    axes = figure.add_axes((0.065, 0.1, 0.74, 0.79))
    days = [each.date.astype(object) for each in found.worth]
    curves = np.array([each.worth for each in found.worth])
    names = [each.name for each in found.portfolios]
    colours = sign_colours(up)
    fifths = len(names) - 2
    ends = []
    for column, name in enumerate(names):
        if column < fifths:
            colour = {0: colours[-1], fifths - 1: colours[1]}.get(column, FAINT)
        else:
            colour = INK if column == fifths else QUIET
        style = "-" if column <= fifths else (0, (4, 3))
        axes.plot(days, curves[:, column], color=colour, linewidth=1.6, linestyle=style)
        ends.append((float(curves[-1, column]), name, colour if colour != FAINT else QUIET))
    axes.axhline(1, color=INK, linewidth=0.6)
    if (curves > 0).all():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda worth, _: f"{worth:g}")
        axes.yaxis.set_minor_formatter(lambda worth, _: f"{worth:g}")
    _dates(axes)
    _axis(axes, "", "worth, 1 at the start")
    figure.canvas.draw()
    low, high = axes.get_ylim()
    scale: Callable[[float], float] = math.log if axes.get_yscale() == "log" else float
    places = [
        (float((scale(end) - scale(low)) / (scale(high) - scale(low))), name, colour) for end, name, colour in ends
    ]
    last = -1.0
    for height, name, colour in sorted(places):
        # Names that would lie on each other are moved up.
        last = max(height, last + 0.06)
        _note(axes, name, (1, last), (8, 0), "axes fraction", colour=colour, size=8.5)
    title = f"Portfolios by fifth of the values, after costs of {10_000 * found.cost:.0f} basis points a side"
    line_above(axes, title, 9.5, INK, "bold", 9)
    return figure


def _points(axes: Axes, places: list[int], estimates: list[Estimate], colours: dict[int, str]) -> None:
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    for x, each in zip(places, estimates, strict=True):
        if not each.known:
            axes.text(x, 0, "-", ha="center", va="bottom", fontsize=8, color=QUIET)
            continue
        colour = colours[int(np.sign(each.value)) if two_sided_p(each) < LEVEL else 0]
        axes.vlines(x, each.value - 2 * each.se, each.value + 2 * each.se, color=colour, linewidth=1)
        axes.vlines(x, each.value - each.se, each.value + each.se, color=colour, linewidth=4, alpha=0.45)
        axes.plot(x, each.value, marker="o", markersize=5, color=colour)
    axes.set_xlim(places[0] - 0.6, places[-1] + 0.6)


def _note(
    axes: Axes,
    text: str,
    at: tuple[Any, float],
    points: tuple[float, float],
    place: Any = "data",
    *,
    ha: str = "left",
    va: str = "center",
    colour: str = QUIET,
    size: float = 8,
    weight: str = "normal",
) -> None:
    """Text `points` beside a place in `place`'s coordinates; it may lie outside the axes."""
    axes.annotate(
        text,
        at,
        points,
        xycoords=place,
        textcoords="offset points",
        ha=ha,
        va=va,
        fontsize=size,
        color=colour,
        weight=weight,
        family=FONT,
        annotation_clip=False,
    )


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=12)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]


def _axis(axes: Axes, x: str, y: str) -> None:
    bare(axes)
    axes.tick_params(labelsize=8, which="both", length=0, labelcolor=QUIET)
    axes.grid(color="#eef1f4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(x, fontsize=8, color=QUIET, family=FONT)
    axes.set_ylabel(y, fontsize=8, color=QUIET, family=FONT)
