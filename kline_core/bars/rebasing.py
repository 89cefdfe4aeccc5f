"""Factors on another base: a delivery whose adjustment factors are the stored ones times a constant.

Only the changes of a factor mean something, so a whole history may come on any base. A part of one may not: between the
stored bars before or after it and its own the constant would look like a dividend. So the factors of such a delivery
are chained to the stored ones, at the first date that both have.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.typing import Dates, Flags, Floats64, Int64s, Objects


def chained_factors(
    code: Int64s,
    dates: Dates,
    factor: Floats64,
    known: Flags,
    stored: Floats64,
    names: Objects,
    read: Callable[..., pa.Table],
) -> tuple[Floats64, list[str]]:
    """Factors of n delivered rows on the base of the stored ones, and the symbols whose base was another.

    Args:
        code: int64 (n,): position of each row's symbol in `names`.
        dates: datetime64[D] (n,)
        factor: float64 (n,): as delivered, NaN if none was given.
        known: bool (n,): the row's date is stored.
        stored: float64 (number of known rows,): stored factors of these rows, NaN if there are none.
        names: The symbols.
        read: Returns columns of the stored rows of these symbols; called only if a base is another.

    Returns:
        float64 (n,), and symbols, sorted. A symbol all of whose stored dates are delivered keeps its factors.
    """
    at = np.flatnonzero(known)
    ratio = stored / factor[at]
    order = np.lexsort((dates[at], code[at]))
    which, first = np.unique(code[at][order], return_index=True)
    by = np.ones(len(names))
    by[which] = ratio[order][first]
    moved = which[np.abs(by[which] - 1) > SAME_PRICE]
    if len(moved) == 0:
        return factor, []
    there = pc.index_in(read(["symbol"])["symbol"].cast(pa.string()), pa.array(names, pa.string())).drop_null()
    there_are = np.bincount(there.to_numpy(), minlength=len(names))
    delivered = np.bincount(code[at], minlength=len(names))
    part = moved[there_are[moved] > delivered[moved]]
    scale = np.ones(len(names))
    scale[part] = by[part]
    result = factor * scale[code]
    # What comes to the same but for rounding is the same.
    same = np.abs(result[at] / stored - 1) <= 1e-12
    result[at[same]] = stored[same]
    return result, sorted(names[part].tolist())
