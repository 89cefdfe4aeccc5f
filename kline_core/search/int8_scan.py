"""The exact scan of many queries at once: 8-bit matrix products propose, and a proven bound says what they may miss.

Vectors are rounded to whole numbers of -127 to 127, one scale for all rows and one for each query. Products of whole
numbers are exact, and a processor with instructions for them makes them several times as fast as float32 ones. The
rounding is undone by bounds, not by hope: with x = s p + e and y = t q + f, where p and q are the whole numbers,

    |x y - s t p q| = |e y + s p f| <= |e| |y| + (|x| + |e|) |f|            (Cauchy-Schwarz)

and the lengths |e| and |f| are known. So no row whose 8-bit score is far enough below can be among the best ones, and
what is proposed is ranked by its exact similarity elsewhere (`kline_core.search.candidates`).

1. Rows are taken in blocks, for all queries that may see at least the first of them. A row that a query may not see is
   given the lowest score there is.
2. Of a few rows of a block, which make a cell, only the highest score is kept, and of all cells those with the `count`
   highest ones, in a heap of FAISS's.
3. The rows of these cells are scored again, and the `count` best of them proposed. No other row scores above these: in
   each of the cells is one row at least that scores no less than all rows of any other cell.

Nearly all the time is spent in few and long calls, during which the interpreter's lock is free. Threads that scan at
the same time would otherwise wait for it, and for being woken, a fifth of their time.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, Self

import faiss
import numpy as np

from kline_core._processor import left_out, processor
from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.typing import Floats32, Floats64, Int8s, Int64s

_CELL_ROWS, _BLOCK_CELLS = 8, 128
"""Rows of a cell, and cells of a block. A cell's rows are as far apart as there are cells, so that processors find the
highest scores of many cells at once."""
_BLOCK = _CELL_ROWS * _BLOCK_CELLS
"""Rows of one product of `_FULL` queries or more."""
_FULL = 1024
"""Fewer queries take more rows at a time, so that threads that share the queries make no more products than one."""
_GROUP = 8
"""Queries are taken in whole groups, so that products come in few shapes, each of which the library prepares for."""
_WIDTH = 4
"""Dimensions are filled up with zeros to a multiple of this many, as processors take them."""
_MOST = 127
_EXACT_DIM = 2**24 // _MOST**2
"""Dimensions up to which every sum is a whole number that float32 holds."""
_AT_ONCE = 32_768
"""Rows that are scored again at a time."""
_SLICE = 65_536
_LOWEST = int(np.iinfo(np.int32).min)


@dataclass(frozen=True, slots=True, eq=False)
class Int8Scan:
    """The rounded vectors of an index; read-only, and safe to share between threads."""

    codes: Int8s
    """int8 (P rounded up to whole blocks, d rounded up to a multiple of 4)."""
    scale: float
    """Similarity of one step in one dimension."""
    error: float
    """Longest of the rows' rounding errors |e|."""

    @classmethod
    def of(cls, rows: Floats32) -> Self:
        """Round vectors, float32 (P, d)."""
        codes = _zeros(len(rows), _BLOCK, rows.shape[1])
        scale = _largest(rows) / _MOST or 1.0
        error = _round(rows, scale, codes)
        return cls(codes, scale, error)

    def followed_by(self, vectors: Floats32, rows: Floats32) -> "Int8Scan":
        """The rounded vectors of `rows`, of which `vectors` are the last and these the ones before."""
        had = len(rows) - len(vectors)
        if had == 0 or _largest(vectors) > _MOST * self.scale:
            return Int8Scan.of(rows)
        codes = _zeros(len(rows), _BLOCK, rows.shape[1])
        codes[:had] = self.codes[:had]
        error = _round(vectors, self.scale, codes[had:])
        return Int8Scan(codes, self.scale, max(self.error, error))

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `FlatIndex.nearest`.

        Nothing but rounding is lost: no other row's exact similarity is above its query's `floor`.
        """
        scales, errors, queries = self._rounded(vectors)
        row, score = self._best_rows(queries[: len(vectors)], known, self._best_cells(queries, known, count))
        floor = score * (self.scale * scales) + errors
        return row, np.where(known <= count, -np.inf, floor)

    def _best_cells(self, queries: Int8s, known: Int64s, count: int) -> Int64s:
        """The `count` cells with the highest scores for each query: int64 (q, count), in no order, -1 for none."""
        import torch

        block = _BLOCK * -(-_FULL // max(1, len(queries)))
        limits, columns = known.tolist(), self.codes.T
        scores = np.empty(len(queries) * block, dtype=np.int32)
        tops = np.empty(len(scores) // _CELL_ROWS, dtype=np.int32)
        highest = np.full((len(known), count), _LOWEST, dtype=np.int32)
        cells = np.full((len(known), count), -1, dtype=np.int64)
        heap: Any = faiss.int_minheap_array_t()
        heap.nh, heap.k, heap.val, heap.ids = *highest.shape, faiss.swig_ptr(highest), faiss.swig_ptr(cells)
        # Slices are made by NumPy: torch lets go of the interpreter's lock for each, and threads would queue for it.
        for start in range(0, limits[-1] if limits else 0, block):
            # Those before have seen all they may.
            left = bisect_right(limits, start)
            first = left // _GROUP * _GROUP
            codes = columns[:, start : start + block]
            rows = codes.shape[1]
            product = scores[: (len(queries) - first) * rows].reshape(-1, rows)
            torch._int_mm(torch.from_numpy(queries[first:]), torch.from_numpy(codes), out=torch.from_numpy(product))
            product = product[left - first : len(known) - first]
            for query in range(left, bisect_left(limits, start + rows)):
                product[query - left, limits[query] - start :] = _LOWEST
            blocks = product.reshape(-1, _CELL_ROWS, _BLOCK_CELLS)
            top = tops[: len(blocks) * _BLOCK_CELLS]
            torch.amax(torch.from_numpy(blocks), 1, out=torch.from_numpy(top.reshape(-1, _BLOCK_CELLS)))
            heap.addn(rows // _CELL_ROWS, faiss.swig_ptr(top), start // _CELL_ROWS, left, len(known) - left)
        return cells

    def _best_rows(self, queries: Int8s, known: Int64s, cells: Int64s) -> tuple[Int64s, Floats32]:
        """The best rows of each query's cells, int64 (q, count) and -1 for none, and the lowest of their scores."""
        count = cells.shape[1]
        best, worst = np.empty(cells.shape, dtype=np.int64), np.empty(len(cells), dtype=np.float32)
        # Each row as one thing, which NumPy copies faster than its numbers.
        codes = self.codes.view(np.dtype((np.void, self.codes.shape[1])))[:, 0]
        step = max(1, _AT_ONCE // (_CELL_ROWS * count))
        for start in range(0, len(cells), step):
            part = slice(start, start + step)
            cell = cells[part, :, None]
            # Of no cell, which is -1, all rows are below 0.
            row = (cell // _BLOCK_CELLS * _BLOCK + cell % _BLOCK_CELLS + np.arange(0, _BLOCK, _BLOCK_CELLS)).reshape(
                len(cell), -1
            )
            there = np.take(codes, row, mode="clip").view(np.int8).reshape(*row.shape, -1).astype(np.float32)
            score = np.matmul(there, queries[part].astype(np.float32)[:, :, None])[:, :, 0]
            score[(row < 0) | (row >= known[part, None])] = -np.inf
            place = np.argpartition(score, -count, axis=1)[:, -count:]
            row, score = np.take_along_axis(row, place, axis=1), np.take_along_axis(score, place, axis=1)
            best[part], worst[part] = np.where(score == -np.inf, -1, row), score.min(axis=1)
        return best, worst

    def _rounded(self, vectors: Floats32) -> tuple[Floats64, Floats64, Int8s]:
        """Of each query its scale and the most that its scores are off, and codes, in whole groups."""
        exact = vectors.astype(np.float64)
        scales = np.abs(exact).max(axis=1, initial=0.0) / _MOST
        scales[scales == 0] = 1.0
        rounded = np.rint(exact / scales[:, None])
        errors = np.linalg.norm(exact - scales[:, None] * rounded, axis=1)
        codes = _zeros(len(vectors), _GROUP, vectors.shape[1])
        codes[: len(vectors), : vectors.shape[1]] = rounded
        # The last factor and term are for the rounding of these very sums; that of the lengths, which were checked in
        # float32, is within the score error that the search adds.
        most = (self.error * MAX_LENGTH + (MAX_LENGTH + self.error) * errors) * (1 + 1e-9) + 1e-12
        return scales, most, codes


def _zeros(count: int, step: int, dim: int) -> Int8s:
    """Room for `count` vectors, in whole steps and for one of them at least."""
    return np.zeros((-(-max(1, count) // step) * step, -(-dim // _WIDTH) * _WIDTH), dtype=np.int8)


def _largest(vectors: Floats32) -> float:
    return float(max(vectors.max(initial=0.0), -vectors.min(initial=0.0)))


def _round(vectors: Floats32, scale: float, codes: Int8s) -> float:
    """Write vectors into the first of `codes`; the longest rounding error."""
    error = 0.0
    for start in range(0, len(vectors), _SLICE):
        part = vectors[start : start + _SLICE].astype(np.float64)
        rounded = np.rint(part / scale)
        codes[start : start + len(part), : vectors.shape[1]] = rounded
        error = max(error, float(np.linalg.norm(part - scale * rounded, axis=1).max()))
    return error


def int8_pays(dim: int) -> bool:
    """Whether this machine is known to make 8-bit products several times as fast as float32 ones, and makes them right.

    Asked of the processor rather than timed: a busy machine would give now this answer, now that. Speed alone depends
    on it, and `kline_core._processor.LEAVE_OUT` can deny it. Measured on an AMD EPYC of the fourth generation, 600 x
    1024 rows of 64 numbers: 398 against 96 billion operations a second on one core. On one of the third generation,
    which lacks the instructions, 8-bit products take more than ten times as long as those in float32.
    """
    if dim > _EXACT_DIM or "avx512_vnni" in left_out():
        return False
    # Before torch is asked, which takes longer to import than all else.
    instructions = processor().instructions
    if instructions is not None and "avx512_vnni" not in instructions:
        return False
    import torch

    if not torch.cpu.get_capabilities().get("avx512_vnni", False):
        return False
    numbers = np.arange(_BLOCK * _WIDTH * -(-dim // _WIDTH)) * 37 % (2 * _MOST + 1) - _MOST
    whole = torch.from_numpy(numbers.astype(np.int8).reshape(_BLOCK, -1))
    # Sums of whole numbers below 2**53 are exact in float64. Of several shapes, which may be left to different code.
    exact = whole.numpy().astype(np.float64) @ whole.numpy().astype(np.float64).T
    return all(
        np.array_equal(torch._int_mm(whole[:queries], whole[:rows].T).numpy(), exact[:queries, :rows])
        for queries, rows in ((_GROUP, _BLOCK), (5 * _GROUP, _BLOCK), (_BLOCK, _BLOCK))
    )
