"""The protocol of an index over the vectors of patterns.

A query is always confined to a prefix of the rows, those known on its date (`Patterns.n_known`). An index proposes rows
by scores that may be rounded, and gives the exact similarity of each: the sum, in float64 and in one fixed order, of
the products of the two float32 vectors. Nothing else is asked of the vectors, so that they may lie elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import numpy as np

from kline_core._cores import put_together, spread
from kline_core.patterns.mapped_vectors import Vectors
from kline_core.typing import Floats32, Floats64, Int64s

_PAIRS = 512
"""Pairs whose products are made at a time, so that they stay in the processor's cache (0.5 MB at 128 dims)."""
_QUERIES_OF_PART, _PAIRS_OF_PART = 64, 1 << 22
"""Queries, and pairs of a query and a row, that are worth a thread, at least: about a millisecond."""

Hits: TypeAlias = tuple[Int64s, Floats64]
"""Rows, int64 (n,) in no order, and their exact similarities, float64 (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Rows proposed to m queries."""

    rows: Int64s
    """int64 (m, c) in no order, -1 for none."""
    similarity: Floats64
    """float64 (m, c): exact; -inf for none."""
    certain_above: Floats64
    """float64 (m,): every row of the prefix that is more similar than this was proposed; -inf if all rows were."""

    def of(self, part: slice) -> "Proposals":
        """Those to some of the queries."""
        return Proposals(self.rows[part], self.similarity[part], self.certain_above[part])

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """Those of an index from those of its parts, each with the same m queries and rows of the whole index."""
        return cls(
            np.concatenate([part.rows for part in parts], axis=1),
            np.concatenate([part.similarity for part in parts], axis=1),
            np.max([part.certain_above for part in parts], axis=0),
        )


def spread_proposals(known: Int64s, propose: Callable[[slice], Proposals]) -> Proposals:
    """Proposals to m queries, made by parts on all cores that nobody uses.

    Args:
        known: int64 (m,): prefixes of the queries.
        propose: Makes those of some queries.
    """
    # Each part goes through all rows.
    least = max(_QUERIES_OF_PART, len(known) * _PAIRS_OF_PART // max(1, int(known.sum())))
    parts = spread(len(known), least, propose)
    columns = ("rows", "similarity", "certain_above")
    return Proposals(*(put_together([(part, getattr(found, name)) for part, found in parts]) for name in columns))


class PatternIndex(Protocol):
    """Rows of vectors, searched by inner product. Searching from several threads at once is safe."""

    def __len__(self) -> int:
        """Number of patterns P."""

    def vectors_of(self, rows: Int64s) -> Floats32:
        """Vectors of n rows: float32 (n, d)."""

    def proposals(self, vectors: Floats32, known: Int64s, count: int) -> Proposals:
        """Propose the best-scoring rows of a prefix for each query.

        Args:
            vectors: float32 (q, d), C-contiguous.
            known: int64 (q,), ascending: the query may see rows `0:known`.
            count: rows wanted; no fewer than these are proposed unless the prefix is shorter.
        """

    def reaching(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Hits]:
        """For each query every row of its prefix whose exact similarity reaches its bound.

        Args:
            vectors: float32 (q, d).
            known: int64 (q,), ascending, as in `proposals`.
            bound: float64 (q,).
        """


def exact_similarities(held: Vectors, vectors: Floats32, rows: Int64s) -> Floats64:
    """Exact similarity of each of m queries with each of its rows: float64 (m, c), -inf where a row is -1.

    Each pair is summed on its own, so that a similarity depends neither on the other pairs nor on what else is held.

    Args:
        held: float32 (P, d): vectors of all rows.
        vectors: float32 (m, d): vectors of the queries.
        rows: int64 (m, c).
    """
    every, wide = rows.ravel(), vectors.astype(np.float64)
    similarity = np.full(every.size, -np.inf)
    there = np.flatnonzero(every >= 0)
    for first in range(0, len(there), _PAIRS):
        place = there[first : first + _PAIRS]
        product = wide[place // rows.shape[1]]
        product *= held[every[place]]
        similarity[place] = product.sum(axis=-1)
    return similarity.reshape(rows.shape)


def with_similarities(held: Vectors, vectors: Floats32, found: Sequence[Int64s], bound: Floats64) -> list[Hits]:
    """Those of the rows found for each of q queries that reach its bound, with their exact similarities.

    `held` and `vectors` as above; `bound`: float64 (q,).
    """
    hits = []
    for query, rows in enumerate(found):
        similarity = exact_similarities(held, vectors[query : query + 1], rows[None])[0]
        reaches = similarity >= bound[query]
        hits.append((rows[reaches], similarity[reaches]))
    return hits
