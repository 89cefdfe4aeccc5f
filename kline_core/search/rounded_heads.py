"""Vectors as whole numbers of 8 bits along their principal directions, by which a scan leaves most rows out.

The vectors of charts vary far more in some directions than in others. With H the first r principal directions, each
vector is x = H a + g: a are its coordinates along them, rounded to whole numbers of steps, -127 to 127, one step for
each direction; they are its head. g is what is left, its tail, and holds what the rounding took as well. With a query
y = H b + f, which is not rounded,

    x y - a b - g f = a (H'f) + b (H'g) + a D b,    |H'g| <= G + |D| |a|,    G = max |H'x - a|

and |g f| <= |g| |f| (Cauchy-Schwarz), so that

    x y <= a b + |g| |f| + c

G and D = H'H - I are measured. The lengths |g| stand beside the coordinates, rounded up to whole steps, so that the
bound is one short product of whole numbers p with b and |f|, times the steps. A row whose bound is not above the
`count`-th best score of a query cannot be among its best ones; the few others are scored in full.

c is G L, where L (`MAX_LENGTH`) is the longest vector, what D makes, and the rounding where the product is made in
float32. With n = r + 1 numbers, those of a query rounded once more when they are multiplied with the steps, and the
score t to be beaten, |t| <= 3, added in float32, it is off by (n + 3) u / (1 - (n + 3) u) |(b, |f|, t)| |(a, |g|, 1)|
at most (Higham, see `FlatIndex.score_error`). Where the query's numbers are rounded to whole ones too, the sum is
exact, and the bound is raised by what they are off (`DividedQueries.whole`).

H needs neither to be exact nor to suit the rows: later ones are divided by the same, and where it suits them less, more
rows are scored.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from kline_core._growing import followed_by, with_room
from kline_core.patterns.mapped_vectors import Vectors
from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search.scan_layout import MOST, OFFSET, Part
from kline_core.typing import Bytes, Floats32, Floats64

_SAMPLE, _TAILS = 16_384, 1 / 8
"""Rows that the directions are made of, and the share of their squared lengths that tails may hold."""
WIDTH = 16
"""Numbers of a head, with the length of the tail, are filled up to a multiple of this many, which instructions take."""
_SPARE = 1.0625
"""Times the largest coordinate that the steps reach, so that hardly any later row lies beyond."""
SLICE = 8192
"""Vectors that are rounded at a time."""
_UNIT = 2.0**-24


@dataclass(frozen=True, slots=True, eq=False)
class RoundedHeads:
    """Heads of vectors, and the lengths of their tails; read-only, and safe to share between threads."""

    directions: Floats64
    """float64 (d, r): principal directions."""
    steps: Floats64
    """float64 (r + 1,): step of each coordinate, and of the lengths |g|."""
    errors: Floats64
    """float64 (2,): G of the text above, and the length of the longest row of whole numbers."""
    codes: Bytes
    """uint8 (P, n), n the multiple of `WIDTH` from r + 1 on: whole numbers of coordinates, |g| and zeros, each with
    `OFFSET` added."""

    @classmethod
    def of(cls, vectors: Vectors) -> "RoundedHeads":
        """Round vectors, (P, d), along their own principal directions."""
        every, count = principal(vectors)
        directions = np.ascontiguousarray(every[:, :count])
        steps = with_length(steps_of(vectors, directions))
        empty = cls(directions, steps, np.zeros(2), np.zeros((0, head_width(count)), dtype=np.uint8))
        heads = empty.followed_by(vectors)
        assert heads is not None
        return heads

    def followed_by(self, vectors: Vectors) -> "RoundedHeads | None":
        """The heads of these vectors and then others; None if one of these lies beyond the steps."""
        codes = with_room(np.uint8, (len(vectors), self.codes.shape[1]))
        errors = self.errors
        for start in range(0, len(vectors), SLICE):
            part = slice(start, start + SLICE)
            more = self.rounded(vectors[part].astype(np.float64), codes[part])
            if more is None:
                return None
            errors = np.maximum(errors, more)
        codes = followed_by(self.codes, codes) if len(self.codes) else codes
        return RoundedHeads(self.directions, self.steps, errors, codes)

    def rounded(self, vectors: Floats64, codes: Bytes) -> Floats64 | None:
        """Write the heads of vectors, float64 (n, d), of which their tails are left.

        Returns what `errors` holds of these, or None if one lies beyond the steps.
        """
        count = self.directions.shape[1]
        found = rounded_along(vectors, self.directions, self.steps[:count])
        if found is None:
            return None
        whole, off = found
        numbers = np.zeros((len(vectors), codes.shape[1]))
        numbers[:, :count] = whole
        # More is added than the rounding of these sums can take away.
        numbers[:, count] = np.ceil(lengths_of(vectors) * ((1 + 1e-9) / self.steps[-1]) + 1e-9)
        codes[:] = numbers + OFFSET
        return np.array([off.max(initial=0.0), lengths_of(numbers).max(initial=0.0)])

    def of_queries(self, vectors: Floats32) -> Floats64:
        """What the whole numbers of rows are multiplied with: float64 (q, n)."""
        exact, count = vectors.astype(np.float64), self.directions.shape[1]
        heads = np.zeros((len(vectors), self.codes.shape[1]))
        coordinates = exact @ self.directions
        heads[:, :count] = coordinates * self.steps[:count]
        exact -= coordinates @ self.directions.T
        heads[:, count] = (lengths_of(exact) * (1 + 2.0**-22) + 1e-9) * self.steps[-1]
        return heads

    @property
    def part(self) -> Part:
        """How the codes lie in memory, as the first array of rows."""
        width = self.codes.shape[1]
        return Part(0, width, width, codes=True)

    @property
    def longest(self) -> float:
        """Length that no row of whole numbers is above."""
        return float(self.errors[1])

    @property
    def error(self) -> float:
        """c of the text above; the last factor and term are for its own rounding, and for underflow."""
        count = self.directions.shape[1]
        askew = float(np.linalg.norm(self.directions.T @ self.directions - np.eye(count))) + 1e-12
        off = float(self.errors[0])
        longest = MAX_LENGTH + 2 * off + float(self.steps[-1])
        sums = (count + 4) * _UNIT / (1 - (count + 4) * _UNIT) * sqrt((MAX_LENGTH**2 + 9) * (longest**2 + 1))
        return float((off * MAX_LENGTH + sums + 4 * _UNIT + 3 * askew * longest * MAX_LENGTH) * 1.01 + 1e-12)


def principal(rows: Vectors) -> tuple[Floats64, int]:
    """All principal directions of vectors, float64 (d, d), first the one in which they vary most.

    And the number of the first ones that leave little to tails.
    """
    sample = rows[:: max(1, len(rows) // _SAMPLE)].astype(np.float64)
    lengths, directions = np.linalg.eigh(sample.T @ sample)
    needed = int((np.cumsum(lengths) > _TAILS * lengths.sum()).sum())
    return np.ascontiguousarray(directions[:, ::-1]), min(len(lengths), head_width(needed) - 1)


def head_width(count: int) -> int:
    """Numbers of a head of so many coordinates, with the length of the tail, filled up."""
    return -(-(count + 1) // WIDTH) * WIDTH


def steps_of(vectors: Vectors, directions: Floats64) -> Floats64:
    """Steps along directions that vectors, (P, d), take as whole numbers: float64 (r,)."""
    largest, short = np.zeros(directions.shape[1]), directions.astype(np.float32)
    for start in range(0, len(vectors), SLICE):
        # In float32, twice whose rounding is added.
        turned = vectors[start : start + SLICE] @ short
        np.maximum(largest, np.abs(turned).max(axis=0), out=largest)
    steps: Floats64 = (largest * _SPARE + 2 * (len(directions) + 2) * _UNIT) / MOST
    return steps


def with_length(steps: Floats64) -> Floats64:
    """Steps of coordinates, and of the lengths of what is left of a vector without them."""
    # No such length can be more, since no coordinate is rounded by more than half a step.
    longest = MAX_LENGTH + float(np.linalg.norm(steps)) / 2
    return np.append(steps, longest * (1 + 1e-6) / MOST)


def rounded_along(vectors: Floats64, directions: Floats64, steps: Floats64) -> tuple[Floats64, Floats64] | None:
    """Whole numbers of vectors along directions, (n, r), and how far they are off, (n,); None if one is beyond.

    What they stand for is taken from the vectors, float64 (n, d).
    """
    turned = vectors @ directions
    whole = np.rint(turned / steps)
    if (np.abs(whole) > MOST).any():
        return None
    rounded = whole * steps
    vectors -= rounded @ directions.T
    turned -= rounded
    return whole, lengths_of(turned)


def lengths_of(vectors: Floats64) -> Floats64:
    """Length of each vector: float64 (n,)."""
    lengths: Floats64 = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return lengths
