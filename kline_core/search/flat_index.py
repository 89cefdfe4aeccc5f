"""The flat FAISS index: built once from patterns, shared by threads and never changed.

The index is flat, because the search must be exact. It owns the one copy of the vectors; `rows` shows it as an array,
and `attach` makes the patterns use it too. If this machine multiplies 8-bit numbers faster, the index also holds the
vectors rounded to 8 bits: they propose the rows of several queries (`kline_core.search.int8_scan`), FAISS those of a
single one.

A query is always confined to a prefix of the rows, those known on its date. FAISS's scores are float32 and off by up
to `score_error`, differently for every shape of batch: good for proposing rows, not for ranking them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import faiss
import numpy as np

from kline_core.patterns.patterns import MAX_LENGTH, Patterns
from kline_core.search.int8_scan import Int8Scan, int8_pays
from kline_core.typing import Floats32, Floats64, Int64s

_BATCH_FROM = 8
"""Smallest number of queries for which FAISS uses matrix products; for fewer, its scan of single queries is faster.

Measured with faiss 1.15.1, 128 dims, 100,000 rows: 4 queries 8 ms by scan and 13 by product, 16 queries 33 and
18, 600 queries 1160 and 220. FAISS's own bound of 128,000 (queries x dims) would scan 1,000 queries singly.
"""
_SCAN_FROM = 2
"""Smallest number of queries for which the 8-bit vectors propose. Measured with 400,000 rows of 64 dimensions: they
take 4.5 ms for 1 to 7 queries together, FAISS takes 3 ms for each."""
_GROUP, _BLOCK = 16, 8192
"""Queries and rows of one block of scores in `at_least`: 512 KB, which stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class FlatIndex:
    """A `PatternIndex`: a `faiss.IndexFlatIP` over the vectors of patterns, in the patterns' order.

    Searching from several threads at once is safe, since nothing changes after `build`.
    """

    flat: Any
    """The `faiss.IndexFlatIP`."""
    rows: Floats32
    """float32 (P, d), read-only: the index's own memory, kept alive by the array."""
    scan: Int8Scan | None
    """The vectors rounded to 8 bits; None if FAISS serves all queries."""

    def __len__(self) -> int:
        """Number of patterns P."""
        return len(self.rows)

    @classmethod
    def build(cls, patterns: Patterns) -> Self:
        """Index the vectors of `patterns`; row i of the index is row i of the patterns.

        Sets FAISS's process-wide bound between single scans and matrix products. That bound, and whether this machine
        is fast with 8 bits, change only speed and the rounding of scores; no result depends on either.
        """
        faiss.cvar.distance_compute_blas_threshold = _BATCH_FROM * patterns.dim
        flat, rows = _flat([patterns.vectors], patterns.dim)
        return cls(flat=flat, rows=rows, scan=Int8Scan.of(rows) if int8_pays(patterns.dim) else None)

    def followed_by(self, vectors: Floats32) -> "FlatIndex":
        """A new index of these rows and then `vectors`, float32 (n, d)."""
        if len(vectors) == 0:
            return FlatIndex(flat=self.flat, rows=self.rows, scan=self.scan)
        flat, rows = _flat([self.rows, vectors], self.rows.shape[1])
        return FlatIndex(flat=flat, rows=rows, scan=None if self.scan is None else self.scan.followed_by(vectors, rows))

    def attach(self, patterns: Patterns) -> Patterns:
        """The same patterns with `rows` as their vectors, which frees the copy that the index was built from.

        Raises:
            ValueError: The index was built from another number of patterns.
        """
        if len(patterns) != len(self):
            raise ValueError(f"the index holds {len(self)} patterns, not {len(patterns)}")
        return replace(patterns, vectors=self.rows)

    @property
    def score_error(self) -> float:
        """Largest difference of a float32 score from the exact inner product, for any order of its sum.

        Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., eq. 3.5: n u / (1 - n u) times the
        sum of |x_i y_i|, which is at most the product of the lengths. The last term covers underflow.
        """
        error = int(self.rows.shape[1]) * 2.0**-24
        return error / (1 - error) * MAX_LENGTH**2 * 1.01 + 1e-30

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose the best-scoring rows of a prefix for each query, by exact scan.

        The 8-bit vectors, if there are any, serve several queries. Otherwise FAISS searches a block of rows for all
        queries that may see the whole block: the first block ends at the median of `known` and serves the queries from
        the median on; the earlier queries, and the rows after the block, are divided in the same way until every query
        has searched its prefix and nothing else. Most of the work falls into a few large blocks.

        Arguments and results are those of `PatternIndex.nearest`.
        """
        if self.scan is not None and len(vectors) >= _SCAN_FROM:
            return self.scan.nearest(vectors, known, count)
        score = np.full((len(vectors), count), -np.inf, dtype=np.float32)
        row = np.full((len(vectors), count), -1, dtype=np.int64)
        # (first, last, start): queries first:last have searched rows 0:start, and each may see at least these.
        todo = [(0, len(vectors), 0)]
        while todo:
            first, last, start = todo.pop()
            if first == last:
                continue
            stop = int(known[(first + last) // 2])
            seeing = first + int(np.searchsorted(known[first:last], stop, side="left"))
            beyond = first + int(np.searchsorted(known[first:last], stop, side="right"))
            todo += [(first, seeing, start), (beyond, last, stop)]
            if stop > start:
                block = self.rows[start:stop]
                more = faiss.knn(vectors[seeing:last], block, min(count, stop - start), faiss.METRIC_INNER_PRODUCT)
                _merge(score[seeing:last], row[seeing:last], more[0], more[1] + start)
        return row, np.where(known <= count, -np.inf, score.min(axis=1).astype(np.float64))

    def at_least(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Int64s]:
        """Every row of a prefix whose exact inner product reaches the query's bound; see `PatternIndex.at_least`."""
        # Rounded down, so that turning the bound into float32 loses no row.
        lowest = np.nextafter((bound - self.score_error).astype(np.float32), np.float32(-np.inf))
        found: list[Int64s] = []
        for first in range(0, len(vectors), _GROUP):
            group = slice(first, min(first + _GROUP, len(vectors)))
            pieces: list[list[Int64s]] = [[] for _ in range(group.start, group.stop)]
            for start in range(0, int(known[group.stop - 1]), _BLOCK):
                scores = vectors[group] @ self.rows[start : start + _BLOCK].T
                for query, enough in enumerate(scores >= lowest[group, None]):
                    pieces[query].append(np.flatnonzero(enough[: max(0, int(known[first + query]) - start)]) + start)
            found += [np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64) for rows in pieces]
        return found


def _flat(parts: Sequence[Floats32], dim: int) -> tuple[Any, Floats32]:
    """Flat index of the vectors of all parts, and its memory as rows."""
    flat = faiss.IndexFlatIP(dim)
    count = sum(map(len, parts))
    if count:
        # Reserve memory for all parts at once: one `add` per part would move earlier rows and double the memory.
        flat.codes.resize(count * flat.code_size)
        memory = faiss.rev_swig_ptr(flat.codes.data(), count * flat.code_size).view("<f4")
        np.concatenate(parts, out=memory.reshape(count, dim))
        flat.ntotal = count
    return flat, np.asarray(_Memory(flat))


def _merge(score: Floats32, row: Int64s, more_score: Floats32, more_row: Int64s) -> None:
    """Replace `score` and `row`, in place, by the best of each query's held and new ones."""
    count = score.shape[1]
    both_score = np.concatenate([score, more_score], axis=1)
    both_row = np.concatenate([row, more_row], axis=1)
    best = np.argpartition(both_score, more_score.shape[1], axis=1)[:, -count:]
    score[:] = np.take_along_axis(both_score, best, axis=1)
    row[:] = np.take_along_axis(both_row, best, axis=1)


class _Memory:
    """The codes of a flat index through NumPy's array interface; the array made of it keeps the index alive."""

    def __init__(self, flat: Any) -> None:
        self._flat = flat
        self.__array_interface__ = {
            "version": 3,
            "shape": (int(flat.ntotal), int(flat.d)),
            "typestr": "<f4",
            # An empty vector has no address, but NumPy needs one even for no elements.
            "data": (int(flat.codes.data()) if flat.ntotal else np.zeros(1).ctypes.data, True),
        }
