"""The exact scan of many queries at once: 8-bit matrix products propose, and a proven bound says what they may miss.

Vectors are rounded to whole numbers of -127 to 127, one scale for all rows and one for each query. Products of whole
numbers are exact, and a processor with instructions for them makes them several times as fast as float32 ones. The
rounding is undone by bounds, not by hope: with x = s p + e and y = t q + f, where p and q are the whole numbers,

    |x y - s t p q| = |e y + s p f| <= |e| |y| + (|x| + |e|) |f|            (Cauchy-Schwarz)

and the lengths |e| and |f| are known. So no row whose 8-bit score is far enough below can be among the best ones, and
what is proposed is ranked by its exact similarity elsewhere (`kline_core.search`).

1. Rows are taken in blocks, for all queries that may see at least the first of them.
2. A score above its query's bar is a hit. The bar is the lowest of the `count` best scores so far, so hits become rare,
   and only cells whose highest score is above the bar are put by.
3. Whenever the rows seen have doubled, those cells are looked into. Hits outside the query's prefix are dropped, the
   best `count` are kept and the bars raised.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from kline_core.patterns import MAX_LENGTH, Doubles, Floats, Rows

Whole = NDArray[np.int32]

_BLOCK, _CELL = 1024, 64
"""Rows of one product of `_FULL` queries or more, and of one cell of it."""
_FULL = 1024
"""Fewer queries take more rows at a time, so that threads that share the queries make no more products than one."""
_GROUP = 8
"""Queries are taken in whole groups, so that products come in few shapes, each of which the library prepares for."""
_WIDTH = 4
"""Dimensions are filled up with zeros to a multiple of this many, as processors take them."""
_MOST = 127
_SLICE = 65_536
_LOWEST = np.iinfo(np.int32).min


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """The rounded vectors of an index; read-only, and safe to share between threads."""

    codes: Any
    """int8 torch tensor (P rounded up to whole blocks, d rounded up to a multiple of 4)."""
    scale: float
    """Similarity of one step in one dimension."""
    error: float
    """Longest of the rows' rounding errors |e|."""

    @classmethod
    def of(cls, rows: Floats) -> Self:
        """Round vectors, float32 (P, d)."""
        codes = _zeros(len(rows), _BLOCK, rows.shape[1])
        scale = _largest(rows) / _MOST or 1.0
        error = _round(rows, scale, codes)
        return cls(torch.from_numpy(codes), scale, error)

    def followed_by(self, vectors: Floats, rows: Floats) -> "Scan":
        """The rounded vectors of `rows`, of which `vectors` are the last and these the ones before."""
        had = len(rows) - len(vectors)
        if had == 0 or _largest(vectors) > _MOST * self.scale:
            return Scan.of(rows)
        codes = _zeros(len(rows), _BLOCK, rows.shape[1])
        codes[:had] = self.codes.numpy()[:had]
        error = _round(vectors, self.scale, codes[had:])
        return Scan(torch.from_numpy(codes), self.scale, max(self.error, error))

    def nearest(self, vectors: Floats, known: Rows, count: int) -> tuple[Rows, Doubles]:
        """Propose rows of a prefix for each query; arguments and result as of `PatternIndex.nearest`.

        Nothing but rounding is lost: no other row's exact similarity is above its query's `floor`.
        """
        scales, errors, queries = self._rounded(vectors)
        block = _BLOCK * -(-_FULL // max(1, len(queries)))
        cells, limits = block // _CELL, known.tolist()
        best = _Best(known, count, len(queries) * cells)
        scores = torch.empty(len(queries) * block, dtype=torch.int32)
        tops = torch.empty(len(queries) * cells, dtype=torch.int32)
        merged, total = _CELL, limits[-1] if limits else 0
        for start, codes in _blocks(self.codes, total, block):
            # Those before `first` have seen all they may.
            first = bisect_right(limits, start) // _GROUP * _GROUP
            left, rows = len(queries) - first, len(codes)
            cells = rows // _CELL
            product, top = scores[: left * rows], tops[: left * cells]
            torch._int_mm(queries[first:], codes.T, out=product.view(left, rows))
            torch.amax(product.view(left * cells, _CELL), 1, out=top)
            cell = np.flatnonzero(top.numpy().reshape(left, cells)[: len(vectors) - first] > best.bar[first:, None])
            if len(cell):
                best.add(first + cell // cells, start + cell % cells * _CELL, product.numpy().reshape(-1, _CELL), cell)
            if start + rows >= merged:
                best.merge()
                merged = max(merged, 2 * start)
        best.merge()
        floor = best.bar * (self.scale * scales) + errors
        return best.row, np.where(known <= count, -np.inf, floor)

    def _rounded(self, vectors: Floats) -> tuple[Doubles, Doubles, Any]:
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
        return scales, most, torch.from_numpy(codes)


def _blocks(codes: Any, total: int, most: int) -> Iterator[tuple[int, Any]]:
    """Rows from 0 to `total` in whole steps, few at first, since all of them are hits: where each begins, and codes."""
    start, rows = 0, _CELL
    while start < total:
        yield start, codes[start : start + rows]
        start += rows
        rows = min(most, 2 * rows)


class _Best:
    """The `count` best hits of each of q queries, which may see rows `0:known`."""

    def __init__(self, known: Rows, count: int, room: int) -> None:
        self.bar = np.full(len(known), _LOWEST, dtype=np.int32)
        """int32 (q,): a score must be above it to be of interest."""
        self.row = np.full((len(known), count), -1, dtype=np.int64)
        """int64 (q, count), in no order; -1 for none."""
        self._known = known
        self._score = np.full((len(known), count), _LOWEST, dtype=np.int32)
        # Cells that wait to be looked into. The room is made once: memory that is asked for and given back all the
        # time costs threads that do so at once a fifth of their time.
        self._number = 0
        self._query, self._first = np.empty((2, room), dtype=np.int64)
        self._cells = np.empty((room, _CELL), dtype=np.int32)

    def add(self, query: Rows, first: Rows, scores: Whole, cell: Rows) -> None:
        """Take in cells that hold hits, at most `room`: of each its query, its first row, and its place in `scores`."""
        if self._number + len(cell) > len(self._cells):
            self.merge()
        new = slice(self._number, self._number + len(cell))
        self._query[new], self._first[new] = query, first
        # With the mode that is left out, NumPy would make a copy first, to be able to refuse a place that is not there.
        np.take(scores, cell, axis=0, out=self._cells[new], mode="clip")
        self._number = new.stop

    def merge(self) -> None:
        """Keep the best, and raise the bars."""
        if self._number == 0:
            return
        waiting, self._number = slice(0, self._number), 0
        cell_query, cell_row, scores = self._query[waiting], self._first[waiting], self._cells[waiting]
        hit = np.flatnonzero(scores > self.bar[cell_query, None])
        which = hit // _CELL
        query, row = cell_query[which], cell_row[which] + hit % _CELL
        inside = row < self._known[query]
        queries, count = self.row.shape
        query = np.concatenate([query[inside], np.repeat(np.arange(queries), count)])
        row = np.concatenate([row[inside], self.row.ravel()])
        score = np.concatenate([scores.ravel()[hit[inside]], self._score.ravel()])
        # By query, and the highest score first: scores fill 32 bits. Stable for its speed, as much of it is in order.
        order = np.argsort((query << 32) - score, kind="stable")
        every = np.bincount(query, minlength=queries)
        best = order[(np.cumsum(every) - every)[:, None] + np.arange(count)]
        self.row, self._score = row[best], score[best]
        self.bar = self._score[:, -1]


def _zeros(count: int, step: int, dim: int) -> NDArray[np.int8]:
    """Room for `count` vectors, in whole steps."""
    return np.zeros((-(-count // step) * step, -(-dim // _WIDTH) * _WIDTH), dtype=np.int8)


def _largest(vectors: Floats) -> float:
    return float(max(vectors.max(initial=0.0), -vectors.min(initial=0.0)))


def _round(vectors: Floats, scale: float, codes: NDArray[np.int8]) -> float:
    """Write vectors into the first of `codes`; the longest rounding error."""
    error = 0.0
    for start in range(0, len(vectors), _SLICE):
        part = vectors[start : start + _SLICE].astype(np.float64)
        rounded = np.rint(part / scale)
        codes[start : start + len(part), : vectors.shape[1]] = rounded
        error = max(error, float(np.linalg.norm(part - scale * rounded, axis=1).max()))
    return error


def worth_it(dim: int) -> bool:
    """Whether this machine is known to make 8-bit products several times as fast as float32 ones, and makes them right.

    Asked of the processor rather than timed: a busy machine would give now this answer, now that. Speed alone depends
    on it. Measured on an AMD EPYC of the fourth generation, 600 x 1024 rows of 64 numbers: 398 against 96 billion
    operations a second on one core.
    """
    if not torch.cpu.get_capabilities().get("avx512_vnni", False):
        return False
    numbers = np.arange(_BLOCK * _WIDTH * -(-dim // _WIDTH)) * 37 % (2 * _MOST + 1) - _MOST
    whole = torch.from_numpy(numbers.astype(np.int8).reshape(_BLOCK, -1))
    # Sums of whole numbers below 2**53 are exact in float64. Of several shapes, which may be left to different code.
    exact = whole.numpy().astype(np.float64) @ whole.numpy().astype(np.float64).T
    return all(
        np.array_equal(torch._int_mm(whole[:queries], whole[:rows].T).numpy(), exact[:queries, :rows])
        for queries, rows in ((_GROUP, _BLOCK), (_GROUP, _CELL), (5 * _GROUP, _BLOCK), (_BLOCK, _BLOCK))
    )
