"""Prices without a factor that come on another scale than the stored ones: adjusted anew, or the one kind raw and the
other adjusted. Nothing tells by what, so they are no corrections and do not go on from what is stored.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from kline_core.bars.increments import BORDER, CORRECTED
from kline_core.typing import Floats64, Int64s

ADJUSTED_ALONE: Final = (
    "the prices are adjusted by the vendor, and no delivered date is stored, so that it is not known whether they are "
    "on the scale of the stored ones; deliver the last stored date again too"
)
RESTATED_BARE: Final = (
    "all prices are the stored ones times a constant: they are adjusted anew, or the one kind raw and the "
    "other adjusted, and nothing tells by what; deliver the symbol's whole history"
)
_FEWEST: Final = 3
"""Common dates whose closes tell another scale, however little they moved."""
_SCALE: Final = 1e-4
"""Relative change of closes that is more than another rounding, if all of some have it."""


def restated(key: Int64s, prices: Sequence[Floats64], stored: Sequence[Floats64]) -> list[int]:
    """Codes of the symbols whose prices came on another scale than the stored ones.

    The closes of three dates tell it, or of two that moved by much. Of fewer dates all four prices do: a correction
    does not move open, high, low and close by one ratio. Where they are one price, it must have moved by much.

    Args:
        key: int64 (n,): symbol and date of rows whose date is stored.
        prices: float64 (n,) each: delivered prices, the close last.
        stored: float64 (n,) each: stored ones.
    """
    if len(key) == 0:
        return []
    order = np.arange(len(key)) if (key[1:] > key[:-1]).all() else np.argsort(key)
    code = key[order] >> 32
    first = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
    codes = code[first]
    last = np.append(first[1:], len(key))
    # Of a million symbols few have moved at all.
    some = np.flatnonzero(np.abs(stored[-1][order[first]] / prices[-1][order[first]] - 1) > _SCALE)
    found = []
    for code, begin, end in zip(codes[some].tolist(), first[some].tolist(), last[some].tolist(), strict=True):
        border = order[begin : min(end, begin + BORDER)]
        mine, theirs = (np.column_stack([column[border] for column in columns]) for columns in (prices, stored))
        flat = (np.ptp(mine, axis=1) == 0) | (np.ptp(theirs, axis=1) == 0)
        if _on_another_scale(theirs / mine - 1, bool(flat.all()), end - begin):
            found.append(code)
    return found


def _on_another_scale(moved: Floats64, flat: bool, dates: int) -> bool:
    """Whether prices of a symbol's first common dates, (k, 4), moved by one ratio; `flat`: each has but one price."""
    by_much = bool((np.abs(moved[:, -1]) > CORRECTED).all())
    if dates >= (2 if by_much else _FEWEST):
        return _is_constant(moved[:, -1])
    return (by_much or not flat) and _is_constant(moved.ravel())


def _is_constant(moved: Floats64) -> bool:
    middle = float(np.median(moved))
    return bool((np.abs(moved) > _SCALE).all() and (np.abs(moved - middle) <= abs(middle) / 5).all())
