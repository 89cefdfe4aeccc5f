"""How many settings were tried, and what the best of so many tries is worth.

Each fingerprint with values in the home is one setting that somebody could have looked at. Two figures:

* *Šidák*: the chance that the best of N independent tries of nothing lies so far from zero, 1 - (1 - p)^N (Z. Šidák,
  Rectangular Confidence Regions for the Means of Multivariate Normal Distributions, Journal of the American Statistical
  Association 62, 1967). It is too strict where the tries are alike, and too lenient where values of other tries have
  been removed from the home, or were tried elsewhere: N is what the home still holds.
* *expected best*: how many standard errors from zero, upwards, the best of N tries of nothing is expected to lie,
  (1 - g) Z(1 - 1 / N) + g Z(1 - 1 / (N e)) with g Euler's constant and Z the normal quantile (D. Bailey and M. López de
  Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40, 2014, equation 1); 0 for one try.
"""

import math
from dataclasses import dataclass
from typing import Final

_EULER: Final = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Tries:
    """The judged figure in the light of all tries."""

    tried: int
    """Settings with values in the home, this one included."""
    p: float
    """Two-sided p of the figure by itself; NaN if there is none."""
    p_of_best: float
    """Šidák's p."""
    expected_best: float
    """Standard errors from zero."""

    @property
    def warning(self) -> str:
        """One sentence."""
        said = f"{self.tried} setting{'s were' if self.tried > 1 else ' was'} tried in this home"
        if self.tried > 1:
            said += (
                f"; the best of {self.tried} that say nothing is expected {self.expected_best:.1f} standard errors "
                "from zero"
            )
        if not math.isnan(self.p_of_best):
            said += f"; p of the judged figure {self.p:.2g}"
            said += f", of the best of {self.tried} {self.p_of_best:.2g}" if self.tried > 1 else ""
        return said + "; settings tried elsewhere, or removed, are not counted."


def tries_of(p: float, tried: int) -> Tries:
    """The figure of this p, NaN if there is none, as one of `tried`."""
    return Tries(tried, p, sidak(p, tried), expected_best(tried))


def sidak(p: float, tried: int) -> float:
    """Chance that the best of `tried` independent tests of nothing has at most this p."""
    return 1.0 if p >= 1 else -math.expm1(tried * math.log1p(-p))


def expected_best(tried: int) -> float:
    """Expected maximum of `tried` independent standard normal numbers, approximately."""
    if tried < 2:
        return 0.0
    from scipy.special import ndtri

    upper, tail = ndtri(1 - 1 / tried), ndtri(1 - 1 / (tried * math.e))
    return float((1 - _EULER) * upper + _EULER * tail)
