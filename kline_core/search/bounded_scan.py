"""The loop of the scans that go by bounds: short products of many queries at once, and whole ones where needed.

1. Rows are taken in blocks, for all queries that may see at least the first of them. A row that a query may not see is
   given the lowest score there is.
2. Bounds of a block are compared with the `count`-th best score of each query, and the rows above it scored.
3. Whenever twice as many rows have been seen as the last time, the best are chosen among those held and those found.
4. Where bounds leave too many rows, as they do at first, and at last for vectors that vary alike in all directions, the
   rows of a block are scored by one product, until the best are chosen the next time. So the worst is a scan in full.

What bounds and scores are made of is the scan's own: `kline_core.search.principal_scan` and
`kline_core.search.quantised_scan`.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from kline_core.search.best_rows import BestRows
from kline_core.typing import Flags, Floats32, Int64s

_SCORES = 1 << 20
"""Scores of a block: 4 MB."""
_FIRST = 4
"""Times `count` rows that are seen before the best are chosen for the first time."""
_FEW = 32
"""Up to one row in so many is scored on its own. Measured on an AMD EPYC of the third generation, 64 dims: 50 ns for a
row on its own, 2 in the product of a block."""
_PAIRS = 2048
"""Rows that are scored on their own at a time: 1 MB at 64 dims, which stay in the processor's cache."""
_LOWEST = np.float32(-3)
"""Below every bound."""


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
    """float32 (q, h); the search writes the last number, which is beside a one of every row."""
    wholes: Floats32
    """float32 (q, w)."""
    slack: float
    """What a row's bound may lie below a score that it has to beat, and yet be the better one's."""

    def beat(self, scores: Floats32) -> None:
        """Let bounds be above 0 for rows that may be better than these scores, float32 (q,)."""
        self.heads[:, -1] = np.float32(self.slack) - np.maximum(scores, _LOWEST)


def best_rows(rows: DividedRows, queries: DividedQueries, known: Int64s, count: int) -> BestRows:
    """The `count` best rows of each query's prefix; `known` int64 (q,), ascending."""
    best, block = BestRows.none(len(known), count), _Block.of(known.tolist())
    start = settled = 0
    bounded = False
    found: list[tuple[Int64s, Int64s]] = []
    while start < block.end:
        stop = min(start + block.step, max(_FIRST * count, 2 * settled), block.end)
        if bounded:
            query, row, _ = block.above(queries.heads, rows.heads(start, stop), start, None)
            bounded = len(row) <= (stop - start) * block.seeing(start) // _FEW
            if bounded:
                found.append((query, row))
        if not bounded:
            query, row, place = block.above(queries.wholes, rows.wholes(start, stop), start, best.lowest)
            best.add(query, row, block.scores[place])
        start = stop
        if stop >= 2 * settled or stop == block.end:
            _score(rows, queries.wholes, found, best)
            best.settle()
            queries.beat(best.lowest)
            found, settled, bounded = [], stop, rows.bounded
        elif sum(len(row) for _, row in found) > _SCORES // _FEW:
            _score(rows, queries.wholes, found, best)
            found = []
    return best


def rows_above(rows: DividedRows, queries: DividedQueries, known: Int64s, least: Floats32) -> list[list[Int64s]]:
    """Of each query, in pieces, ascending, the rows of its prefix whose score is above `least`, float32 (q,)."""
    block = _Block.of(known.tolist())
    queries.beat(least)
    pieces: list[list[Int64s]] = [[] for _ in range(len(known))]
    for start in range(0, block.end, max(1, block.step)):
        stop = min(start + block.step, block.end)
        if rows.bounded:
            query, row, _ = block.above(queries.heads, rows.heads(start, stop), start, None)
            better = np.flatnonzero(_scores(rows, queries.wholes, query, row) > least[query])
            query, row = query[better], row[better]
        else:
            query, row, _ = block.above(queries.wholes, rows.wholes(start, stop), start, least)
        # They come in the order of the queries.
        end = np.searchsorted(query, np.arange(len(known)), side="right")
        for which in np.unique(query).tolist():
            pieces[which].append(row[0 if which == 0 else end[which - 1] : end[which]])
    return pieces


def _score(rows: DividedRows, queries: Floats32, found: list[tuple[Int64s, Int64s]], best: BestRows) -> None:
    """Score the rows that were found, each with its query, and add those that are better than the best."""
    if not found:
        return
    query, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
    score = _scores(rows, queries, query, row)
    better = np.flatnonzero(score > best.lowest[query])
    best.add(query[better], row[better], score[better])


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

    def above(
        self, queries: Floats32, rows: Floats32, start: int, lowest: Floats32 | None
    ) -> tuple[Int64s, Int64s, Int64s]:
        """Queries and rows whose product is above the query's lowest, or 0, of n rows from `start` on that it may see.

        And the place of each product in `scores`, until the next block.
        """
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
        return query + left, place - query * count + start, place


def _true(flags: Flags) -> Int64s:
    """Positions of the true ones of many flags, of which few are: eight at a time, in half of NumPy's time."""
    rest = len(flags) // 8 * 8
    words = flags[:rest].view(np.uint64)
    some = np.flatnonzero(words != 0)
    flag = np.flatnonzero(words[some].view(np.bool_))
    return np.concatenate([some[flag // 8] * 8 + flag % 8, rest + np.flatnonzero(flags[rest:])])
