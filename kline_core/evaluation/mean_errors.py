"""Standard errors of a mean of dependent figures: Newey and West's, and that of overlapping blocks.

Both take the series of one figure per session, in order, such as the IC, use all of it, and allow neighbours to depend
on each other up to the `window`. That is six times the reach of an overlap (`apart - 1` sessions), and at least twice
the root of their number. The longer window of E. Lazarus, D. Lewis, J. Stock and M. Watson (HAR Inference:
Recommendations for Practice, Journal of Business & Economic Statistics 36, 2018) keeps the level of a test, which the
short windows of textbooks do not; the price is that its error is uncertain itself, so that each error comes with the
critical value that allows for it. Where some sessions have no figure, neighbours in the series are further apart than
the window assumes, which can only make it longer than needed.

* Newey and West: Bartlett's weights 1 - k / (window + 1) for lag k (W. Newey and K. West, A Simple, Positive
  Semi-Definite, Heteroskedasticity and Autocorrelation Consistent Covariance Matrix, Econometrica 55, 1987), by
  statsmodels. Critical value of N. Kiefer and T. Vogelsang, A New Asymptotic Theory for Heteroskedasticity-
  Autocorrelation Robust Tests, Econometric Theory 21 (2005), table 1, with b = (window + 1) / n.
* Overlapping blocks of length l = window + 1: the variance that H. Künsch's moving-block bootstrap has without drawing
  anything (The Jackknife and the Bootstrap for General Stationary Observations, Annals of Statistics 17, 1989), with
  the divisor and the 3/2 (n / l - 1) degrees of freedom of M. Meketon and B. Schmeiser (Overlapping Batch Means:
  Something for Nothing?, Winter Simulation Conference, 1984).
"""

import math
from dataclasses import dataclass

import numpy as np

from kline_core.typing import Floats64


@dataclass(frozen=True, slots=True)
class MeanError:
    """The error of a mean, and from how many of them on it counts as distant from zero."""

    se: float
    """NaN if the series is too short for its window."""
    critical: float
    """Multiple of `se` that a mean of zero passes in 5 % of all cases; NaN as `se` is."""
    distance: float
    """|mean| / se; NaN as `se` is, or if the series is constant."""

    @property
    def significant(self) -> bool:
        """Whether the mean is distinguishable from zero at 5 %."""
        return self.distance > self.critical


def window_of(figures: int, apart: int) -> int | None:
    """Lags up to which a series of that many figures is taken as dependent; None if it is too short: below twice."""
    window = max(6 * (apart - 1), math.ceil(2 * figures**0.5))
    return window if 2 * window <= figures else None


def fixed_b_critical(share: float) -> float:
    """Kiefer and Vogelsang's critical value, two-sided, 5 %, for Bartlett's weights.

    `share`: the window plus one, divided by the length of the series; 0 gives 1.96.
    """
    return 1.9600 + 2.9694 * share + 0.4160 * share**2 - 0.5324 * share**3


def newey_west(figures: Floats64, apart: int) -> MeanError:
    """Newey and West's error of the mean of a series, float64 (n,) without NaN. `apart`: see the module."""
    window = window_of(len(figures), apart)
    if window is None or np.ptp(figures) == 0:
        return _UNKNOWN
    from statsmodels.regression.linear_model import OLS

    ones = np.ones(len(figures))
    fit = OLS(figures, ones).fit(cov_type="HAC", cov_kwds={"maxlags": window, "use_correction": False})
    return _error(figures, float(fit.bse[0]), fixed_b_critical((window + 1) / len(figures)))


def overlapping_blocks(figures: Floats64, apart: int) -> MeanError:
    """Error of the mean of a series, float64 (n,) without NaN, by overlapping blocks. `apart`: see the module."""
    window = window_of(len(figures), apart)
    if window is None or np.ptp(figures) == 0:
        return _UNKNOWN
    from scipy.special import stdtrit

    n, length = len(figures), window + 1
    blocks = np.lib.stride_tricks.sliding_window_view(figures, length).mean(axis=1)
    spread = float(((blocks - figures.mean()) ** 2).sum())
    se = math.sqrt(length * spread / ((n - length + 1) * (n - length)))
    return _error(figures, se, float(stdtrit(1.5 * (n / length - 1), 0.975)))


def _error(figures: Floats64, se: float, critical: float) -> MeanError:
    return MeanError(se, critical, abs(float(figures.mean())) / se if se > 0 else float("nan"))


_UNKNOWN = MeanError(float("nan"), float("nan"), float("nan"))
