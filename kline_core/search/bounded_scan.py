"""The loop of the scans that go by bounds: short products of many queries at once, and whole ones where needed.

1. Bounds of a block of rows are compared with the `count`-th best score of each query, and the rows above it scored:
   by compiled loops (`kline_core.search.scan_code`).
2. Where bounds leave too many rows, as they do for vectors that vary alike in all directions, all numbers of the rows
   take their place, until twice as many rows have been seen. So the worst is a scan in full.

What bounds and scores are made of is the scan's own: `kline_core.search.principal_scan` and
`kline_core.search.quantised_scan`.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from kline_core.search.scan_code import Layout, Part
from kline_core.search.scan_kernel import RowArrays, Search, kernel, layout, to_beat
from kline_core.typing import Flags, Floats32, Int64s

_SCORES = 1 << 20
"""Scores of a block of `rows_above`: 4 MB."""
_PAIRS = 2048
"""Rows that are scored on their own at a time: 1 MB at 64 dims, which stay in the processor's cache."""
_FEW = 16
"""Up to one pair in so many is scored on its own. Measured on an Intel Xeon of the fifth generation with AVX2: 10 to
20 ns for a pair on its own, a product of 64 numbers 2."""
_SETTLED = 32_768
"""Rows after which there are few such pairs, unless bounds are of little use: at first every row is among the best."""
_WHOLE_SLACK = 8 * 3 * 2.0**-24
"""What the product of whole rows may be off by its rounding, for each of its numbers: the sums of at most 1.01 and what
is to be beaten, 3 at most, are both rounded, and so is the score."""


class DividedRows(Protocol):
    """Rows as one search sees them, and no other: what it returns may be room that the next call fills anew."""

    @property
    def bounded(self) -> bool:
        """Whether there are bounds at all."""

    def heads(self, start: int, stop: int) -> Floats32:
        """What bounds are made of: float32 (stop - start, h)."""

    def wholes(self, start: int, stop: int) -> Floats32:
        """What scores are made of: float32 (stop - start, w)."""

    def take(self, rows: Int64s, out: Floats32) -> None:
        """Write what the scores of some rows are made of into `out`, float32 (n, w)."""


@dataclass(frozen=True, slots=True, eq=False)
class DividedQueries:
    """q queries, as rows are divided."""

    heads: Floats32
    """float32 (q, h); `beat` writes the last number, which is beside a one of every row."""
    wholes: Floats32
    """float32 (q, w)."""
    slack: float
    """What a row's bound may lie below a score that it has to beat, and yet be the better one's."""

    def beat(self, scores: Floats32) -> None:
        """Let bounds be above 0 for rows that may be better than these scores, float32 (q,)."""
        self.heads[:, -1] = to_beat(scores, self.slack)


def best_rows(
    rows: RowArrays, bounds: Part | None, scores: tuple[Part, ...], queries: DividedQueries, known: Int64s, count: int
) -> tuple[Int64s, Floats32]:
    """The `count` best rows of each query's prefix, int64 (q, count), -1 for none; and the lowest of their scores.

    Args:
        rows: Arrays of all rows.
        bounds: Where in them lies what bounds are made of, the last one of `heads` left out; None if there are none.
        scores: The same for what scores are made of.
        queries: q queries.
        known: int64 (q,), ascending.
        count: rows wanted.
    """
    search = Search.of(queries.wholes, known, count)
    by_bounds = None if bounds is None else ((bounds,), queries.heads[:, :-1], queries.slack)
    in_full = scores, queries.wholes, _WHOLE_SLACK * (queries.wholes.shape[1] + 4)
    whole_until = search.end if by_bounds is None else 0
    way = None
    for block in search.blocks():
        start = block[0]
        before, way = way, in_full if by_bounds is None or start < whole_until else by_bounds
        parts, vectors, slack = way
        if way is not before:
            # What is to be beaten differs by what bounds may be off.
            loops, panels, beat = kernel(layout(parts, scores)), search.panels(vectors), search.to_beat(slack)
        scored = search.go(loops, rows, panels, beat, block, slack)
        if way is by_bounds and start >= _SETTLED and scored * _FEW > (block[1] - start) * search.seeing(start):
            whole_until = 2 * block[1]
    return search.best, search.lowest


def first_layout(bounds: Part | None, scores: tuple[Part, ...]) -> Layout:
    """The layout of the loops that `best_rows` begins with."""
    return layout(scores if bounds is None else (bounds,), scores)


def rows_above(rows: DividedRows, queries: DividedQueries, known: Int64s, least: Floats32) -> list[list[Int64s]]:
    """Of each query, in pieces, ascending, the rows of its prefix whose score is above `least`, float32 (q,)."""
    block = _Block.of(known.tolist())
    queries.beat(least)
    pieces: list[list[Int64s]] = [[] for _ in range(len(known))]
    for start in range(0, block.end, max(1, block.step)):
        stop = min(start + block.step, block.end)
        if rows.bounded:
            query, row = block.above(queries.heads, rows.heads(start, stop), start, None)
            better = np.flatnonzero(_scores(rows, queries.wholes, query, row) > least[query])
            query, row = query[better], row[better]
        else:
            query, row = block.above(queries.wholes, rows.wholes(start, stop), start, least)
        # They come in the order of the queries.
        end = np.searchsorted(query, np.arange(len(known)), side="right")
        for which in np.unique(query).tolist():
            pieces[which].append(row[0 if which == 0 else end[which - 1] : end[which]])
    return pieces


def _scores(rows: DividedRows, queries: Floats32, query: Int64s, row: Int64s) -> Floats32:
    """Score of each of n rows with its query: float32 (n,)."""
    score = np.empty(len(row), dtype=np.float32)
    some, asked = np.empty((2, _PAIRS, queries.shape[1]), dtype=np.float32)
    for first in range(0, len(row), _PAIRS):
        pair = slice(first, first + _PAIRS)
        many = len(row[pair])
        rows.take(row[pair], some[:many])
        # All are there: to clip is but the way in which NumPy copies without a copy more.
        np.take(queries, query[pair], axis=0, out=asked[:many], mode="clip")
        np.einsum("ij,ij->i", some[:many], asked[:many], out=score[pair])
    return score


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Room for the scores of one block after the other: new arrays of this size cost as much as comparing them."""

    limits: list[int]
    """Rows that each query may see, ascending."""
    step: int
    """Rows of a block, at most."""
    scores: Floats32
    flags: Flags

    @classmethod
    def of(cls, limits: list[int]) -> Self:
        """For blocks as long as there is room for."""
        end = limits[-1] if limits else 0
        step = min(max(1, _SCORES // max(1, len(limits))), end)
        size = step * len(limits)
        return cls(limits, step, np.empty(size, dtype=np.float32), np.empty(size, dtype=np.bool_))

    @property
    def end(self) -> int:
        """Rows that any query may see."""
        return self.limits[-1] if self.limits else 0

    def seeing(self, start: int) -> int:
        """Number of queries that may see the row `start`; they are the last ones."""
        return len(self.limits) - bisect_right(self.limits, start)

    def above(self, queries: Floats32, rows: Floats32, start: int, lowest: Floats32 | None) -> tuple[Int64s, Int64s]:
        """Queries and rows, of n from `start` on that the query may see, whose product is above its lowest, or 0."""
        left, count = bisect_right(self.limits, start), len(rows)
        size = self.seeing(start) * count
        scores, flags = self.scores[:size].reshape(-1, count), self.flags[:size].reshape(-1, count)
        np.matmul(queries[left:], rows.T, out=scores)
        for last in range(left, bisect_left(self.limits, start + count)):
            scores[last - left, self.limits[last] - start :] = -np.inf
        # To compare with one number takes a third of the time that one for each query takes.
        np.greater(scores, 0 if lowest is None else lowest[left:, None], out=flags)
        place = _true(self.flags[:size])
        query: Int64s = place // count
        return query + left, place - query * count + start


def _true(flags: Flags) -> Int64s:
    """Positions of the true ones of many flags, of which few are: eight at a time, in half of NumPy's time."""
    rest = len(flags) // 8 * 8
    words = flags[:rest].view(np.uint64)
    some = np.flatnonzero(words != 0)
    flag = np.flatnonzero(words[some].view(np.bool_))
    return np.concatenate([some[flag // 8] * 8 + flag % 8, rest + np.flatnonzero(flags[rest:])])
