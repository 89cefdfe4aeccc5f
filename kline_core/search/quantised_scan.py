"""The exact scan of vectors that are not in memory: their coordinates in 8 bits are, and tell which rows to read.

Vectors are turned to their principal directions, and each coordinate is rounded to a whole number of steps, -127 to
127, one step for each direction. With H all directions, x = H a + e, where a are the rounded coordinates, and y the
query, the score of a row is a product of its rounded coordinates alone:

    |x y - a (H'y)| = |e y| <= E L                                                  (Cauchy-Schwarz)

where E is the longest e of all rows, which is measured, and L (`MAX_LENGTH`) the longest vector. So no row's exact
similarity is above its score by more than s = E L and the rounding of the sum, and what is proposed is ranked by its
exact similarity elsewhere (`kline_core.search.candidates`).

Most rows are left out by the first r coordinates alone, as in `kline_core.search.principal_scan`. With the first r
directions H, x = H a + g and y = H b + f, where g holds what the rounding took as well,

    x y - a b - g f = a (H'f) + b (H'g) + a D b,    |H'g| <= G + |D| |a|,    G = max |H'x - a|

G and D = H'H - I are measured, and the lengths |g| stand beside the coordinates, rounded up to whole steps. c, which is
G L and the rounding of the product (n = r + 2 numbers; those of a query are rounded once more when they are multiplied
with the steps), covers the right-hand side. A row is left out if a b + |g| |f| + c <= t + s, where t is the `count`-th
best score: then its exact similarity is no more than t + s either, which is the bound that all other rows keep.

A vector of d numbers takes d + 2 bytes, of which a scan reads r + 2 from one end to the other: decoded to float32, for
all queries at once, block by block.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Self

import numpy as np

from kline_core.patterns.mapped_vectors import Vectors
from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search.bounded_scan import DividedQueries, best_rows, first_layout, rows_above
from kline_core.search.principal_scan import principal
from kline_core.search.scan_code import Layout, Part
from kline_core.search.scan_kernel import CompiledScan, RowArrays
from kline_core.typing import Floats32, Floats64, Int8s, Int64s

_MOST = 127
_SPARE = 1.0625
"""Times the largest coordinate that the steps reach, so that hardly any later row lies beyond."""
_SLICE = 8192
"""Vectors that are rounded at a time."""
_GROUP = 16
"""Queries whose rows above a bound are collected at a time."""
_UNIT = 2.0**-24


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedScan(CompiledScan):
    """The rounded coordinates of vectors; read-only, and safe to share between threads."""

    directions: Floats64
    """float64 (d, d): principal directions."""
    steps: Floats64
    """float64 (d + 1,): step of each coordinate, and of the lengths |g|."""
    errors: Floats64
    """float64 (2,): E and G of the text above."""
    heads: Int8s
    """int8 (P, r + 2): the first coordinates, the length |g|, and 1; r is 0 if bounds would save too little."""
    tails: Int8s
    """int8 (P, d - r): the other coordinates."""

    @classmethod
    def of(cls, vectors: Vectors) -> Self:
        """Round vectors, (P, d), along their own principal directions."""
        directions, count = principal(vectors)
        largest = np.zeros(len(directions))
        for start in range(0, len(vectors), _SLICE):
            # In float32, twice whose rounding is added.
            turned = vectors[start : start + _SLICE] @ directions.astype(np.float32)
            np.maximum(largest, np.abs(turned).max(axis=0), out=largest)
        steps = (largest * _SPARE + 2 * (len(directions) + 2) * _UNIT) / _MOST
        # No length |g| can be more, since no coordinate is rounded by more than half a step.
        longest = MAX_LENGTH + float(np.linalg.norm(steps[:count])) / 2
        steps = np.append(steps, longest * (1 + 1e-6) / _MOST)
        empty = np.zeros((0, count + 2), dtype=np.int8), np.zeros((0, len(directions) - count), dtype=np.int8)
        rounded = cls(directions, steps, np.zeros(2), *empty)._rounded(vectors)
        assert rounded is not None
        return cls(directions, steps, *rounded)

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
    def bounded(self) -> bool:
        """Whether there are bounds at all."""
        return int(self.heads.shape[1]) > 2

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `FlatIndex.nearest`.

        Nothing but rounding is lost: no other row's exact similarity is above its query's `floor`.
        """
        arrays, queries = RowArrays(self.heads, self.tails), self._queries(vectors)
        rows, lowest = best_rows(arrays, *self._parts, queries, known, count)
        return rows, np.where(known <= count, -np.inf, lowest.astype(np.float64) + self.score_error)

    @property
    def layout(self) -> Layout:
        """See `CompiledScan`."""
        return first_layout(*self._parts)

    @property
    def _parts(self) -> tuple[Part | None, tuple[Part, ...]]:
        """What bounds, if there are any, and scores are made of."""
        width, rest = self.heads.shape[1], self.tails.shape[1]
        bounds = Part(0, width, width - 1, codes=True) if self.bounded else None
        return bounds, (Part(0, width, width, codes=True), Part(1, rest, rest, codes=True))

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
        longest = MAX_LENGTH + float(self.errors[0])
        return (float(self.errors[0]) + sums / (1 - sums) * longest) * MAX_LENGTH * 1.01 + 1e-12

    @property
    def _bound_error(self) -> float:
        """c of the text above."""
        count = self.heads.shape[1] - 2
        directions = self.directions[:, :count]
        askew = float(np.linalg.norm(directions.T @ directions - np.eye(count))) + 1e-12
        off = float(self.errors[1])
        longest = MAX_LENGTH + 2 * off + float(self.steps[-1])
        sums = (count + 4) * _UNIT / (1 - (count + 4) * _UNIT) * sqrt((MAX_LENGTH**2 + 9) * (longest**2 + 1))
        return float((off * MAX_LENGTH + sums + 4 * _UNIT + 3 * askew * longest * MAX_LENGTH) * 1.01 + 1e-12)

    def _queries(self, vectors: Floats32) -> DividedQueries:
        count = self.heads.shape[1] - 2
        exact = vectors.astype(np.float64)
        turned = exact @ self.directions
        exact -= turned[:, :count] @ self.directions[:, :count].T
        left = np.sqrt(np.einsum("ij,ij->i", exact, exact)) * (1 + 2.0**-22) + 1e-9
        whole = (turned * self.steps[:-1]).astype(np.float32)
        none = np.zeros((len(vectors), 2), dtype=np.float32)
        heads = np.concatenate([whole[:, :count], none], axis=1)
        heads[:, -2] = left * self.steps[-1]
        wholes = np.concatenate([whole[:, :count], none, whole[:, count:]], axis=1)
        return DividedQueries(heads, wholes, self._bound_error - self.score_error)

    def _rounded(self, vectors: Vectors) -> tuple[Floats64, Int8s, Int8s] | None:
        """Errors, heads and tails of vectors; None if a coordinate lies beyond the steps."""
        count, steps = self.heads.shape[1] - 2, self.steps[:-1]
        heads = np.ones((len(vectors), count + 2), dtype=np.int8)
        tails = np.empty((len(vectors), len(steps) - count), dtype=np.int8)
        errors = np.zeros(2)
        for start in range(0, len(vectors), _SLICE):
            part = slice(start, start + _SLICE)
            exact = vectors[part].astype(np.float64)
            turned = exact @ self.directions
            whole = np.rint(turned / steps)
            if (np.abs(whole) > _MOST).any():
                return None
            rounded = whole * steps
            head = turned[:, :count] - rounded[:, :count]
            exact -= rounded[:, :count] @ self.directions[:, :count].T
            lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
            exact -= rounded[:, count:] @ self.directions[:, count:].T
            longest = [float(np.sqrt(np.einsum("ij,ij->i", each, each)).max()) for each in (exact, head)]
            np.maximum(errors, longest, out=errors)
            heads[part, :count], tails[part] = whole[:, :count], whole[:, count:]
            # More is added than the rounding of these sums can take away.
            heads[part, count] = np.ceil(lengths * ((1 + 1e-9) / self.steps[-1]) + 1e-9)
        return errors, heads, tails


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The `DividedRows` of one search, decoded into room of its own."""

    scan: QuantisedScan
    room: dict[str, Any]

    @classmethod
    def of(cls, scan: QuantisedScan) -> Self:
        return cls(scan, {})

    @property
    def bounded(self) -> bool:
        return self.scan.bounded

    def heads(self, start: int, stop: int) -> Floats32:
        out = self._room("heads", stop - start, self.scan.heads.shape[1])
        out[:] = self.scan.heads[start:stop]
        return out

    def wholes(self, start: int, stop: int) -> Floats32:
        width = self.scan.heads.shape[1]
        out = self._room("wholes", stop - start, width + self.scan.tails.shape[1])
        out[:, :width], out[:, width:] = self.scan.heads[start:stop], self.scan.tails[start:stop]
        return out

    def take(self, rows: Int64s, out: Floats32) -> None:
        width = self.scan.heads.shape[1]
        for codes, part in ((self.scan.heads, out[:, :width]), (self.scan.tails, out[:, width:])):
            if part.size:
                # Each row as one thing, which NumPy copies faster than its numbers.
                whole = codes.view(np.dtype((np.void, codes.shape[1])))[:, 0]
                part[:] = np.take(whole, rows, mode="clip").view(np.int8).reshape(part.shape)

    def _room(self, name: str, count: int, width: int) -> Floats32:
        """Room for so many rows; that of the call before, if it is enough, as new room costs as much as to decode."""
        held = self.room.get(name)
        if held is None or len(held) < count:
            held = self.room[name] = np.empty((count, width), dtype=np.float32)
        out: Floats32 = held[:count]
        return out
