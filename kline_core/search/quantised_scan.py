"""The exact scan of vectors that are not in memory: their coordinates in 8 bits are, and tell which rows to read.

Vectors are turned to their principal directions, and each coordinate is rounded to a whole number of steps, -127 to
127, one step for each direction. With H all directions, x = H a + e, where a are the rounded coordinates, and y the
query, the score of a row is a product of its rounded coordinates alone:

    |x y - a (H'y)| = |e y| <= E L                                                  (Cauchy-Schwarz)

where E is the longest e of all rows, which is measured, and L (`MAX_LENGTH`) the longest vector. So no row's exact
similarity is above its score by more than s = E L and the rounding of the sum, and what is proposed is ranked by its
exact similarity elsewhere (`kline_core.search.candidates`).

Most rows are left out by the first coordinates alone, their heads (`kline_core.search.rounded_heads`): where their
bound is no more than t + s, where t is the `count`-th best score. Then their exact similarity is no more than t + s
either, which is the bound that all other rows keep.

A vector of 64 numbers takes 65 bytes, of which a scan reads 32 from one end to the other.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core.patterns.mapped_vectors import Vectors
from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search.bounded_scan import DividedQueries, best_rows, first_layout, rows_above
from kline_core.search.rounded_heads import (
    SLICE,
    RoundedHeads,
    head_width,
    lengths_of,
    principal,
    rounded_along,
    steps_of,
    with_length,
)
from kline_core.search.scan_kernel import CompiledScan, RowArrays
from kline_core.search.scan_layout import OFFSET, Layout, Part
from kline_core.typing import Bytes, Floats32, Floats64, Int64s

_GROUP = 16
"""Queries whose rows above a bound are collected at a time."""
_UNIT = 2.0**-24


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedScan(CompiledScan):
    """The rounded coordinates of vectors; read-only, and safe to share between threads."""

    directions: Floats64
    """float64 (d, d): principal directions."""
    steps: Floats64
    """float64 (d + 1,): step of each coordinate, and of the lengths of tails."""
    errors: Floats64
    """float64 (3,): `RoundedHeads.errors`, and E of the text above."""
    heads: Bytes
    """uint8 (P, n): `RoundedHeads.codes`."""
    tails: Bytes
    """uint8 (P, d - r): the other coordinates, likewise."""

    @classmethod
    def of(cls, vectors: Vectors) -> Self:
        """Round vectors, (P, d), along their own principal directions."""
        directions, count = principal(vectors)
        steps = steps_of(vectors, directions)
        length = with_length(steps[:count])[-1:]
        empty = (np.zeros((0, width), dtype=np.uint8) for width in (head_width(count), len(directions) - count))
        scan = cls(directions, np.concatenate([steps, length]), np.zeros(3), *empty)
        rounded = scan._rounded(vectors)
        assert rounded is not None
        return cls(directions, scan.steps, *rounded)

    def followed_by(self, later: Floats32, vectors: Vectors) -> "QuantisedScan":
        """The scan of `vectors`, of which the `later` ones are the last and these the ones before."""
        rounded = self._rounded(later)
        if rounded is None:
            return QuantisedScan.of(vectors)
        errors, heads, tails = rounded
        return QuantisedScan(
            self.directions,
            self.steps,
            np.maximum(self.errors, errors),
            np.concatenate([self.heads, heads]),
            np.concatenate([self.tails, tails]),
        )

    @property
    def _bounds(self) -> RoundedHeads:
        """What bounds are made of."""
        count = self._count
        return RoundedHeads(self.directions[:, :count], self.steps[[*range(count), -1]], self.errors[:2], self.heads)

    @property
    def _count(self) -> int:
        """Coordinates of a head."""
        return len(self.directions) - int(self.tails.shape[1])

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `FlatIndex.nearest`.

        Nothing but rounding is lost: no other row's exact similarity is above its query's `floor`.
        """
        arrays, queries = RowArrays(self.heads, self.tails), self._queries(vectors)
        rows, lowest = best_rows(arrays, self._bounds.part, self._scores, queries, known, count)
        return rows, np.where(known <= count, -np.inf, lowest.astype(np.float64) + self.score_error)

    @property
    def layout(self) -> Layout:
        """See `CompiledScan`."""
        return first_layout(self._bounds.part, self._scores)

    @property
    def _scores(self) -> tuple[Part, ...]:
        rest = self.tails.shape[1]
        return self._bounds.part, Part(1, rest, rest, codes=True)

    def at_least(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Int64s]:
        """Every row of a prefix whose exact inner product reaches the query's bound; see `FlatIndex.at_least`."""
        found: list[Int64s] = []
        rows = _Rows.of(self)
        # Rounded down, so that turning the bound into float32 loses no row, nor does the comparison.
        least = (bound - self.score_error).astype(np.float32)
        least = np.nextafter(np.nextafter(least, np.float32(-np.inf)), np.float32(-np.inf))
        for first in range(0, len(vectors), _GROUP):
            group = slice(first, first + _GROUP)
            above = rows_above(rows, self._queries(vectors[group]), known[group], least[group])
            found += [np.concatenate([np.zeros(0, dtype=np.int64), *pieces]) for pieces in above]
        return found

    @property
    def score_error(self) -> float:
        """s of the text above: the most that a score may be off; the last term is for the rounding in float64."""
        sums = (len(self.directions) + 4) * _UNIT
        longest = MAX_LENGTH + float(self.errors[2])
        return (float(self.errors[2]) + sums / (1 - sums) * longest) * MAX_LENGTH * 1.01 + 1e-12

    def _queries(self, vectors: Floats32) -> DividedQueries:
        count, bounds = self._count, self._bounds
        turned = vectors.astype(np.float64) @ self.directions * self.steps[:-1]
        none = np.zeros((len(vectors), self.heads.shape[1] - count))
        wholes = np.concatenate([turned[:, :count], none, turned[:, count:]], axis=1).astype(np.float32)
        return DividedQueries(bounds.of_queries(vectors), bounds.longest, wholes, bounds.error - self.score_error)

    def _rounded(self, vectors: Vectors) -> tuple[Floats64, Bytes, Bytes] | None:
        """Errors, heads and tails of vectors; None if a coordinate lies beyond the steps."""
        count, bounds = self._count, self._bounds
        heads, tails = (np.empty((len(vectors), each.shape[1]), dtype=np.uint8) for each in (self.heads, self.tails))
        errors = np.zeros(3)
        for start in range(0, len(vectors), SLICE):
            part = slice(start, start + SLICE)
            left = vectors[part].astype(np.float64)
            off = bounds.rounded(left, heads[part])
            rest = None if off is None else rounded_along(left, self.directions[:, count:], self.steps[count:-1])
            if off is None or rest is None:
                return None
            tails[part] = rest[0] + OFFSET
            np.maximum(errors, [*off, lengths_of(left).max()], out=errors)
        return errors, heads, tails


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The `DividedRows` of one search, decoded into room of its own."""

    scan: QuantisedScan
    room: list[Floats32]

    @classmethod
    def of(cls, scan: QuantisedScan) -> Self:
        return cls(scan, [])

    def heads(self, start: int, stop: int) -> Floats32:
        width = self.scan.heads.shape[1]
        out = self._room(stop - start, width + 1)
        np.subtract(self.scan.heads[start:stop], np.float32(OFFSET), out=out[:, :width])
        out[:, width] = 1
        return out

    def take(self, rows: Int64s, out: Floats32) -> None:
        width = self.scan.heads.shape[1]
        for codes, part in ((self.scan.heads, out[:, :width]), (self.scan.tails, out[:, width:])):
            if part.size:
                # Each row as one thing, which NumPy copies faster than its numbers.
                whole = codes.view(np.dtype((np.void, codes.shape[1])))[:, 0]
                part[:] = np.take(whole, rows, mode="clip").view(np.uint8).reshape(part.shape)
        out -= OFFSET

    def _room(self, count: int, width: int) -> Floats32:
        """Room for so many rows; that of the call before, if it is enough, as new room costs as much as to decode."""
        if not self.room or len(self.room[0]) < count:
            self.room[:] = [np.empty((count, width), dtype=np.float32)]
        return self.room[0][:count]
