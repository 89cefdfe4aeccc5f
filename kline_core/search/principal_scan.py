"""The exact scan of many queries at once: short products of whole numbers first, whole vectors where needed.

Most rows are left out by their heads (`kline_core.search.rounded_heads`), a quarter of the bytes of the vectors of 64
numbers, of which a processor multiplies several times as many as of float32 ones. The few others are scored in full,
which is a loop of its own (`kline_core.search.bounded_scan`).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core.search.bounded_scan import DividedQueries, best_rows, first_layout
from kline_core.search.rounded_heads import RoundedHeads
from kline_core.search.scan_kernel import CompiledScan, RowArrays
from kline_core.search.scan_layout import Layout, Part
from kline_core.typing import Floats32, Floats64, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalScan(CompiledScan):
    """An index's vectors and their heads; read-only, and safe to share between threads."""

    rows: Floats32
    """float32 (P, d): the vectors."""
    heads: RoundedHeads

    @classmethod
    def of(cls, rows: Floats32) -> Self:
        """Find the principal directions of vectors, float32 (P, d), and round these along them."""
        return cls(rows, RoundedHeads.of(rows))

    def followed_by(self, vectors: Floats32, rows: Floats32) -> "PrincipalScan":
        """The scan of `rows`, of which `vectors` are the last and these the ones before."""
        heads = self.heads.followed_by(vectors)
        return PrincipalScan.of(rows) if heads is None else PrincipalScan(rows, heads)

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose rows of a prefix for each query; arguments and result as of `FlatIndex.nearest`."""
        heads = self.heads
        queries = DividedQueries(heads.of_queries(vectors), heads.longest, vectors, heads.error)
        arrays = RowArrays(heads.codes, self.rows)
        rows, lowest = best_rows(arrays, heads.part, self._scores, queries, known, count)
        return rows, np.where(known <= count, -np.inf, lowest.astype(np.float64))

    @property
    def _scores(self) -> tuple[Part, ...]:
        dim = self.rows.shape[1]
        return (Part(1, dim, dim),)

    @property
    def layout(self) -> Layout:
        """See `CompiledScan`."""
        return first_layout(self.heads.part, self._scores)
