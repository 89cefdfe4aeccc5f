"""Decay of the IC: over how many bars values say something, and how fast that fades.

Two curves over the bars after the entry, each point with its own standard error from sessions that do not overlap:

* *over h bars*: rank IC with the return from the entry to bar h. It is highest where the values look.
* *of bar h alone*: rank IC with the return of that one bar. It shows the decay itself, since a return over many bars
  holds what came early.

The horizon is the h with the largest |IC| over h bars, among those whose p times the number of horizons is at most 5 %:
Bonferroni's bound, since of so many figures one is always far from zero.

The half-life fits IC(h) = a 2^(-(h - 1) / H) to the second curve, weighted by its errors: what a signal that follows
an autoregression of first order with coefficient 2^(-1 / H) leaves. It is named only if some bar of the second curve is
significant by the same bound, and if it lies within the bars looked at. Its error is that of a block jackknife: the fit
without each of `BLOCKS` stretches of sessions in turn (H. Künsch, The Jackknife and the Bootstrap for General
Stationary Observations, Annals of Statistics 17, 1989), since values that change slowly make neighbouring points of the
curve alike.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.evaluation.estimate import LEVEL, MIN_SYMBOLS, Estimate, across_sessions, two_sided_p
from kline_core.evaluation.information_coefficient import CrossSectionIC, cross_section_rank_ic
from kline_core.evaluation.panel import Panel
from kline_core.settings import PatternSettings
from kline_core.typing import Floats64, Int64s

BARS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60)
BLOCKS: Final = 10
MIN_POINTS: Final = 4


@dataclass(frozen=True, slots=True)
class DecayPoint:
    """Rank IC across symbols at one distance from the entry."""

    bars: int
    over: Estimate
    """With the return from the entry to this bar."""
    alone: Estimate
    """With the return of this bar alone."""


@dataclass(frozen=True, slots=True)
class Decay:
    """Rank IC by distance from the entry."""

    points: list[DecayPoint]
    horizon: int | None
    """Bars over which the IC is largest; None if nowhere more than noise would reach."""
    horizon_p: float
    """Smallest p of all horizons, times their number, at most 1; NaN if there is none."""
    half_life: float
    """Bars after which the IC of a bar is halved; NaN if it cannot be told."""
    half_life_se: float
    reason: str | None
    """Why there is no half-life."""


def decay_of(panel: Panel, frames: BarsBySymbol, steps: PatternSettings) -> Decay:
    """The decay of a panel's values over `BARS`; bars that lie across unexplained jumps are left out."""
    points, alone = [], {}
    for bars in BARS:
        over = panel.ahead(frames, steps, 0, bars)
        apart = bars + steps.entry_lag_bars
        held = across_sessions(cross_section_rank_ic(panel.sessions, panel.values, over, apart, MIN_SYMBOLS))
        # The one-bar returns of two sessions never overlap.
        one, apart = panel.ahead(frames, steps, bars - 1, bars), 1 + steps.entry_lag_bars
        alone[bars] = cross_section_rank_ic(panel.sessions, panel.values, one, apart, MIN_SYMBOLS)
        points.append(DecayPoint(bars, held, across_sessions(alone[bars])))
    horizon, p = furthest({point.bars: point.over for point in points})
    half_life, se, reason = half_life_of(alone)
    return Decay(points, horizon, p, half_life, se, reason)


def furthest(estimates: Mapping[int, Estimate]) -> tuple[int | None, float]:
    """The key of the largest of the significant estimates, and the smallest p; each p times the number of estimates.

    None in place of the key if none is significant at `LEVEL`; NaN if no estimate is known.
    """
    chances = {at: p for at, each in estimates.items() if not math.isnan(p := two_sided_p(each))}
    if not chances:
        return None, float("nan")
    sure = [at for at, p in chances.items() if p * len(chances) <= LEVEL]
    largest = max(sure, key=lambda at: abs(estimates[at].value)) if sure else None
    return largest, min(1.0, min(chances.values()) * len(chances))


def half_life_of(alone: Mapping[int, CrossSectionIC]) -> tuple[float, float, str | None]:
    """Half-life in bars, its standard error, and why there is none, from the IC of single bars by distance."""
    nothing = float("nan"), float("nan")
    points = {at: each for at, found in alone.items() if (each := across_sessions(found)).known and each.se > 0}
    if len(points) < MIN_POINTS:
        return *nothing, f"fewer than {MIN_POINTS} distances from the entry have an IC"
    if furthest(points)[0] is None:
        return *nothing, "the IC of no single bar is distinguishable from zero, so that nothing fades"
    se = np.array([each.se for each in points.values()])
    log_half = _fitted(np.array(list(points)), np.array([each.value for each in points.values()]), se)
    if math.exp(log_half) > max(points):
        return *nothing, f"the IC does not fade within {max(points)} bars"
    edges = np.quantile(np.concatenate([alone[at].sessions for at in points]), np.arange(1, BLOCKS) / BLOCKS)
    refits = []
    for block in range(BLOCKS):
        rest = [alone[at].by_session[np.searchsorted(edges, alone[at].sessions) != block] for at in points]
        if all(map(len, rest)):
            refits.append(_fitted(np.array(list(points)), np.array([each.mean() for each in rest]), se))
    error = math.sqrt((len(refits) - 1) * float(np.var(refits))) if len(refits) > 1 else float("nan")
    half_life = math.exp(log_half)
    return half_life, half_life * error, None


def _fitted(bars: Int64s, ic: Floats64, se: Floats64) -> float:
    """Logarithm of the half-life of the curve that fits best; the height that is best for each is known."""
    from scipy.optimize import minimize_scalar

    def left(log_half: float) -> float:
        shape = 2.0 ** (-(bars - 1.0) / math.exp(log_half)) / se
        height = float(shape @ (ic / se)) / float(shape @ shape)
        return float(((ic / se - height * shape) ** 2).sum())

    # A start from the best of a grid, since the sum of squares may have several valleys.
    grid = np.linspace(math.log(0.25), math.log(4.0 * float(bars[-1])), 60)
    best = int(np.argmin([left(each) for each in grid.tolist()]))
    around = float(grid[max(0, best - 1)]), float(grid[min(len(grid) - 1, best + 1)])
    return float(minimize_scalar(left, bounds=around, method="bounded").x)
