"""The exact scan of many queries at once in 8 bits, for processors that multiply such numbers four at a time.

Vectors are rounded to whole numbers of -127 to 127, one scale for all rows and one for each query. Sums of products of
whole numbers are exact, and instructions for them make them several times as fast as float32 ones. The rounding is
undone by bounds, not by hope: with x = s p + e and y = t q + f, where p and q are the whole numbers,

    |x y - s t p q| = |e y + s p f| <= |e| |y| + (|x| + |e|) |f|            (Cauchy-Schwarz)

and the lengths |e| and |f| are known. So a row whose 8-bit score is far enough below the `count`-th best score of a
query cannot be among its best ones. The others are scored in full (`kline_core.search.scan_code`), and what is proposed
is ranked by its exact similarity elsewhere (`kline_core.search.candidates`).

The instructions multiply numbers with a sign by numbers without one. So 128 is added to those of a query, and 128 times
the sum of a row's numbers taken from the result.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core._growing import followed_by, with_room
from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search.scan_code import Layout, Part
from kline_core.search.scan_kernel import CompiledScan, RowArrays, Search, has_dots, kernel, layout
from kline_core.typing import Floats32, Floats64, Int8s, Int32s, Int64s

_WIDTH = 4
"""Dimensions are filled up with zeros to a multiple of this many, which is what one instruction adds up."""
_MOST, _OFFSET = 127, 128
_EXACT_DIM = 2**30 // (_MOST * (_MOST + _OFFSET))
"""Dimensions up to which every sum is within 32 bits."""
_NOTHING = -(2**30)
"""More to beat than any query can."""
_SLICE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Int8Scan(CompiledScan):
    """The rounded vectors of an index; read-only, and safe to share between threads."""

    rows: Floats32
    """float32 (P, d): the vectors."""
    codes: Int8s
    """int8 (P, d rounded up to a multiple of 4)."""
    sums: Int32s
    """int32 (P,): 128 times the sum of a row's codes."""
    scale: float
    """Similarity of one step in one dimension."""
    error: float
    """Longest of the rows' rounding errors |e|."""

    @classmethod
    def of(cls, rows: Floats32) -> Self:
        """Round vectors, float32 (P, d)."""
        scale = _scale(rows)
        codes, sums, error = _rounded(rows, scale)
        return cls(rows, codes, sums, scale, error)

    def followed_by(self, vectors: Floats32, rows: Floats32) -> "Int8Scan":
        """The rounded vectors of `rows`, of which `vectors` are the last and these the ones before."""
        if len(self.rows) == 0 or _largest(vectors) > _MOST * self.scale:
            return Int8Scan.of(rows)
        codes, sums, error = _rounded(vectors, self.scale)
        return Int8Scan(
            rows,
            followed_by(self.codes, codes),
            followed_by(self.sums, sums),
            self.scale,
            max(self.error, error),
        )

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `FlatIndex.nearest`."""
        scales, errors, codes = self._queries(vectors)
        search, loops = Search.of(vectors, known, count), kernel(self.layout)
        panels = search.panels((codes.astype(np.int16) + _OFFSET).astype(np.uint8).view(np.int32))
        beat = np.full(len(search.limits), -_NOTHING, dtype=np.int32)
        beat[: search.spare] = _NOTHING
        off, steps = np.zeros(len(beat)), np.ones(len(beat))
        off[search.spare :], steps[search.spare :] = errors, 1 / (self.scale * scales)
        arrays = RowArrays(self.codes, self.rows, self.sums)
        for block in search.blocks():
            search.go(loops, arrays, panels, beat, block, errors=off, steps=steps)
        return search.best, np.where(known <= count, -np.inf, search.lowest.astype(np.float64))

    @property
    def layout(self) -> Layout:
        """See `CompiledScan`."""
        dim, width = self.rows.shape[1], self.codes.shape[1]
        return layout((Part(0, width, width, codes=True),), (Part(1, dim, dim),), dots=True)

    def _queries(self, vectors: Floats32) -> tuple[Floats64, Floats64, Int8s]:
        """Of each query its scale, the most that its scores are off, and codes."""
        exact = vectors.astype(np.float64)
        scales = np.abs(exact).max(axis=1, initial=0.0) / _MOST
        scales[scales == 0] = 1.0
        rounded = np.rint(exact / scales[:, None])
        errors = np.linalg.norm(exact - scales[:, None] * rounded, axis=1)
        codes = _zeros(vectors)
        codes[:, : vectors.shape[1]] = rounded
        # The last factor and term are for the rounding of these very sums; that of the lengths, which were checked in
        # float32, is within the score error that the search adds.
        most = (self.error * MAX_LENGTH + (MAX_LENGTH + self.error) * errors) * (1 + 1e-9) + 1e-12
        return scales, most, codes


def _zeros(vectors: Floats32) -> Int8s:
    """Zeros for the codes of vectors."""
    return with_room(np.int8, (len(vectors), -(-vectors.shape[1] // _WIDTH) * _WIDTH))


def _largest(vectors: Floats32) -> float:
    return float(max(vectors.max(initial=0.0), -vectors.min(initial=0.0)))


def _scale(rows: Floats32) -> float:
    """A float32 number by which all codes of these rows are within the most there can be."""
    return float(np.float32(_largest(rows) / _MOST)) or 1.0


def _rounded(vectors: Floats32, scale: float) -> tuple[Int8s, Int32s, float]:
    """Codes of vectors, 128 times their sums, and the longest rounding error."""
    codes, squares = _zeros(vectors), 0.0
    step, dim = np.float32(scale), vectors.shape[1]
    for start in range(0, len(vectors), _SLICE):
        part = vectors[start : start + _SLICE]
        whole = np.rint(part / step)
        codes[start : start + _SLICE, :dim] = whole
        whole *= step
        np.subtract(part, whole, out=whole)
        squares = max(squares, float(np.einsum("ij,ij->i", whole, whole).max()))
    sums: Int32s = codes.sum(axis=1, dtype=np.int32) * np.int32(_OFFSET)
    # More is added than float32 can have lost: two roundings of each number, and those of the sum of squares.
    return codes, sums, squares**0.5 * (1 + (dim + 4) * 2.0**-23) + dim**0.5 * 2.0**-22


def int8_pays(dim: int) -> bool:
    """Whether this machine makes products of 8 bits faster than float32 ones of the principal directions.

    Asked of the processor rather than timed: a busy machine would give now this answer, now that. Speed alone depends
    on it, and `kline_core._processor.LEAVE_OUT` can deny it. Measured on an Intel Xeon of the fifth generation, of 64
    dimensions: 0.44 ns a pair with AVX-512 VNNI, 0.83 in float32; in vectors of half the length 0.63 and 1.18.
    """
    return dim <= _EXACT_DIM and has_dots()
