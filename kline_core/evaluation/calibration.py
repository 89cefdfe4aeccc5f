"""Calibration: is the realised win rate of values of 0.7 seventy percent?

What a value measures is a hybrid: `barrier_weight` for reaching the upper barrier first, the rest for a return above
zero over `return_horizon` bars. The *realised win* of a sample is the same hybrid of its own outcome, 0 to 1, known
where both are. If values were probabilities, the mean win of samples of value v would be v.

* By bins of the value, ten of equal width: mean value, mean win, and the standard error of the win as if all symbols
  moved together: s / sqrt(m), m the sessions of the bin whose outcomes do not overlap.
* Slope and intercept of the win regressed on the value: 1 and 0 if values are probabilities, slope 0 if they say
  nothing.
  Errors of J. Driscoll and A. Kraay (Consistent Covariance Matrix Estimation with Spatially Dependent Panel Data,
  Review of Economics and Statistics 80, 1998), by statsmodels, which let the samples of a session and of neighbouring
  sessions depend on each other in any way, with the window and the critical value of
  `kline_core.evaluation.mean_errors`.
* Brier's score, the mean squared difference of value and win (G. Brier, Verification of Forecasts Expressed in Terms of
  Probability, Monthly Weather Review 78, 1950), beside that of the best constant, which is the mean win and was not
  known beforehand.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars
from kline_core.evaluation.estimate import MIN_SESSIONS
from kline_core.evaluation.forward_returns import ForwardReturns
from kline_core.evaluation.information_coefficient import spread
from kline_core.evaluation.mean_errors import fixed_b_critical, window_of
from kline_core.evaluation.panel import Panel
from kline_core.settings import Settings
from kline_core.typing import Floats64, Int64s
from kline_core.windows.outcomes import UNDECIDED
from kline_core.windows.windows import jumps_between

BINS: Final = 10


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Samples whose values lie in one tenth of 0 to 1."""

    lowest: float
    """The bin's lower edge; the last bin includes 1."""
    samples: int
    value: float
    """Mean value; NaN for an empty bin."""
    win: float
    """Mean realised win; NaN for an empty bin."""
    se: float
    """Its standard error; NaN with fewer than two independent sessions."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Values beside realised wins."""

    samples: int
    """Values whose outcome is known."""
    bins: list[CalibrationBin]
    slope: float
    """NaN if it is undefined."""
    slope_se: float
    critical: float
    """Multiple of `slope_se` beyond which the slope is distinguishable from a number, at 5 %."""
    intercept: float
    brier: float
    brier_constant: float
    """Brier's score of the mean win."""
    reason: str | None
    """Why there is no slope; None if there is one."""


def realised_wins(panel: Panel, frames: BarsBySymbol, settings: Settings) -> Floats64:
    """The realised win of each sample, 0 to 1: float64 (n,), NaN where it is not known, or lies across a jump."""
    steps, weight = settings.patterns, settings.factor.barrier_weight
    main = steps.horizons.index(settings.factor.return_horizon)

    def wins(part: ForwardReturns, bars: SymbolBars) -> Floats64:
        returns = part.forward[:, main]
        won: Floats64 = weight * (part.barrier == 1) + (1.0 - weight) * (returns > 0)
        won[np.isnan(returns) | (part.barrier == UNDECIDED)] = np.nan
        if not steps.allow_jumps:
            won[jumps_between(bars, part.bars, part.bars + steps.entry_lag_bars + steps.barrier_bars)] = np.nan
        return won

    return panel.each(frames, wins)


def calibration_of(sessions: Int64s, values: Floats64, wins: Floats64, apart: int) -> Calibration:
    """Calibration of values.

    `sessions`: int64 (n,). `values`, `wins`: float64 (n,), NaN left out in pairs. `apart`: distance in sessions from
    which on outcomes do not overlap.
    """
    use = ~(np.isnan(values) | np.isnan(wins))
    order = np.argsort(sessions[use], kind="stable")
    sessions, values, wins = sessions[use][order], values[use][order], wins[use][order]
    nan = float("nan")
    if len(values) and (values.min() < 0 or values.max() > 1):
        return Calibration(len(values), [], *(nan,) * 6, "values are not within 0 to 1, and so no win rates")
    bins = _bins(sessions, values, wins, apart)
    brier = float(((values - wins) ** 2).mean()) if len(values) else nan
    constant = float(wins.var()) if len(values) else nan
    slope, se, critical, intercept, reason = _regression(sessions, values, wins, apart)
    return Calibration(len(values), bins, slope, se, critical, intercept, brier, constant, reason)


def _bins(sessions: Int64s, values: Floats64, wins: Floats64, apart: int) -> list[CalibrationBin]:
    # A value just below an edge by rounding belongs to the bin above: 0.7 may be the sum of shares.
    place = np.minimum(np.floor(values * BINS + 1e-9).astype(np.int64), BINS - 1)
    found = []
    for at in range(BINS):
        mine = place == at
        count = int(mine.sum())
        m = len(spread(np.unique(sessions[mine]), apart))
        se = float(wins[mine].std(ddof=1) / math.sqrt(m)) if m >= 2 else float("nan")
        value, win = (float(each[mine].mean()) if count else float("nan") for each in (values, wins))
        found.append(CalibrationBin(at / BINS, count, value, win, se))
    return found


def _regression(
    sessions: Int64s, values: Floats64, wins: Floats64, apart: int
) -> tuple[float, float, float, float, str | None]:
    nan = float("nan")
    names, time = np.unique(sessions, return_inverse=True)
    window, independent = window_of(len(names), apart), len(spread(names, apart))
    if window is None or independent < MIN_SESSIONS:
        few = f"outcomes of {independent} sessions do not overlap; {MIN_SESSIONS} are needed"
        return nan, nan, nan, nan, few if independent < MIN_SESSIONS else "too few sessions for an error"
    if np.ptp(values) == 0 or np.ptp(wins) == 0:
        return nan, nan, nan, nan, "all values, or all outcomes, are the same"
    from statsmodels.regression.linear_model import OLS

    fit = OLS(wins, np.column_stack([np.ones(len(values)), values])).fit(
        cov_type="hac-groupsum", cov_kwds={"time": time, "maxlags": window, "use_correction": False}
    )
    (intercept, slope), (_, se) = fit.params.tolist(), fit.bse.tolist()
    return slope, se, fixed_b_critical((window + 1) / len(names)), intercept, None
