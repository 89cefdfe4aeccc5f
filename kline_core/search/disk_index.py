"""The exact index of vectors that are not in memory: they lie in a file, and rounded coordinates stand for them.

`kline_core.search.quantised_scan` proposes rows by 8 bits a coordinate, and proves what it leaves out. Only the vectors
of proposed rows are read, some dozens of a query, and ranked as everywhere else. So the answer is that of a
`FlatIndex`, bit for bit, for a quarter of its memory.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core._memory import VECTORS
from kline_core.errors import SettingError
from kline_core.patterns.mapped_vectors import MappedVectors
from kline_core.search.pattern_index import Hits, Proposals, exact_similarities, spread_proposals, with_similarities
from kline_core.search.quantised_scan import QuantisedScan
from kline_core.search.reaching import reached
from kline_core.search.scan_kernel import may_compile
from kline_core.typing import Floats32, Floats64, Int64s

_MORE = 12
"""Rows proposed beyond those that are wanted, since 8 bits tell less of which are the best. Of 590 samples of an
A-share that ask for 12 rows, 65 are undecided without them and none with them."""


@dataclass(frozen=True, slots=True, eq=False)
class DiskIndex:
    """A `PatternIndex` over mapped vectors. Searching from several threads at once is safe: nothing ever changes."""

    rows: MappedVectors
    scan: QuantisedScan

    def __len__(self) -> int:
        """Number of patterns P."""
        return len(self.rows)

    @classmethod
    def build(cls, vectors: MappedVectors, scan: QuantisedScan | None = None) -> Self:
        """Index vectors; row i of the index is vector i. `scan`: what an index of the same vectors had there.

        Raises `SettingError` if this process may not run what it compiles.
        """
        if not may_compile():
            raise SettingError(
                "vectors on disk are searched by code that is compiled for this processor, and this process may not "
                "run any: memory that was written may not become executable (as systemd's MemoryDenyWriteExecute "
                f"has it); allow it, or hold the vectors in memory with {VECTORS}=memory",
                parameter=VECTORS,
                value="disk",
                bound="memory",
            )
        return cls(vectors, QuantisedScan.of(vectors) if scan is None else scan)

    def followed_by(self, vectors: Floats32) -> "DiskIndex":
        """A new index of these rows and then `vectors`, float32 (n, d), which stay in memory."""
        if len(vectors) == 0:
            return self
        rows = self.rows.followed_by(vectors)
        return DiskIndex(rows, self.scan.followed_by(vectors, rows))

    def prepare(self) -> None:
        """Compile the loops of its scan, which the first query would wait for."""
        self.scan.prepare()

    def vectors_of(self, rows: Int64s) -> Floats32:
        """See `PatternIndex.vectors_of`."""
        return self.rows[rows]

    def proposals(self, vectors: Floats32, known: Int64s, count: int) -> Proposals:
        """See `PatternIndex.proposals`."""

        def propose(part: slice) -> Proposals:
            asked = np.ascontiguousarray(vectors[part])
            rows, floor = self.scan.nearest(asked, known[part], count + min(count, _MORE))
            return Proposals(rows, exact_similarities(self.rows, asked, rows), floor)

        return spread_proposals(known, propose)

    def reaching(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Hits]:
        """See `PatternIndex.reaching`."""

        def above(queries: Int64s) -> list[Int64s]:
            return self.scan.at_least(vectors[queries], known[queries], bound[queries])

        # What `nearest` leaves out is no more similar than its floor.
        found = reached(self.scan.nearest, vectors, known, bound, above)
        return with_similarities(self.rows, vectors, found, bound)
