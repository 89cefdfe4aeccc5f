"""Every row above a bound, where the nearest few thousand tell: a scan's compiled loops find these soonest.

A query asks for all rows above a bound where so many are alike that its candidates cannot be told by a few proposals,
as the charts of limit-locked stocks are. Seldom are these more than thousands.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import numpy as np

from kline_core.typing import Floats32, Floats64, Int64s

_COUNTS: Final = (1024, 8192)
"""Rows that are asked for, one number after the other."""
_TOGETHER: Final = 32
"""Queries that are asked at once: 8,192 rows of each are 3 MB."""

Nearest: TypeAlias = Callable[[Floats32, Int64s, int], tuple[Int64s, Floats64]]
"""As `FlatIndex.nearest`."""


def reached(nearest: Nearest, vectors: Floats32, known: Int64s, bound: Floats64, otherwise: "Reaching") -> list[Int64s]:
    """Rows of each query's prefix, int64 (n,) ascending: every one whose score is above its bound, and others below.

    Args:
        nearest: Proposes rows.
        vectors: float32 (q, d).
        known: int64 (q,), ascending, as of `FlatIndex.nearest`.
        bound: float64 (q,)
        otherwise: Finds those of queries for which there are more; it takes the positions of such queries, int64.
    """
    found: dict[int, Int64s] = {}
    undecided = np.arange(len(known))
    for count in _COUNTS:
        for asked in _parts(undecided):
            rows, floor = nearest(np.ascontiguousarray(vectors[asked]), known[asked], count)
            for place in np.flatnonzero((floor < bound[asked]) | (floor == -np.inf)).tolist():
                own = rows[place]
                found[int(asked[place])] = np.sort(own[own >= 0])
        undecided = np.array([query for query in undecided.tolist() if query not in found], dtype=np.int64)
    if len(undecided):
        found |= dict(zip(undecided.tolist(), otherwise(undecided), strict=True))
    return [found[query] for query in range(len(known))]


Reaching: TypeAlias = Callable[[Int64s], list[Int64s]]


def _parts(queries: Int64s) -> Iterator[Int64s]:
    for first in range(0, len(queries), _TOGETHER):
        yield queries[first : first + _TOGETHER]
