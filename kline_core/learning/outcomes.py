"""What a metric is taught, and what the mean of many matches is of: outcomes beside those of the same days.

The *rank target* of a pattern is the rank of its forward return among those of all patterns whose window ends on the
same day, from -1/2 to +1/2, ties at their average rank. It is relative to the market of its day, and it leaves no room
for the size of a return, of which most is noise: a mean of hundreds of returns is decided by a few large ones.

Point in time: a pattern is ranked among those of its day that are known on its own `known_on`. What becomes known
later, after a suspension, changes no rank of before.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from kline_core.typing import Dates, Floats64, Int64s

FEWEST: Final = 2
"""Patterns of one day below which none of them has a rank."""


def rank_targets(end: Dates, known_on: Dates, returns: Floats64) -> Floats64:
    """Rank targets of P patterns: float64 (P,), NaN where fewer than `FEWEST` are known.

    Args:
        end: datetime64[D] (P,): last days of the windows.
        known_on: datetime64[D] (P,): days on which the outcomes became known.
        returns: float64 (P,), finite.
    """
    found = np.full(len(returns), np.nan)
    order = np.lexsort((known_on, end))
    stops = _ends_of_runs(end[order])
    for first, last in pairwise([0, *stops.tolist()]):
        day = order[first:last]
        # Most of a day become known together; each later day of the others ranks all that are known by then.
        for until in _ends_of_runs(known_on[day]):
            known = day[:until]
            if until >= FEWEST:
                ranks = (pd.Series(returns[known]).rank().to_numpy() - 0.5) / until - 0.5
                mine = known_on[known] == known_on[known[-1]]
                found[known[mine]] = ranks[mine]
    return found


def _ends_of_runs(ascending: Dates) -> Int64s:
    """Positions after the last of each run of equal days: int64, ascending."""
    last = np.ones(len(ascending), dtype=bool)
    last[:-1] = ascending[1:] != ascending[:-1]
    return np.flatnonzero(last).astype(np.int64) + 1
