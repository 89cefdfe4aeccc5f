"""Plot of a query and its matches.

Candles are hollow if the price rose and filled if it fell, since red and green mean opposite things in Shanghai and in
New York. Colour marks the outcome: blue for the upper barrier, vermillion for the lower one, grey for neither (M. Okabe
and K. Ito, Color Universal Design, 2008: every kind of colour vision tells them apart).
"""

from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure, FigureBase

from kline_core._text import percent
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.factor.explanation import Explanation, Match
from kline_core.plots.candles import bare_with_labels, boxes, draw_candles, frame_candles
from kline_core.plots.style import COLOURS, FONT, INK, PAPER, QUIET, TINTS, line_above, png, sheet
from kline_core.settings import PatternSettings
from kline_core.typing import Floats64
from kline_core.windows.outcomes import barriers
from kline_core.windows.prices import WindowPrices

SHOWN: Final = 5
"""Matches that fit into a picture."""
_HEIGHT, _SCALE_HEIGHT = 6.4, 1.7
"""Inches of the picture, and of the row of charts that each time scale above 1 adds."""
_LINE: Final = 165
"""Letters of a line above the charts."""
_WIDEST: Final = 175
"""Letters of such a line that fit into the picture."""


def match_picture(view: Explanation, path: Path) -> Path:
    """Write `match_png` to a file; returns `path`. Raises `OSError` if the file cannot be written."""
    path.write_bytes(match_png(view))
    return path


def match_png(view: Explanation) -> bytes:
    """`match_figure` as a PNG."""
    return png(match_figure(view))


def match_figure(view: Explanation) -> Figure:
    """Draw a query with its best matches and their outcomes, of 1800 x 960 pixels, with 255 more below for each time
    scale above 1.

    Left: the query's window and, on tinted ground, the bars after it that are stored by now; below, the legend. Right:
    up to five matches in order of similarity, each with its window, its entry, the barriers, and the bars after the
    window; last, the closes of all of them from their entries on. Prices are percentages of the entry's close (of the
    last close, if the query's entry is not known yet), and every chart has a scale of its own, as the encoder sees it.
    Below, a row for each time scale above 1: the charts of the query and of the matches in larger candles.
    """
    larger = [scale for scale in view.settings.patterns.scales if scale > 1]
    sheet_ = sheet(12, _HEIGHT + _SCALE_HEIGHT * len(larger))
    figure: FigureBase = sheet_
    if larger:
        parts = sheet_.subfigures(2, 1, squeeze=False, height_ratios=[_HEIGHT, _SCALE_HEIGHT * len(larger)])
        figure, below = parts[:, 0]
        _larger_charts(below, view, larger)
    left = figure.add_gridspec(
        2, 1, left=0.022, right=0.25, top=0.755, bottom=0.05, height_ratios=[2.1, 1], hspace=0.25
    )
    right = figure.add_gridspec(2, 3, left=0.315, right=0.965, top=0.755, bottom=0.05, wspace=0.2, hspace=0.48)
    shown = view.matches[:SHOWN]
    _header(figure, view)
    _query(figure.add_subplot(left[0]), view)
    _legend(figure.add_subplot(left[1]), view.settings.patterns)
    for place, match in enumerate(shown):
        _match(figure.add_subplot(right[place // 3, place % 3]), match, view)
    if there := [match for match in shown if len(match.after)]:
        _paths(figure.add_subplot(right[1, 2]), there, view)
    return sheet_


def _larger_charts(figure: FigureBase, view: Explanation, scales: list[int]) -> None:
    """A row for each of the scales: the query's chart, and those of its matches in the same order."""
    steps, shown = view.settings.patterns, view.matches[:SHOWN]
    # In inches, so that the distances do not depend on the number of rows.
    height = _SCALE_HEIGHT * len(scales)
    grid = figure.add_gridspec(
        len(scales), 1 + SHOWN, left=0.022, right=0.965, top=1 - 0.52 / height, bottom=0.15 / height, hspace=0.5
    )
    weights = dict(zip(steps.scales, steps.weights_of_scales, strict=True))
    for row, scale in enumerate(scales):
        # Full mode's own similarity is that of the daily bars.
        part = "in choosing candidates" if view.settings.factor.mode == "full" else "of the similarity"
        weight = f"{100 * weights[scale]:.0f} % {part}"
        charts: list[tuple[str, str, WindowPrices | None]] = [(f"{scale} bars a candle", weight, view.candles[scale])]
        charts += [(f"{match.rank}   {match.symbol}", str(match.end), match.candles.get(scale)) for match in shown]
        for column, (name, details, candles) in enumerate(charts):
            if candles is None:
                continue
            axes = figure.add_subplot(grid[row, column])
            line_above(axes, name, 8.5, INK, "bold", 15)
            line_above(axes, details, 7.5, QUIET, "normal", 4.5)
            prices = [price[0] / candles.close[0, -1] - 1 for price in candles]
            draw_candles(axes, 1 - steps.window_bars, prices, INK)
            frame_candles(axes, 1 - steps.window_bars, 0, prices[2].min(), prices[1].max())


def _header(figure: FigureBase, view: Explanation) -> None:
    factor, settings = view.factor, view.settings.factor
    steps, count = view.settings.patterns, len(view.matches)
    said = f"factor value {factor['value']:.2f}" if factor["status"] == "ok" else "no value"
    # A value may have a reason too: the mark of a date that the encoder has seen.
    said += f" ({factor['reason']})" if factor["reason"] else ""
    figure.text(
        0.022, 0.95, f"{view.symbol} on {view.date}: {said}", fontsize=16, weight="bold", color=INK, family=FONT
    )
    larger = "" if steps.scales == (1,) else f" in candles of {', '.join(map(str, steps.scales))} bars"
    bars = f"its last {steps.span_bars} bars{larger}"
    if larger and settings.mode == "full":
        bars = f"its last {steps.window_bars} bars, of those most like its last {steps.span_bars}{larger}"
    found = f"The {count} charts most like {bars}" if count else "No similar chart"
    found += f", of all whose outcome was known by that day{', and what followed each' if count else ''}."
    lines = wrap(found, _WIDEST)
    effective = factor.get("effective_matches")
    if factor["status"] == "ok":
        said = (
            f"Value = {settings.barrier_weight:g} × {factor['barrier_win_rate']:.2f} (reached "
            f"{percent(steps.barrier_up)} before {percent(-steps.barrier_down)}) + {settings.return_weight:.3g} × "
            f"{factor['return_win_rate']:.2f} ({'above the market' if steps.market_relative else 'higher'} "
            f"{settings.return_horizon} bars after entry); "
            f"{'similar' if settings.half_life_days is None else 'similar and recent'} charts weigh more"
            # A row of an earlier version does not say.
            f"{f', together as {effective:.1f} of equal weight' if effective is not None else ''}."
        )
        lines += wrap(said, _WIDEST)
    if view.searchable is not None:
        said = str(view.searchable)
        lines += wrap(f"{said[0].upper()}{said[1:]}.", _WIDEST)
    if view.run is not None:
        lines += wrap(f"Run {view.run}: {'; '.join(view.notes)}.", _LINE)
    # A past run has more to say.
    apart, size = (0.0245, 9.5) if len(lines) < 4 else (0.0215, 9.0) if len(lines) == 4 else (0.0175, 8.0)
    for row, line in enumerate(lines):
        figure.text(0.022, 0.912 - apart * row, line, fontsize=size, color=QUIET, family=FONT)


def _query(axes: Axes, view: Explanation) -> None:
    """The query's window, and the bars after it as far as they are known."""
    lag = view.settings.patterns.entry_lag_bars
    entered = len(view.after) >= lag
    base = view.after.close[lag - 1] if entered else view.window.close[-1]
    ends = f"{view.window.dates[0]} to {view.date}{' · what followed was not used' if len(view.after) else ''}"
    label = view.outcome["barrier"]
    if label is None:
        outcome, colour, tint = "what follows is not known yet", QUIET, TINTS[0]
    else:
        outcome, colour, tint = (
            _outcome(int(label), view.after, view.settings.patterns),
            COLOURS[int(label)],
            TINTS[int(label)],
        )
    _titles(axes, f"The chart: {view.symbol}", outcome, colour, ends, size=10.5)
    _candles(axes, view.window, view.after, base, tint)
    if entered:
        _barriers(axes, view.after, int(label or 0), view.settings.patterns)
    else:
        low, high = float(view.window.low.min() / base - 1), float(view.window.high.max() / base - 1)
        levels = {0.0: "last close", low: percent(low, 1), high: percent(high, 1)}
        # The last close is often the lowest or highest of all: then it alone is labelled.
        shown = [level for level in levels if level == 0 or abs(level) > 0.08 * (high - low)]
        axes.set_yticks(shown, [levels[level] for level in shown])


def _match(axes: Axes, match: Match, view: Explanation) -> None:
    """A match's window, its entry, and its outcome."""
    steps, horizon = view.settings.patterns, view.settings.factor.return_horizon
    share = "" if np.isnan(match.share) else f"weight {match.share:.0%}".replace("%", " %")
    against = " against the market" if steps.market_relative else ""
    after = f"{percent(match.returns[f'r{horizon}'], 1)} in {horizon} bars{against}"
    details = " · ".join(filter(None, [f"similarity {match.similarity:.3f}", share, after]))
    outcome = _outcome(match.barrier, match.after, steps)
    _titles(axes, f"{match.rank}   {match.symbol}  {match.end}", outcome, COLOURS[match.barrier], details)
    if not len(match.after):
        axes.text(0.5, 0.5, "its bars are gone", transform=axes.transAxes, ha="center", color=QUIET, family=FONT)
        axes.set_axis_off()
        return
    base = match.after.close[steps.entry_lag_bars - 1]
    _candles(axes, match.window, match.after, base, TINTS[match.barrier])
    _barriers(axes, match.after, match.barrier, steps)


def _paths(axes: Axes, matches: list[Match], view: Explanation) -> None:
    """Closes of all matches from their entries on, in one frame."""
    steps = view.settings.patterns
    which = "All" if len(matches) == len(view.matches) else "Best"
    _titles(axes, f"{which} {len(matches)} from their entries", "close, % of entry", QUIET, "thicker: more weight")
    ends = []
    for match in reversed(matches):
        closes = match.after.close[steps.entry_lag_bars - 1 :]
        path = closes / closes[0] - 1
        width = 0.9 + 2.1 * (0 if np.isnan(match.share) else match.share)
        axes.plot(np.arange(len(path)), path, color=COLOURS[match.barrier], linewidth=width, solid_capstyle="round")
        ends.append(path[-1])
    last = len(path) - 1
    levels = {0.0: QUIET, steps.barrier_up: COLOURS[1], -steps.barrier_down: COLOURS[-1]}
    for level, colour in levels.items():
        axes.plot([0, last], [level, level], color=colour, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    low, high = axes.get_ylim()
    for match, height in zip(reversed(matches), _spread(np.array(ends), 0.085 * (high - low)), strict=True):
        colour = COLOURS[match.barrier]
        axes.text(
            last + 0.7, height, f"{match.rank}", color=colour, fontsize=8, weight="bold", va="center", family=FONT
        )
    axes.set_yticks(list(levels), ["0 %", percent(steps.barrier_up), percent(-steps.barrier_down)])
    axes.set_xticks([0, last], ["entry", f"{last} bars later"])
    axes.set_xlim(0, last + 2.2)
    axes.yaxis.tick_right()
    bare_with_labels(axes, list(levels.values()))


def _legend(axes: Axes, steps: PatternSettings) -> None:
    up, down = percent(steps.barrier_up), percent(-steps.barrier_down)
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 5)
    for x, rose in ((0.15, True), (0.55, False)):
        face = PAPER if rose else INK
        axes.vlines(x, 4.15, 4.85, color=INK, linewidth=0.8, zorder=1)
        axes.add_collection(
            PolyCollection(boxes(np.array([x]), 4.3, 4.7, 0.22), facecolor=face, edgecolor=INK, linewidth=0.8)
        )
    axes.plot(0.35, 3.5, marker="o", color=INK, markersize=4.5)
    marks = {2.5: (1, "^"), 1.5: (-1, "v")}
    for height, (label, marker) in marks.items():
        axes.plot([0, 0.7], [height, height], color=COLOURS[label], linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(0.35, height, marker=marker, color=COLOURS[label], markersize=5.5)
    axes.add_collection(PolyCollection(boxes(np.array([0.35]), 0.25, 0.75, 0.7), facecolor=TINTS[0]))
    words = [
        "hollow: rose; filled: fell",
        f"entry: close {steps.entry_lag_bars} bar{'s' if steps.entry_lag_bars > 1 else ''} after the chart",
        f"{up} reached first",
        f"{down} reached first",
        f"neither within {steps.barrier_bars} bars",
    ]
    for row, word in enumerate(words):
        axes.text(1.05, 4.5 - row, word, fontsize=8.5, color=QUIET, va="center", family=FONT)
    axes.set_axis_off()


def _candles(axes: Axes, window: SymbolBars, after: SymbolBars, base: float, tint: str) -> None:
    """Bars up to and including position 0, then those after it on tinted ground; heights relative to `base`."""
    for bars, first, colour in ((window, 1 - len(window), INK), (after, 1, QUIET)):
        draw_candles(axes, first, [price / base - 1 for price in (bars.open, bars.high, bars.low, bars.close)], colour)
    low = min([*window.low, *after.low]) / base - 1
    high = max([*window.high, *after.high]) / base - 1
    frame_candles(axes, 1 - len(window), len(after), low, high)
    if len(after):
        axes.axvspan(0.5, len(after) + 0.8, color=tint, linewidth=0, zorder=0)


def _barriers(axes: Axes, after: SymbolBars, label: int, steps: PatternSettings) -> None:
    """The entry, the two barriers from there on, and the first touch."""
    lag, last = steps.entry_lag_bars, steps.entry_lag_bars + steps.barrier_bars
    levels = {1: steps.barrier_up, -1: -steps.barrier_down}
    for side, level in levels.items():
        axes.plot([lag, last], [level, level], color=COLOURS[side], linewidth=1, linestyle=(0, (4, 3)), zorder=4)
    axes.plot(lag, 0, marker="o", color=INK, markeredgecolor=PAPER, markersize=5.5, zorder=6)
    if label:
        marker, x = ("^" if label > 0 else "v"), lag + _touch(after, steps)
        axes.plot(x, levels[label], marker=marker, color=COLOURS[label], markeredgecolor=PAPER, markersize=8, zorder=6)
    low, high = axes.get_ylim()
    margin = 0.06 * (high - low)
    axes.set_ylim(min(low, levels[-1] - margin), max(high, levels[1] + margin))
    axes.set_yticks([levels[1], levels[-1]], [percent(levels[1]), percent(levels[-1])])
    bare_with_labels(axes, [COLOURS[1], COLOURS[-1]])


def _touch(after: SymbolBars, steps: PatternSettings) -> int:
    """Bars from the entry to the first touch of a barrier, by the rule of `kline_core.windows.outcomes.outcomes`."""
    lag = steps.entry_lag_bars
    up, down = barriers(after.close[lag - 1 : lag], steps)
    return int(np.argmax((after.high[lag:] >= up) | (after.low[lag:] <= down))) + 1


def _outcome(label: int, after: SymbolBars, steps: PatternSettings) -> str:
    up, down = percent(steps.barrier_up), percent(-steps.barrier_down)
    if label == 0:
        return f"neither {up} nor {down} in {steps.barrier_bars} bars"
    if not len(after):
        return f"{up if label > 0 else down} first"
    bars = _touch(after, steps)
    return f"{up if label > 0 else down} first, after {bars} bar{'s' if bars > 1 else ''}"


def _titles(axes: Axes, name: str, outcome: str, colour: str, details: str, size: float = 9.5) -> None:
    """Three lines above the axes: name, outcome, details."""
    rows = ((name, INK, size, "bold", 27), (outcome, colour, 8.5, "bold", 15.5), (details, QUIET, 7.5, "normal", 4.5))
    for text, ink, points, weight, lift in rows:
        line_above(axes, text, points, ink, weight, lift)


def _spread(heights: Floats64, apart: float) -> Floats64:
    """The heights moved upwards as little as needed to lie `apart` from each other."""
    moved = heights.copy()
    order = np.argsort(heights, kind="stable")
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + apart)
    return moved
