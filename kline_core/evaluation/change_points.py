"""The IC over time: its rolling mean, and the days on which its level changed.

Change points are looked for in sessions whose returns do not overlap, so that the ICs are taken as independent of each
other. The test is the CUSUM of deviations from the mean: W. Ploberger and W. Krämer, The CUSUM Test with OLS Residuals,
Econometrica 60 (1992), by statsmodels; its p is that of the largest deviation of a Brownian bridge. Where it is below
`LEVEL`, the day is the one after which the sum of deviations is furthest from zero, and both sides are looked at in
turn (L. Vostrikova, Detecting Disorder in Multidimensional Random Processes, Soviet Mathematics Doklady 24, 1981), each
side with at least `MIN_SESSIONS` sessions. The day itself is uncertain; its error is told nowhere.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from kline_core.dates import month_ends
from kline_core.evaluation.estimate import LEVEL, MIN_SESSIONS
from kline_core.evaluation.information_coefficient import CrossSectionIC, spread
from kline_core.typing import Dates, Floats64

ROLLING: Final = 60
"""Sessions in a rolling mean."""


@dataclass(frozen=True, slots=True)
class RollingIC:
    """Mean of the ICs of `ROLLING` sessions."""

    date: np.datetime64
    """datetime64[D]: last of the sessions, the last one of its month."""
    mean: float


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A day on which the level of the IC changed."""

    date: np.datetime64
    """datetime64[D]: first session of the new level."""
    before: float
    """Mean IC since the change point before, or since the start."""
    after: float
    """Mean IC until the next one, or until the end."""
    p: float
    """Chance of so large a change where there is none, among the sessions that were looked at."""


def rolling_ic(found: CrossSectionIC, days: Dates) -> list[RollingIC]:
    """Rolling means of the IC by session, one at the end of each month.

    `days`: datetime64[D] (days,), by session. Empty for fewer than `ROLLING` sessions.
    """
    if len(found.sessions) < ROLLING:
        return []
    means = np.lib.stride_tricks.sliding_window_view(found.by_session, ROLLING).mean(axis=1)
    dates = days[found.sessions[ROLLING - 1 :]]
    last = month_ends(dates)
    return [RollingIC(date, float(mean)) for date, mean in zip(dates[last], means[last], strict=True)]


def change_points(found: CrossSectionIC, days: Dates, apart: int) -> list[ChangePoint]:
    """Days on which the level of the IC changed, in order. `days`: as for `rolling_ic`."""
    kept = spread(found.sessions, apart)
    figures, dates = found.by_session[kept], days[found.sessions[kept]]
    starts = dict(sorted(_breaks(figures, 0).items()))
    edges = [0, *starts, len(figures)]
    return [
        ChangePoint(dates[at], float(figures[edges[n] : at].mean()), float(figures[at : edges[n + 2]].mean()), p)
        for n, (at, p) in enumerate(starts.items())
    ]


def cusum(figures: Floats64) -> tuple[int, float]:
    """The position from which on the level of a series, float64 (n,), most likely differs, and p; NaN for constants."""
    deviations = figures - figures.mean()
    if np.ptp(figures) == 0:
        return 0, float("nan")
    from statsmodels.stats.diagnostic import breaks_cusumolsresid

    at = int(np.abs(np.cumsum(deviations)[:-1]).argmax()) + 1
    return at, float(breaks_cusumolsresid(deviations, ddof=1)[1])


def _breaks(figures: Floats64, first: int) -> dict[int, float]:
    """Positions of changes, counted from `first`, with their p."""
    if len(figures) < 2 * MIN_SESSIONS:
        return {}
    at, p = cusum(figures)
    if math.isnan(p) or p > LEVEL or not MIN_SESSIONS <= at <= len(figures) - MIN_SESSIONS:
        return {}
    return {first + at: p} | _breaks(figures[:at], first) | _breaks(figures[at:], first + at)
