"""Factors on another base: a delivery whose adjustment factors are the stored ones times a constant.

Only the changes of a factor mean something, so a whole history may come on any base. A part of one may not: where its
bars meet stored ones that are not delivered, the constant would look like a dividend. There the ratio of stored and
delivered factors is that of the bases, and the delivery is chained to the stored bars by it, if

* every such border says the same, and
* one more date at least does: a single one may as well be a correction, or a dividend that came late.

Otherwise nothing says what is right, and the symbol's rows are refused.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.bars.symbol_bars import row_keys
from kline_core.typing import Flags, Floats64, Int64s, Objects

TOO_FEW = (
    "adj_factor is not the stored one on the only date that is delivered again, which is a correction, a late dividend "
    "or another base; deliver two stored dates at least, or the symbol's whole history"
)
DIFFERENT = (
    "adj_factor is not the stored one where the delivery meets stored bars, and not by one constant; deliver the "
    "symbol's whole history"
)


def chained_factors(
    key: Int64s,
    factor: Floats64,
    known: Flags,
    stored: Floats64,
    names: Objects,
    read: Callable[..., pa.Table],
) -> tuple[Floats64, list[str], dict[str, str]]:
    """Factors of n delivered rows on the base of the stored ones, and the symbols whose base was another.

    Args:
        key: int64 (n,): symbol, as its position in `names`, and date of each row
            (`kline_core.bars.symbol_bars.symbol_day_keys`).
        factor: float64 (n,): as delivered, NaN if none was given.
        known: bool (n,): the row's date is stored.
        stored: float64 (number of known rows,): stored factors of these rows, NaN if there are none.
        names: The symbols.
        read: Returns columns of the stored rows of these symbols; called only if a base is another.

    Returns:
        float64 (n,); the symbols that were chained, sorted; and by symbol why its rows cannot be. A symbol all of whose
        stored dates are delivered keeps its factors.
    """
    at = np.flatnonzero(known)
    order = np.argsort(key[at])
    common, ratio = key[at][order], (stored / factor[at])[order]
    moved = np.unique(common[np.abs(ratio - 1) > SAME_PRICE] >> 32)
    if len(moved) == 0:
        return factor, [], {}
    there = np.sort(row_keys(read(["symbol", "date"]), names))
    again = np.isin(there, common)
    scale = np.ones(len(names))
    refused = {}
    for which in moved.tolist():
        ends = np.array([which, which + 1]) << 32
        begin, end = np.searchsorted(there, ends)
        first, last = np.searchsorted(common, ends)
        mine, delivered = ratio[first:last], again[begin:end]
        borders = mine[beside_a_gap(delivered)[delivered]]
        if len(borders) == 0 or _same(borders, 1.0).all():
            continue
        if not _same(borders, borders[0]).all():
            refused[str(names[which])] = DIFFERENT
        elif np.count_nonzero(_same(mine, borders[0])) < 2:
            refused[str(names[which])] = TOO_FEW
        else:
            scale[which] = borders[0]
    result = factor * scale[key >> 32]
    # What comes to the same but for rounding is the same.
    same = np.abs(result[at] / stored - 1) <= 1e-12
    result[at[same]] = stored[same]
    return result, sorted(names[scale != 1].tolist()), refused


def beside_a_gap(delivered: Flags) -> Flags:
    """Which stored dates of a symbol have a neighbour that is not delivered, bool (n,).

    `delivered`: bool (n,): whether each stored date, in their order, is delivered.
    """
    around = np.r_[True, delivered, True]
    beside: Flags = ~around[:-2] | ~around[2:]
    return beside


def _same(ratios: Floats64, base: float) -> Flags:
    near: Flags = np.abs(ratios / base - 1) <= SAME_PRICE
    return near
