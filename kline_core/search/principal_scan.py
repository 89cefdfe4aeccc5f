"""The exact scan of many queries at once in float32, for any processor: short products first, whole ones where needed.

The vectors of charts vary far more in some directions than in others. With H the first r principal directions, each
vector is x = H a + e: the coordinates a along them, its head, and what is left, its tail. With y = H b + f,

    x y <= a b + |e| |f| + c                                                        (Cauchy-Schwarz)

and this bound is one short product of the heads and the tails' lengths. A row whose bound is not above the `count`-th
best score of a query cannot be among its best ones; the few others are scored in full.

1. Rows are taken in blocks, for all queries that may see at least the first of them. A row that a query may not see is
   given the lowest score there is.
2. Bounds of a block are compared with the `count`-th best score of each query, and the rows above it scored.
3. Whenever twice as many rows have been seen as the last time, the best are chosen among those held and those found.
4. Where bounds leave too many rows, as they do at first, and at last for vectors that vary alike in all directions, the
   rows of a block are scored by one product, until the best are chosen the next time. So the worst is a scan in full.

c covers all rounding. With lengths up to L (`MAX_LENGTH`), d dimensions, u = 2^-24 and D = H'H - I, which is measured,

    x y - a b - e f = a (H'f) + b (H'e) + a D b,    |H'e| <= |H'x - a| + |D| |a|,    |H'x - a| <= (u + 2^-52 r d) L

since H'x is made in float64 and rounded to float32. Tails' lengths are rounded up. The score t to be beaten is part of
the product, as a last number of the query beside a one of the row, so that all bounds are compared with 0. Of n = r + 2
numbers, the float32 product is off by n u / (1 - n u) |(b, |f|, t)| |(a, |e|, 1)| at most (Higham, see
`FlatIndex.score_error`), with |t| <= 3, and t by 4 u for its own rounding. H needs neither to be exact nor to suit the
rows: later ones are divided by the same, and where it suits them less, more rows are scored.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np

from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search.best_rows import BestRows
from kline_core.typing import Flags, Floats32, Floats64, Int64s

_SCORES = 1 << 20
"""Scores of a block: 4 MB."""
_SAMPLE, _TAILS = 16_384, 1 / 8
"""Rows that the directions are made of, and the share of their squared lengths that tails may hold."""
_WIDTH = 4
"""Heads with the two numbers beside them are widened to a multiple of so many, as processors take them."""
_FIRST = 4
"""Times `count` rows that are seen before the best are chosen for the first time."""
_FEW = 32
"""Up to one row in so many is scored on its own. Measured on an AMD EPYC of the third generation, 64 dims: 50 ns for a
row on its own, 2 in the product of a block."""
_PAIRS = 2048
"""Rows that are scored on their own at a time: 1 MB at 64 dims, which stay in the processor's cache."""
_SLICE = 8192
"""Vectors that are divided into heads and tails at a time."""
_LOWEST = np.float32(-3)
"""Below every bound."""


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalScan:
    """An index's vectors divided into heads and tails; read-only, and safe to share between threads."""

    rows: Floats32
    """float32 (P, d): the vectors."""
    directions: Floats64
    """float64 (d, r): principal directions; r is 0 if bounds would save too little."""
    heads: Floats32
    """float32 (P, r + 2): coordinates along the directions, the length of the tail, and 1; (0, 2) if r is 0."""
    error: float
    """c of the text above."""

    @classmethod
    def of(cls, rows: Floats32) -> Self:
        """Find the principal directions of vectors, float32 (P, d), and divide these by them."""
        directions = _principal(rows)
        divided = rows if directions.size else rows[:0]
        return cls(rows, directions, _divided(divided, directions), _error(directions))

    @classmethod
    def of_parts(cls, rows: Floats32, directions: Floats64, heads: Floats32) -> Self:
        """The scan of vectors that were divided before into these `heads` along these `directions`."""
        return cls(rows, directions, heads, _error(directions))

    def followed_by(self, vectors: Floats32, rows: Floats32) -> "PrincipalScan":
        """The scan of `rows`, of which `vectors` are the last and these the ones before."""
        if not self.directions.size:
            return PrincipalScan(rows, self.directions, self.heads, self.error)
        heads = np.concatenate([self.heads, _divided(vectors, self.directions)])
        return PrincipalScan(rows, self.directions, heads, self.error)

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `PatternIndex.nearest`."""
        best, block = BestRows.none(len(vectors), count), _Block.of(known.tolist())
        queries = _divided(vectors, self.directions)
        start = settled = 0
        bounded = False
        found: list[tuple[Int64s, Int64s]] = []
        while start < block.end:
            stop = min(start + block.step, max(_FIRST * count, 2 * settled), block.end)
            if bounded:
                query, row, _ = block.above(queries, self.heads, start, stop, None)
                bounded = len(row) <= (stop - start) * block.seeing(start) // _FEW
                if bounded:
                    found.append((query, row))
            if not bounded:
                best.add(*block.above(vectors, self.rows, start, stop, best.lowest))
            start = stop
            if stop >= 2 * settled or stop == block.end:
                self._score(vectors, found, best)
                best.settle()
                queries[:, -1] = np.float32(self.error) - np.maximum(best.lowest, _LOWEST)
                found, settled, bounded = [], stop, self.directions.size > 0
            elif sum(len(row) for _, row in found) > _SCORES // _FEW:
                self._score(vectors, found, best)
                found = []
        return best.rows, np.where(known <= count, -np.inf, best.lowest.astype(np.float64))

    def _score(self, vectors: Floats32, found: list[tuple[Int64s, Int64s]], best: BestRows) -> None:
        """Score the rows that were found, each with its query, and add those that are better than the best."""
        if not found:
            return
        query, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
        score = np.empty(len(row), dtype=np.float32)
        rows, queries = np.empty((2, _PAIRS, vectors.shape[1]), dtype=np.float32)
        for first in range(0, len(row), _PAIRS):
            pair = slice(first, first + _PAIRS)
            many = len(row[pair])
            # All are there: to clip is but the way in which NumPy copies without a copy more.
            np.take(self.rows, row[pair], axis=0, out=rows[:many], mode="clip")
            np.take(vectors, query[pair], axis=0, out=queries[:many], mode="clip")
            np.einsum("ij,ij->i", rows[:many], queries[:many], out=score[pair])
        better = np.flatnonzero(score > best.lowest[query])
        best.add(query[better], row[better], score[better])


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
        self, queries: Floats32, rows: Floats32, start: int, stop: int, lowest: Floats32 | None
    ) -> tuple[Int64s, Int64s, Floats32]:
        """Queries, rows and products: those of the rows `start:stop` above a query's lowest, or 0, that it may see."""
        left, count = bisect_right(self.limits, start), stop - start
        size = self.seeing(start) * count
        scores, flags = self.scores[:size].reshape(-1, count), self.flags[:size].reshape(-1, count)
        np.matmul(queries[left:], rows[start:stop].T, out=scores)
        for last in range(left, bisect_left(self.limits, stop)):
            scores[last - left, self.limits[last] - start :] = -np.inf
        # To compare with one number takes a third of the time that one for each query takes.
        np.greater(scores, 0 if lowest is None else lowest[left:, None], out=flags)
        place = _true(self.flags[:size])
        query: Int64s = place // count
        return query + left, place - query * count + start, self.scores[place]


def _true(flags: Flags) -> Int64s:
    """Positions of the true ones of many flags, of which few are: eight at a time, in half of NumPy's time."""
    rest = len(flags) // 8 * 8
    words = flags[:rest].view(np.uint64)
    some = np.flatnonzero(words != 0)
    flag = np.flatnonzero(words[some].view(np.bool_))
    return np.concatenate([some[flag // 8] * 8 + flag % 8, rest + np.flatnonzero(flags[rest:])])


def _principal(rows: Floats32) -> Floats64:
    """As many principal directions as leave little to tails, float64 (d, r); none if that is nearly all of them."""
    dim = rows.shape[1]
    sample = rows[:: max(1, len(rows) // _SAMPLE)].astype(np.float64)
    lengths, directions = np.linalg.eigh(sample.T @ sample)
    needed = int((np.cumsum(lengths) > _TAILS * lengths.sum()).sum())
    count = -(-(needed + 2) // _WIDTH) * _WIDTH - 2
    if 4 * (count + 2) > 3 * dim:
        return np.zeros((dim, 0))
    return np.ascontiguousarray(directions[:, : -count - 1 : -1])


def _divided(vectors: Floats32, directions: Floats64) -> Floats32:
    """Heads, tails' lengths and ones of vectors, float32 (n, d): float32 (n, r + 2)."""
    divided = np.ones((len(vectors), directions.shape[1] + 2), dtype=np.float32)
    for start in range(0, len(vectors), _SLICE):
        tail = vectors[start : start + _SLICE].astype(np.float64)
        part = divided[start : start + _SLICE]
        part[:, :-2] = tail @ directions
        tail -= part[:, :-2].astype(np.float64) @ directions.T
        # More is added than the rounding of these sums and of the length to float32 can take away.
        part[:, -2] = np.sqrt(np.einsum("ij,ij->i", tail, tail)) * (1 + 2.0**-22) + 1e-9
    return divided


def _error(directions: Floats64) -> float:
    """c of the text above; the last factor is for its own rounding, the last term for underflow."""
    dim, count = directions.shape
    unit, length = 2.0**-24, MAX_LENGTH**2
    float64 = 2.0**-52 * (count + 1) * dim
    askew = float(np.linalg.norm(directions.T @ directions - np.eye(count))) + float64
    sums = (count + 2) * unit / (1 - (count + 2) * unit) * sqrt((length + 9) * (length + 1))
    return float((sums + 4 * unit + (2 * (unit + float64) + 3 * askew) * length) * 1.01 + 1e-30)
