"""The result of a search; in a module that loads no FAISS, for processes that only read it."""

from dataclasses import dataclass

from kline_core.typing import Floats64, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The matches of q samples, best first."""

    rows: Int64s
    """int64 (q, top_k): rows of the patterns, -1 after a sample's last match."""
    similarity: Floats64
    """float64 (q, top_k): score in the mode of the search, NaN after a sample's last match."""
    eligible: Int64s
    """int64 (q,): number of eligible patterns."""

    def __len__(self) -> int:
        """Number of samples q."""
        return len(self.rows)
