"""The exact scan of many queries at once in float32, for any processor: short products first, whole ones where needed.

The vectors of charts vary far more in some directions than in others. With H the first r principal directions, each
vector is x = H a + e: the coordinates a along them, its head, and what is left, its tail. With y = H b + f,

    x y <= a b + |e| |f| + c                                                        (Cauchy-Schwarz)

and this bound is one short product of the heads and the tails' lengths. A row whose bound is not above the `count`-th
best score of a query cannot be among its best ones; the few others are scored in full, which is a loop of its own
(`kline_core.search.bounded_scan`).

c covers all rounding. With lengths up to L (`MAX_LENGTH`), d dimensions, u = 2^-24 and D = H'H - I, which is measured,

    x y - a b - e f = a (H'f) + b (H'e) + a D b,    |H'e| <= |H'x - a| + |D| |a|,    |H'x - a| <= (u + 2^-52 r d) L

since H'x is made in float64 and rounded to float32. Tails' lengths are rounded up. The score t to be beaten is part of
the product, as a last number of the query beside a one of the row, so that all bounds are compared with 0. Of n = r + 2
numbers, the float32 product is off by n u / (1 - n u) |(b, |f|, t)| |(a, |e|, 1)| at most (Higham, see
`FlatIndex.score_error`), with |t| <= 3, and t by 4 u for its own rounding. H needs neither to be exact nor to suit the
rows: later ones are divided by the same, and where it suits them less, more rows are scored.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np

from kline_core._growing import followed_by, with_room
from kline_core.patterns.mapped_vectors import Vectors
from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search.bounded_scan import DividedQueries, best_rows, first_layout
from kline_core.search.scan_code import Layout, Part
from kline_core.search.scan_kernel import CompiledScan, RowArrays
from kline_core.typing import Floats32, Floats64, Int64s

_SAMPLE, _TAILS = 16_384, 1 / 8
"""Rows that the directions are made of, and the share of their squared lengths that tails may hold."""
_WIDTH = 4
"""Heads with the two numbers beside them are widened to a multiple of so many, as processors take them."""
_SLICE = 8192
"""Vectors that are divided into heads and tails at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalScan(CompiledScan):
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
        every, count = principal(rows)
        directions = np.ascontiguousarray(every[:, :count])
        heads = divided(rows if directions.size else rows[:0], directions)
        return cls(rows, directions, heads, _error(directions))

    @classmethod
    def of_parts(cls, rows: Floats32, directions: Floats64, heads: Floats32) -> Self:
        """The scan of vectors that were divided before into these `heads` along these `directions`."""
        return cls(rows, directions, heads, _error(directions))

    def followed_by(self, vectors: Floats32, rows: Floats32) -> "PrincipalScan":
        """The scan of `rows`, of which `vectors` are the last and these the ones before."""
        if not self.directions.size:
            return PrincipalScan(rows, self.directions, self.heads, self.error)
        heads = followed_by(self.heads, divided(vectors, self.directions))
        return PrincipalScan(rows, self.directions, heads, self.error)

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `FlatIndex.nearest`."""
        queries = DividedQueries(divided(vectors, self.directions), vectors, self.error)
        bounds, scores = self._parts
        rows, lowest = best_rows(RowArrays(self.heads, self.rows), bounds, scores, queries, known, count)
        return rows, np.where(known <= count, -np.inf, lowest.astype(np.float64))

    @property
    def _parts(self) -> tuple[Part | None, tuple[Part, ...]]:
        """What bounds, if there are any, and scores are made of."""
        count, dim = self.heads.shape[1], self.rows.shape[1]
        return Part(0, count, count - 1) if self.directions.size else None, (Part(1, dim, dim),)

    @property
    def layout(self) -> Layout:
        """See `CompiledScan`."""
        return first_layout(*self._parts)


def principal(rows: Vectors) -> tuple[Floats64, int]:
    """All principal directions of vectors, float64 (d, d), first the one in which they vary most.

    And the number of the first ones that leave little to tails; 0 if that is nearly all of them.
    """
    dim = rows.shape[1]
    sample = rows[:: max(1, len(rows) // _SAMPLE)].astype(np.float64)
    lengths, directions = np.linalg.eigh(sample.T @ sample)
    needed = int((np.cumsum(lengths) > _TAILS * lengths.sum()).sum())
    count = -(-(needed + 2) // _WIDTH) * _WIDTH - 2
    return np.ascontiguousarray(directions[:, ::-1]), count if 4 * (count + 2) <= 3 * dim else 0


def divided(vectors: Floats32, directions: Floats64) -> Floats32:
    """Heads, tails' lengths and ones of vectors, float32 (n, d): float32 (n, r + 2)."""
    heads = with_room(np.float32, (len(vectors), directions.shape[1] + 2))
    heads[:, -1] = 1
    for start in range(0, len(vectors), _SLICE):
        tail = vectors[start : start + _SLICE].astype(np.float64)
        part = heads[start : start + _SLICE]
        part[:, :-2] = tail @ directions
        tail -= part[:, :-2].astype(np.float64) @ directions.T
        # More is added than the rounding of these sums and of the length to float32 can take away.
        part[:, -2] = np.sqrt(np.einsum("ij,ij->i", tail, tail)) * (1 + 2.0**-22) + 1e-9
    return heads


def _error(directions: Floats64) -> float:
    """c of the text above; the last factor is for its own rounding, the last term for underflow."""
    dim, count = directions.shape
    unit, length = 2.0**-24, MAX_LENGTH**2
    float64 = 2.0**-52 * (count + 1) * dim
    askew = float(np.linalg.norm(directions.T @ directions - np.eye(count))) + float64
    sums = (count + 2) * unit / (1 - (count + 2) * unit) * sqrt((length + 9) * (length + 1))
    return float((sums + 4 * unit + (2 * (unit + float64) + 3 * askew) * length) * 1.01 + 1e-30)
