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

from kline_core.search.scan_kernel import Kernel, RowArrays, Search, has_dots, kernel, layout, to_beat
from kline_core.search.scan_layout import MOST, MOST_OF_PAIRS, OFFSET, TERMS_OF_PAIRS, Dots, Layout, Part
from kline_core.typing import Flags, Floats32, Floats64, Int8s, Int32s, Int64s

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

    def heads(self, start: int, stop: int) -> Floats32:
        """What bounds are made of, and a one: float32 (stop - start, n + 1)."""

    def take(self, rows: Int64s, out: Floats32) -> None:
        """Write what the scores of some rows are made of into `out`, float32 (m, w)."""


@dataclass(frozen=True, slots=True, eq=False)
class DividedQueries:
    """q queries, as rows are divided."""

    heads: Floats64
    """float64 (q, n): what bounds are made of; of rows these are whole numbers."""
    longest: float
    """Length that the n whole numbers of a row have at most."""
    wholes: Floats32
    """float32 (q, w): what scores are made of."""
    slack: float
    """What a row's bound may lie below a score that it has to beat, and yet be the better one's."""

    def whole(self, dots: Dots) -> tuple[Int8s, Floats64, Floats64]:
        """Heads as whole numbers, int8 (q, n), for instructions; and `errors` and `steps` of the loops, float64 (q,).

        With y = t q + e, where q are the whole numbers, and p those of a row, |y p - t q p| <= |e| |p|
        (Cauchy-Schwarz).
        """
        if dots is Dots.FOURS:
            scale = np.abs(self.heads).max(axis=1, initial=0.0) / MOST
        else:
            terms = self.heads.shape[1] // (4 * TERMS_OF_PAIRS)
            # The numbers that meet in one sum: two of each four.
            sums = np.abs(self.heads).reshape(len(self.heads), terms, TERMS_OF_PAIRS, 2, 2).sum(axis=(2, 4))
            # Each is rounded by half at most.
            scale = sums.max(axis=(1, 2), initial=0.0) / (MOST_OF_PAIRS - TERMS_OF_PAIRS)
        scale[scale == 0] = 1.0
        numbers = np.rint(self.heads / scale[:, None])
        off = np.linalg.norm(self.heads - scale[:, None] * numbers, axis=1) * self.longest
        # The last term is for the rounding of these very sums, and what rows have more than their numbers is taken off.
        errors = off * (1 + 1e-9) + self.slack + 1e-12 - OFFSET * numbers.sum(axis=1) * scale
        return numbers.astype(np.int8), errors, 1 / scale


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """How one search compares rows with what is to be beaten."""

    loops: Kernel
    panels: Floats32 | Int32s
    slack: float
    errors: Floats64 | None = None
    steps: Floats64 | None = None

    @classmethod
    def by_bounds(cls, search: Search, layout: Layout, queries: DividedQueries) -> Self:
        """By the bounds of rows."""
        if layout.dots is None:
            return cls(kernel(layout), search.panels(queries.heads.astype(np.float32)), queries.slack)
        numbers, errors, steps = queries.whole(layout.dots)
        return cls(kernel(layout), search.panels(numbers), queries.slack, search.spared(errors), search.spared(steps))

    @classmethod
    def in_full(cls, search: Search, scores: tuple[Part, ...], queries: DividedQueries) -> Self:
        """By all numbers of rows."""
        slack = _WHOLE_SLACK * (queries.wholes.shape[1] + 4)
        return cls(kernel(layout(scores, scores)), search.panels(queries.wholes), slack)

    def to_beat(self, search: Search) -> Floats32 | Int32s:
        """What sums start from."""
        if self.errors is None or self.steps is None:
            return search.to_beat(self.slack)
        return search.whole_to_beat(self.errors, self.steps)


def best_rows(
    rows: RowArrays, bounds: Part, scores: tuple[Part, ...], queries: DividedQueries, known: Int64s, count: int
) -> tuple[Int64s, Floats32]:
    """The `count` best rows of each query's prefix, int64 (q, count), -1 for none; and the lowest of their scores.

    Args:
        rows: Arrays of all rows.
        bounds: Where in them lies what bounds are made of.
        scores: The same for what scores are made of.
        queries: q queries.
        known: int64 (q,), ascending.
        count: rows wanted.
    """
    search = Search.of(queries.wholes, known, count)
    by_bounds = _Way.by_bounds(search, first_layout(bounds, scores), queries)
    way, beat, whole_until = by_bounds, by_bounds.to_beat(search), 0
    for block in search.blocks():
        start = block[0]
        before = way
        if start >= whole_until:
            way = by_bounds
        elif way is by_bounds:
            way = _Way.in_full(search, scores, queries)
        if way is not before:
            # What is to be beaten differs by what bounds may be off.
            beat = way.to_beat(search)
        scored = search.go(way.loops, rows, way.panels, beat, block, way.slack, way.errors, way.steps)
        if way is by_bounds and start >= _SETTLED and scored * _FEW > (block[1] - start) * search.seeing(start):
            whole_until = 2 * block[1]
    return search.best, search.lowest


def first_layout(bounds: Part, scores: tuple[Part, ...]) -> Layout:
    """The layout of the loops that `best_rows` begins with."""
    return layout((bounds,), scores, dots=has_dots() is not None)


def rows_above(rows: DividedRows, queries: DividedQueries, known: Int64s, least: Floats32) -> list[list[Int64s]]:
    """Of each query, in pieces, ascending, the rows of its prefix whose score is above `least`, float32 (q,)."""
    block = _Block.of(known.tolist())
    heads = np.concatenate([queries.heads.astype(np.float32), -to_beat(least, queries.slack)[:, None]], axis=1)
    pieces: list[list[Int64s]] = [[] for _ in range(len(known))]
    for start in range(0, block.end, max(1, block.step)):
        stop = min(start + block.step, block.end)
        query, row = block.above(heads, rows.heads(start, stop), start)
        better = np.flatnonzero(_scores(rows, queries.wholes, query, row) > least[query])
        query, row = query[better], row[better]
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

    def above(self, queries: Floats32, rows: Floats32, start: int) -> tuple[Int64s, Int64s]:
        """Queries and rows, of n from `start` on that the query may see, whose product is above 0."""
        left, count = bisect_right(self.limits, start), len(rows)
        size = self.seeing(start) * count
        scores, flags = self.scores[:size].reshape(-1, count), self.flags[:size].reshape(-1, count)
        np.matmul(queries[left:], rows.T, out=scores)
        for last in range(left, bisect_left(self.limits, start + count)):
            scores[last - left, self.limits[last] - start :] = -np.inf
        np.greater(scores, 0, out=flags)
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
