"""Price adjustment without the factor's scale.

Only ratios of a cumulative adjustment factor mean something: a vendor that bases it anew multiplies all of a symbol's
factors by one constant. So nothing sees the factor itself.

1. The *change* of a bar is its factor divided by that of the traded bar before, rounded to `BITS` significant bits; a
   constant moves a factor by one part in 2**53, and so its change into another rounding once in some 100,000 changes.
2. The *adjustment* of a bar is the product of the changes up to it, from left to right; that of the first bar is 1.

Prices are multiplied by the adjustment, and hashes hold the change, so that the two always agree.
"""

from typing import Final

import numpy as np

from kline_core.typing import Floats64, Int64s

SAME_PRICE: Final = 1e-9
"""Relative difference up to which two prices of a symbol count as equal, since rounding may tell them apart. Ticks are
far larger, and the rounding of a product far smaller."""
BITS: Final = 36


def factor_changes(factor: Floats64, first: Int64s, before: Floats64) -> Floats64:
    """Changes of the factors of several symbols' traded bars, each symbol's in order of date and after one another.

    Args:
        factor: float64 (n,), positive and finite.
        first: int64 (symbols,): position of each symbol's first bar, increasing.
        before: float64 (symbols,): factor of the bar before the first one, NaN if there is none.

    Returns:
        float64 (n,): 1.0 for a bar without one before.
    """
    change = np.ones(len(factor))
    previous = np.empty(len(factor))
    previous[1:] = factor[:-1]
    previous[first] = np.where(np.isnan(before), factor[first], before)
    at = np.flatnonzero(factor != previous)
    mantissa, exponent = np.frexp(factor[at] / previous[at])
    change[at] = np.ldexp(np.rint(np.ldexp(mantissa, BITS)), exponent - BITS)
    return change


def adjustments(change: Floats64, bounds: Int64s, before: Floats64) -> Floats64:
    """Adjustments of the bars of several symbols, from their changes.

    Args:
        change: float64 (n,), as `factor_changes` returns them.
        bounds: int64 (symbols + 1,): the bars of symbol i are those from `bounds[i]` to `bounds[i + 1]`.
        before: float64 (symbols,): adjustment of the bar before the first one, 1.0 if there is none.

    Returns:
        float64 (n,)
    """
    result = np.repeat(before, np.diff(bounds))
    moved = np.flatnonzero(change != 1.0)
    for which in np.unique(np.searchsorted(bounds, moved, side="right") - 1).tolist():
        part = slice(bounds[which], bounds[which + 1])
        # From left to right, as each further day multiplies what is there.
        result[part] = np.multiply.accumulate(np.r_[before[which], change[part]])[1:]
    return result
