"""A value from many matches: the kernel-weighted mean of what followed the nearest hundreds, with an interval.

The kernel is Epanechnikov's with the distance to the k-th neighbour as its width (D. Loftsgaarden and C. Quesenberry, A
Nonparametric Estimate of a Multivariate Density Function, Annals of Mathematical Statistics 36, 1965; T. Hastie, R.
Tibshirani and J. Friedman, The Elements of Statistical Learning, 2nd ed., equation 6.4): a neighbour at distance d
weighs 1 - (d / d_k)^2. Between unit vectors with inner product s the squared distance is 2 - 2 s, so that a weight is
(s - s_k) / (1 - s_k).

Neighbours of one season share the market's move, and overlapping returns share days. So the error of the mean counts
blocks of time, not neighbours: all of one quarter of a year are one observation, which is three times as long as the
longest outcome that is taught,

    se^2 = G / (G - 1) * sum over quarters of (sum of w (y - mean) in the quarter)^2 / (sum of w)^2

(K.-Y. Liang and S. Zeger, Longitudinal Data Analysis Using Generalized Linear Models, Biometrika 73, 1986), with G the
effective number of quarters, 1 / sum of their squared shares of the weight. The interval has Student's t with G - 1
degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np

from kline_core._sums import row_sums
from kline_core.typing import Dates, Flags, Floats64, Int64s

LEVEL: Final = 0.95
"""Coverage of the interval."""
FEWEST: Final = 3.0
"""Effective quarters below which a sample has no value."""


@dataclass(frozen=True, slots=True, eq=False)
class KernelMeans:
    """Means of q samples: float64 (q,) each, NaN where there is no value."""

    value: Floats64
    """Weighted mean outcome, in the unit of the outcomes."""
    se: Floats64
    low: Floats64
    high: Floats64
    """Ends of the interval of `LEVEL`."""
    quarters: Floats64
    """Effective quarters of a year that the neighbours are of."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The means of all samples of some parts, at least one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def kernel_weights(similarity: Floats64) -> Floats64:
    """Weights of k neighbours, from similarities (q, k) in descending order, NaN where there are fewer: (q, k).

    Where all are equally near, all weigh the same.
    """
    there = ~np.isnan(similarity)
    last = np.where(there, similarity, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    weights = np.where(there, similarity - last, 0.0)
    equal = ~(weights > 0).any(axis=1)
    weights[equal] = there[equal]
    return weights


def kernel_means(weights: Floats64, outcome: Floats64, end: Dates) -> KernelMeans:
    """Means of q samples over their k neighbours.

    Args:
        weights: float64 (q, k), 0 where there is no neighbour.
        outcome: float64 (q, k), NaN where a neighbour has none, which then has no weight.
        end: datetime64[D] (q, k): last day of each neighbour's window.
    """
    share, there = _shares(weights, outcome)
    outcome = np.where(np.isnan(outcome), 0.0, outcome)
    mean = row_sums(share * outcome)
    pull = share * (outcome - mean[:, None])
    quarters = quarters_of(end)
    effective = _effective(_squares_by_quarter(quarters, share))
    return _with_interval(mean, effective, _squares_by_quarter(quarters, pull), there)


def effective_quarters(weights: Floats64, outcome: Floats64, end: Dates) -> Floats64:
    """Effective quarters of q samples, of those without a mean too: float64 (q,), NaN where nothing has a weight.

    The arguments are those of `kernel_means`.
    """
    share, there = _shares(weights, outcome)
    return np.where(there, _effective(_squares_by_quarter(quarters_of(end), share)), np.nan)


def t_quantile(degrees: Floats64, level: float) -> Floats64:
    """Half the width, in standard errors, of an interval that covers a mean with the chance `level`: Student's t."""
    from scipy.special import stdtrit

    found: Floats64 = stdtrit(degrees, (1.0 + level) / 2.0)
    return found


def quarters_of(end: Dates) -> Int64s:
    """Quarters of a year that days lie in, counted from 1970: int64, shaped alike."""
    return end.astype("datetime64[M]").astype(np.int64) // 3


def means_of_quarters(weight: Floats64, total: Floats64) -> KernelMeans:
    """Means of q samples whose weights were summed by quarter.

    Args:
        weight: float64 (q, g): sum of the weights of each quarter; all of a sample's are 1, or 0 without neighbours.
        total: float64 (q, g): sum of the weighted outcomes.
    """
    mean = row_sums(total)
    effective = _effective(row_sums(weight**2))
    pulls = row_sums((total - mean[:, None] * weight) ** 2)
    return _with_interval(mean, effective, pulls, row_sums(weight) > 0)


def _with_interval(mean: Floats64, effective: Floats64, pulls: Floats64, there: Flags) -> KernelMeans:
    """Means with intervals. `pulls`: sums over quarters of the squares in the formula at the top of this module."""
    known = there & (effective >= FEWEST)
    degrees = np.where(known, effective - 1.0, 1.0)
    se = np.sqrt(effective / degrees * pulls)
    reach = t_quantile(degrees, LEVEL) * se
    shown = [np.where(known, each, np.nan) for each in (mean, se, mean - reach, mean + reach, effective)]
    return KernelMeans(*shown)


def _shares(weights: Floats64, outcome: Floats64) -> tuple[Floats64, Flags]:
    """Shares of the weight of neighbours that have an outcome, float64 (q, k), and where there is any, bool (q,)."""
    weights = np.where(np.isnan(outcome), 0.0, weights)
    total = row_sums(weights)
    return weights / np.where(total > 0, total, 1.0)[:, None], total > 0


def _effective(squares: Floats64) -> Floats64:
    """Effective quarters from the sums of their squared shares of the weight."""
    return 1.0 / np.maximum(squares, 1e-300)


def _squares_by_quarter(quarters: Int64s, figures: Floats64) -> Floats64:
    """Sum over quarters of the squared sum of the figures in each: float64 (q,), of (q, k)."""
    if quarters.size == 0:
        return np.zeros(len(quarters))
    first = quarters.min()
    width = int(quarters.max() - first) + 1
    place = (quarters - first) + width * np.arange(len(quarters))[:, None]
    sums = np.bincount(place.ravel(), weights=figures.ravel(), minlength=width * len(quarters)).astype(np.float64)
    return row_sums(sums.reshape(len(quarters), width) ** 2)
