"""Price adjustment without the factor's scale.

Only ratios of a cumulative adjustment factor mean something: a vendor that bases it anew multiplies all of a symbol's
factors by one constant. So nothing may see the factor itself.

* Whatever compares, rounds or bins prices does it with a tolerance far above the rounding of float64, and far below a
  tick (`SAME_PRICE`, and those of charts and outcomes).
* What decides whether something stored still holds sees the *change* of the factor from one traded bar to the next,
  rounded to `BITS` significant bits.
"""

from typing import Final

import numpy as np

from kline_core.typing import Floats64, Int64s

SAME_PRICE: Final = 1e-9
"""Relative difference up to which two prices of a symbol count as equal."""
BITS: Final = 30
"""Significant bits of a change: two that differ by less than a billionth may count as one. A constant moves a change by
some 1e-16 only, so that it crosses from one rounding into another once in millions of changes."""


def factor_changes(factor: Floats64, first: Int64s, before: Floats64) -> Floats64:
    """Change of the factor at each bar of several symbols, each symbol's bars in order of date and after one another.

    Args:
        factor: float64 (n,), positive and finite: the factors of traded bars.
        first: int64 (symbols,): position of each symbol's first bar, increasing.
        before: float64 (symbols,): factor of the bar before the first one, NaN if there is none.

    Returns:
        float64 (n,): factor divided by that of the bar before, rounded; 1.0 for a bar without one before.
    """
    change = np.ones(len(factor))
    previous = np.empty(len(factor))
    previous[1:] = factor[:-1]
    previous[first] = np.where(np.isnan(before), factor[first], before)
    at = np.flatnonzero(factor != previous)
    change[at] = rounded(factor[at] / previous[at])
    return change


def rounded(quotient: Floats64) -> Floats64:
    """Quotients of factors to `BITS` significant bits: float64, shaped like `quotient`."""
    mantissa, exponent = np.frexp(quotient)
    nearest: Floats64 = np.ldexp(np.rint(np.ldexp(mantissa, BITS)), exponent - BITS)
    return nearest
