"""What a search finds, by itself: who only reads it loads no FAISS."""

from dataclasses import dataclass

from kline_core.typing import Floats64, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The matches of q samples, best first."""

    rows: Int64s
    """int64 (q, top_k): rows of the patterns, -1 where there are fewer matches."""
    similarity: Floats64
    """float64 (q, top_k), NaN where there are fewer matches."""
    eligible: Int64s
    """int64 (q,): number of patterns that were eligible."""

    def __len__(self) -> int:
        """Number of samples q."""
        return len(self.rows)
