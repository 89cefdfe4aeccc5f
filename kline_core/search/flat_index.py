"""The flat index: built once from patterns, shared by threads and never changed.

The index is flat, because the search must be exact. It searches the vectors where they are, those of the patterns, so
that there is one copy of them, and the next day's index goes on with it (`kline_core._growing`): FAISS searches its own
flat index by the same function, `faiss.knn`, but an `IndexFlatIP` has to own what it searches.

A scan beside it proposes the rows of several queries. Of many rows it goes by their principal directions, rounded to
8 bits (`kline_core.search.principal_scan`). FAISS proposes the rows of a single query, and of all queries where
there is no scan, as in a process that may not run what it compiles. On a GPU, where one is asked for, it is
`kline_core.search.device_scan`.

A query is always confined to a prefix of the rows, those known on its date. FAISS's scores are float32 and off by up
to `score_error`, differently for every shape of batch: good for proposing rows, not for ranking them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import faiss
import numpy as np

from kline_core._growing import followed_by, read_only
from kline_core.patterns.patterns import MAX_LENGTH, Patterns
from kline_core.search.pattern_index import Hits, Proposals, exact_similarities, spread_proposals, with_similarities
from kline_core.search.principal_scan import PrincipalScan
from kline_core.search.reaching import reached
from kline_core.search.rounded_heads import RoundedHeads
from kline_core.search.scan_kernel import CompiledScan, may_compile
from kline_core.typing import Floats32, Floats64, Int64s

if TYPE_CHECKING:
    from kline_core.search.device_scan import DeviceScan

_BATCH_FROM = 8
"""Smallest number of queries for which FAISS uses matrix products; for fewer, its scan of single queries is faster.

Measured with faiss 1.15.1, 128 dims, 100,000 rows: 4 queries 8 ms by scan and 13 by product, 16 queries 33 and
18, 600 queries 1160 and 220. FAISS's own bound of 128,000 (queries x dims) would scan 1,000 queries singly.
"""
_SCAN_FROM = 2
"""Smallest number of queries for which a scan proposes. Measured on an Intel Xeon of the fifth generation with 400,000
rows of 64 dimensions, with AVX2 and with AVX-512 VNNI alike: the scan takes 2 ms for 1 query and 3 for 8, FAISS 8 for 1
and 30 for 8. Where nothing was compiled before, a single query, as of a match by hand, would
wait 100 ms for it."""
_DIVIDED_FROM = 16_384
"""Rows from which on principal directions propose: of fewer, bounds leave out too little."""
_MANY = 512
"""Rows of a query from which on all above a likely score are collected, rather than the best held in order. Measured
with 600 queries, 400,000 rows of 64 dimensions and 2,200 rows a query: FAISS takes four times as long as for 32."""
_SAMPLED = 16
"""One row in so many tells which score that is."""
_GROUP, _BLOCK = 16, 8192
"""Queries and rows of one block of scores in `_above`: 512 KB, which stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class FlatIndex:
    """A `PatternIndex` over the vectors of patterns, in the patterns' order.

    Searching from several threads at once is safe, since nothing changes after `build`.
    """

    rows: Floats32
    """float32 (P, d), C-contiguous, read-only: the vectors."""
    scan: "PrincipalScan | DeviceScan | None"
    """What proposes the rows of several queries; None if FAISS does."""

    def __len__(self) -> int:
        """Number of patterns P."""
        return len(self.rows)

    @classmethod
    def build(cls, patterns: Patterns, heads: RoundedHeads | None = None, device: str | None = None) -> Self:
        """Index the vectors of `patterns`, which must be in memory; row i of the index is row i of the patterns.

        Args:
            patterns: Patterns, whose vectors are shared.
            heads: What an index of the same vectors had under this name.
            device: One that torch knows by name, which is to propose rows (`kline_core.search.device_scan`); None for
                the processor.

        Raises `SettingError` if the vectors cannot be copied to the device.

        Sets FAISS's process-wide bound between single scans and matrix products. That bound, and what
        this machine multiplies bytes by, change only speed and the rounding of scores; no result depends on either.
        """
        return cls.over(patterns.vectors[:], heads, device)

    @classmethod
    def over(cls, vectors: Floats32, heads: RoundedHeads | None = None, device: str | None = None) -> Self:
        """As `build`, of vectors float32 (P, d), C-contiguous, that are not written any more."""
        faiss.cvar.distance_compute_blas_threshold = _BATCH_FROM * int(vectors.shape[1])
        rows = read_only(vectors)
        return cls(rows=rows, scan=_scan(rows, heads, device))

    @property
    def heads(self) -> RoundedHeads | None:
        """What its scan bounds rows by, which takes the longest to make; None if it has no such scan."""
        return self.scan.heads if isinstance(self.scan, PrincipalScan) else None

    def followed_by(self, vectors: Floats32) -> "FlatIndex":
        """A new index of these rows and then `vectors`, float32 (n, d)."""
        if len(vectors) == 0:
            return FlatIndex(rows=self.rows, scan=self.scan)
        rows = followed_by(self.rows, vectors)
        return FlatIndex(rows=rows, scan=_scan(rows) if self.scan is None else self.scan.followed_by(vectors, rows))

    def prepare(self) -> None:
        """Compile what serves several queries, which the first of them would wait for."""
        if isinstance(self.scan, CompiledScan):
            self.scan.prepare()

    @property
    def score_error(self) -> float:
        """Largest difference of a float32 score from the exact inner product, for any order of its sum.

        Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., eq. 3.5: n u / (1 - n u) times the
        sum of |x_i y_i|, which is at most the product of the lengths. The last term covers underflow.
        """
        error = int(self.rows.shape[1]) * 2.0**-24
        return error / (1 - error) * MAX_LENGTH**2 * 1.01 + 1e-30

    def vectors_of(self, rows: Int64s) -> Floats32:
        """See `PatternIndex.vectors_of`."""
        return self.rows[rows]

    def proposals(self, vectors: Floats32, known: Int64s, count: int) -> Proposals:
        """See `PatternIndex.proposals`."""

        def propose(part: slice) -> Proposals:
            asked = np.ascontiguousarray(vectors[part])
            rows, floor = self.nearest(asked, known[part], count)
            return Proposals(rows, exact_similarities(self.rows, asked, rows), floor + self.score_error)

        if isinstance(self.scan, PrincipalScan | None):
            return spread_proposals(known, propose)
        # A device has cores of its own.
        return propose(slice(None))

    def reaching(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Hits]:
        """See `PatternIndex.reaching`."""
        return with_similarities(self.rows, vectors, self.at_least(vectors, known, bound), bound)

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose the best-scoring rows of a prefix for each query, by exact scan.

        The scan, if there is one, serves several queries. Otherwise FAISS searches a block of rows for all
        queries that may see the whole block: the first block ends at the median of `known` and serves the queries from
        the median on; the earlier queries, and the rows after the block, are divided in the same way until every query
        has searched its prefix and nothing else. Most of the work falls into a few large blocks.

        Of many rows, those above a score are collected that a sample of the rows makes likely; where they are too few,
        with a lower one.

        Args:
            vectors: float32 (q, d), C-contiguous.
            known: int64 (q,), ascending: the query may see rows `0:known`.
            count: rows wanted.

        Returns:
            rows: int64 (q, count) in no order, -1 if the prefix is shorter.
            floor: float64 (q,): no other row of the prefix scores above this; -inf if there is no other row.
        """
        if count >= _MANY:
            return self._nearest_many(vectors, known, count)
        if self.scan is not None and (len(vectors) >= _SCAN_FROM or self.scan.ready):
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
        """For each query the rows of its prefix whose exact inner product reaches its bound, and a few just below it.

        int64, ascending. Arguments as of `PatternIndex.reaching`.
        """
        # Rounded down, so that turning the bound into float32 loses no row.
        lowest = np.nextafter((bound - self.score_error).astype(np.float32), np.float32(-np.inf))

        def above(queries: Int64s) -> list[Int64s]:
            return [rows for rows, _ in self._above(vectors[queries], known[queries], lowest[queries])]

        if self.scan is None or not self.scan.ready:
            return above(np.arange(len(known)))
        found = reached(self.scan.nearest, vectors, known, lowest.astype(np.float64), above)
        # The nearest thousand may be far below.
        return [rows[self.rows[rows] @ vectors[query] >= lowest[query]] for query, rows in enumerate(found)]

    def _above(self, vectors: Floats32, known: Int64s, lowest: Floats32) -> list[tuple[Int64s, Floats32]]:
        """The rows of each query's prefix, ascending, whose float32 score reaches `lowest` (q,); and these scores."""
        found: list[tuple[Int64s, Floats32]] = []
        for first in range(0, len(vectors), _GROUP):
            group = slice(first, min(first + _GROUP, len(vectors)))
            pieces: list[list[tuple[Int64s, Floats32]]] = [[] for _ in range(group.start, group.stop)]
            for start in range(0, int(known[group.stop - 1]), _BLOCK):
                scores = vectors[group] @ self.rows[start : start + _BLOCK].T
                for query, enough in enumerate(scores >= lowest[group, None]):
                    rows = np.flatnonzero(enough[: max(0, int(known[first + query]) - start)])
                    pieces[query].append((rows + start, scores[query, rows]))
            none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
            for parts in pieces:
                row, score = zip(*(parts or [none]), strict=True)
                found.append((np.concatenate(row), np.concatenate(score)))
        return found

    def _nearest_many(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        row = np.full((len(vectors), count), -1, dtype=np.int64)
        floor = np.full(len(vectors), -np.inf)
        undecided, wanted = np.arange(len(vectors)), float(count)
        while len(undecided):
            lowest = self._likely(vectors[undecided], known[undecided], wanted)
            few = np.zeros(len(undecided), dtype=bool)
            for place, (rows, scores) in enumerate(self._above(vectors[undecided], known[undecided], lowest)):
                query = undecided[place]
                if len(rows) < count and len(rows) < known[query]:
                    few[place] = True
                elif len(rows) <= count:
                    row[query, : len(rows)] = rows
                    floor[query] = -np.inf if len(rows) == known[query] else scores.min()
                else:
                    best = np.argpartition(scores, -count)[-count:]
                    row[query], floor[query] = rows[best], scores[best].min()
            undecided, wanted = undecided[few], 4 * wanted
        return row, floor

    def _likely(self, vectors: Floats32, known: Int64s, count: float) -> Floats32:
        """A score that `count` rows of each query's prefix probably reach, and not many more: float32 (q,)."""
        number = np.arange(len(self.rows) // _SAMPLED, dtype=np.uint64)
        # Scattered, since rows at equal distances may all be of one symbol.
        offset = (number * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) % np.uint64(_SAMPLED)
        sample = (number * np.uint64(_SAMPLED) + offset).astype(np.int64)
        vectors_of_sample = self.rows[sample]
        seen = np.searchsorted(sample, known)
        lowest = np.full(len(vectors), -np.inf, dtype=np.float32)
        for first in range(0, len(vectors), _GROUP):
            scores = vectors[first : first + _GROUP] @ vectors_of_sample.T
            for query in range(first, min(first + _GROUP, len(vectors))):
                share = seen[query] * count / max(1, int(known[query]))
                # Two deviations and a half more than the share, so that few queries have to ask again.
                rank = int(share + 2.5 * share**0.5) + 1
                if rank < seen[query]:
                    part = scores[query - first, : seen[query]]
                    lowest[query] = np.partition(part, len(part) - rank)[len(part) - rank]
        return lowest


def _scan(
    rows: Floats32, heads: RoundedHeads | None = None, device: str | None = None
) -> "PrincipalScan | DeviceScan | None":
    """The scan on a device, or the one that is the fastest for this processor and these rows, float32 (P, d)."""
    if device is not None:
        from kline_core.search.device_scan import DeviceScan

        return DeviceScan.of(rows, device)
    if not may_compile():
        return None
    if heads is not None:
        return PrincipalScan(rows, heads)
    return PrincipalScan.of(rows) if len(rows) >= _DIVIDED_FROM else None


def _merge(score: Floats32, row: Int64s, more_score: Floats32, more_row: Int64s) -> None:
    """Replace `score` and `row`, in place, by the best of each query's held and new ones."""
    count = score.shape[1]
    both_score = np.concatenate([score, more_score], axis=1)
    both_row = np.concatenate([row, more_row], axis=1)
    best = np.argpartition(both_score, more_score.shape[1], axis=1)[:, -count:]
    score[:] = np.take_along_axis(both_score, best, axis=1)
    row[:] = np.take_along_axis(both_row, best, axis=1)
