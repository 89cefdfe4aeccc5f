"""The best rows that a scan has found so far, of many queries at once."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core.typing import Floats32, Int64s

_WAITING = 1 << 18
"""Found rows that wait until the best are chosen, at most, unless more are held: 5 MB."""


@dataclass(slots=True, eq=False)
class BestRows:
    """The `count` best rows of each of q queries. Found rows wait until they are many, or until `settle`."""

    rows: Int64s
    """int64 (q, count), -1 for none."""
    scores: Floats32
    """float32 (q, count), ascending; -inf for none."""
    _found: list[tuple[Int64s, Int64s, Floats32]]
    _waiting: int = 0

    @classmethod
    def none(cls, queries: int, count: int) -> Self:
        """None found yet."""
        scores = np.full((queries, count), -np.inf, dtype=np.float32)
        return cls(np.full(scores.shape, -1, dtype=np.int64), scores, [])

    @property
    def lowest(self) -> Floats32:
        """float32 (q,): the lowest of the best scores as they were last chosen; -inf where there are fewer rows."""
        return self.scores[:, 0]

    def add(self, query: Int64s, row: Int64s, score: Floats32) -> None:
        """Rows that were found, one for each of n queries; no row comes twice to one query."""
        self._found.append((query, row, score))
        self._waiting += len(query)
        # To choose takes as long for a row that is held as for one that waits.
        if self._waiting > max(_WAITING, self.rows.size):
            self.settle()

    def settle(self) -> None:
        """Choose the best among those held and those waiting."""
        queries, count = self.rows.shape
        held = np.repeat(np.arange(queries), count), self.rows.ravel(), self.scores.ravel()
        query, row, score = (np.concatenate(parts) for parts in zip(held, *self._found, strict=True))
        # Sorted by one number in place of two: the query, and the score as a whole number in the same order.
        bits = score.view(np.int32).astype(np.int64)
        order = np.argsort((query << 32) + np.where(bits < 0, bits ^ 0x7FFFFFFF, bits))
        end = np.cumsum(np.bincount(query, minlength=queries))
        best = order[end[:, None] + np.arange(-count, 0)]
        self.rows, self.scores = row[best], score[best]
        self._found, self._waiting = [], 0
