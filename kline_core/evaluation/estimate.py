"""An estimate with its standard error, and how far from zero it lies."""

import math
from dataclasses import dataclass
from typing import Final

from kline_core.evaluation.information_coefficient import CrossSectionIC

MIN_SYMBOLS: Final = 5
"""Fewest symbols for a correlation across a session."""
LEVEL: Final = 0.05
"""Chance of a false alarm at which a figure counts as distinguishable from noise."""
MIN_SESSIONS: Final = 20
"""Independent sessions below which a standard error across them is itself too uncertain to judge by."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean coefficient with its standard error."""

    value: float
    """NaN if it is undefined."""
    se: float
    n: int
    """Size of the sample that the standard error counts: independent sessions across symbols, symbols over time."""
    reason: str | None
    """Why there is no value; None if there is one."""

    @property
    def known(self) -> bool:
        """Whether there is a value with a standard error."""
        return self.reason is None

    def __str__(self) -> str:
        return f"{self.value:+.3f} ± {self.se:.3f}" if self.known else "-"


def across_sessions(found: CrossSectionIC, missing: str | None = None) -> Estimate:
    """The mean of a coefficient over sessions, where `MIN_SESSIONS` independent ones have it.

    `missing`: a reason that explains more than too few sessions do.
    """
    if found.n_independent >= MIN_SESSIONS:
        return Estimate(found.value, found.se, found.n_independent, None)
    few = (
        f"{found.n_independent} sessions with returns that do not overlap have {MIN_SYMBOLS} or more symbols of "
        f"different values; {MIN_SESSIONS} are needed"
    )
    return Estimate(float("nan"), float("nan"), found.n_independent, missing or few)


def normal_p(estimate: Estimate) -> float:
    """`two_sided_p` by the normal distribution, for an error that is known and not estimated from n figures."""
    return math.erfc(_distance(estimate) / math.sqrt(2))


def two_sided_p(estimate: Estimate) -> float:
    """Chance of so distant an estimate where the true one is zero: Student's t with n - 1 degrees of freedom.

    NaN for an estimate without a value; 0 for a standard error of zero beside a value that is not.
    """
    from scipy.special import stdtr

    return float(2 * stdtr(estimate.n - 1, -_distance(estimate)))


def _distance(estimate: Estimate) -> float:
    """Standard errors between an estimate and zero; NaN if it has no value, or is 0 with an error of 0."""
    if not estimate.known or (estimate.se == 0 and estimate.value == 0):
        return float("nan")
    return math.inf if estimate.se == 0 else abs(estimate.value) / estimate.se
