"""The protocol of an index over the vectors of patterns.

A query is always confined to a prefix of the rows, those known on its date (`Patterns.n_known`). An index proposes rows
by scores that may be rounded; the search ranks the proposed rows by exact similarities.
"""

from typing import Protocol

from kline_core.typing import Floats32, Floats64, Int64s


class PatternIndex(Protocol):
    """Rows of vectors, searched by inner product. Searching from several threads at once is safe."""

    @property
    def rows(self) -> Floats32:
        """float32 (P, d), read-only: the vectors, in the order of the patterns."""

    @property
    def score_error(self) -> float:
        """Largest difference of a score that the index compares from the exact inner product."""

    def __len__(self) -> int:
        """Number of patterns P."""

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """Propose the best-scoring rows of a prefix for each query.

        Args:
            vectors: float32 (q, d), C-contiguous.
            known: int64 (q,), ascending: the query may see rows `0:known`.
            count: rows wanted.

        Returns:
            rows: int64 (q, count) in no order, -1 if the prefix is shorter.
            floor: float64 (q,): no other row of the prefix scores above this; -inf if there is no other row.
        """

    def at_least(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Int64s]:
        """Rows of each prefix whose exact inner product reaches the query's bound, and a few just below it.

        Args:
            vectors: float32 (q, d).
            known: int64 (q,), ascending, as in `nearest`.
            bound: float64 (q,).

        Returns:
            int64 rows, ascending, for each query.
        """
