"""Outcomes beside those of the same days: what a metric is taught, and what the mean of many matches is of.

The *rank target* of a pattern is the rank of its forward return among those of all patterns whose window ends on the
same day, from -1/2 to +1/2, ties at their average rank. It is relative to the market of its day, and it leaves no room
for the size of a return, of which most is noise: a mean of hundreds of returns is decided by a few large ones.

Point in time: a pattern is ranked among those of its day that are known on its own `known_on`. What becomes known
later, after a suspension, changes no rank of before. So a rank follows from patterns that every sample may see that may
see its pattern, and they all are in the hash of its prefix (`Patterns.history`).
"""

import threading
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kline_core.patterns.patterns import Patterns
from kline_core.typing import Dates, Flags, Floats64, Int64s

FEWEST: Final = 2
"""Patterns of one day below which none of them has a rank."""


class OutcomeRanks:
    """Rank targets of patterns, made by horizon when they are first asked for; safe to share between threads."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._lock = threading.Lock()
        self._made: dict[int, Floats64] = {}

    def over(self, column: int) -> Floats64:
        """Rank targets of the returns in a column of `Patterns.returns`: float64 (P,), read-only, NaN for none.

        Threads that ask while they are made wait for them.
        """
        with self._lock:
            if column not in self._made:
                patterns = self._patterns
                returns = patterns.returns[:, column].astype(np.float64)
                made = rank_targets(patterns.end, patterns.known_on, returns)
                made.setflags(write=False)
                self._made[column] = made
            return self._made[column]


def rank_targets(end: Dates, known_on: Dates, returns: Floats64) -> Floats64:
    """Rank targets of P patterns: float64 (P,), NaN where fewer than `FEWEST` are known.

    Args:
        end: datetime64[D] (P,): last days of the windows.
        known_on: datetime64[D] (P,): days on which the outcomes became known.
        returns: float64 (P,), finite.
    """
    order = np.lexsort((returns, known_on, end))
    day, known, value = end[order], known_on[order], returns[order]
    new_day = _changes(day)
    new_run = new_day | _changes(known)
    below, equal, among = _within_runs(new_run, new_run | _changes(value))
    runs, days = np.flatnonzero(np.append(new_run, True)), np.flatnonzero(new_day)
    # Most of a day become known together; those after a suspension are ranked beside all that were known before.
    for first, last in pairwise(runs.tolist()):
        if new_day[first]:
            continue
        earlier = np.sort(value[days[np.searchsorted(days, first, side="right") - 1] : first])
        mine = value[first:last]
        left, right = (np.searchsorted(earlier, mine, side=side) for side in _SIDES)
        below[first:last] += left
        equal[first:last] += right - left
        among[first:last] += len(earlier)
    ranks = (below + equal / 2) / among - 0.5
    ranks[among < FEWEST] = np.nan
    found = np.empty(len(returns))
    found[order] = ranks
    return found


_SIDES: Final = ("left", "right")


def _within_runs(new_run: Flags, new_value: Flags) -> tuple[Int64s, Int64s, Int64s]:
    """Of each of P values in runs, ascending: how many of its run are below it, equal to it, and there at all.

    Three times int64 (P,). `new_run`, `new_value`: bool (P,): where a run begins, and where another value does.
    """
    place = np.arange(len(new_run))
    run, tie = (np.flatnonzero(new) for new in (new_run, new_value))
    which_run, which_tie = np.cumsum(new_run) - 1, np.cumsum(new_value) - 1
    sizes, ties = (np.diff(np.append(begins, len(place))) for begins in (run, tie))
    below = tie[which_tie] - run[which_run]
    return below, ties[which_tie], sizes[which_run]


def _changes(ordered: npt.NDArray[Any]) -> Flags:
    """Where a value is another than the one before it: bool, true at the first."""
    changed = np.ones(len(ordered), dtype=bool)
    changed[1:] = ordered[1:] != ordered[:-1]
    return changed
