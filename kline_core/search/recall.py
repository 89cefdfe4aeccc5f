"""How much of the exact search an approximate index finds, by itself: who only reads it loads no FAISS."""

from dataclasses import asdict, dataclass
from math import floor
from typing import Any

from kline_core.errors import RecallError


@dataclass(frozen=True, slots=True)
class Recall:
    """Measured with patterns as queries; see `kline_core.search.ivf_index.measured_recall`."""

    share: float
    """Of the exact matches of all patterns asked; 1 where there are none."""
    asked: int
    """Patterns that were asked as queries."""
    top_k: int
    """Matches of each, at most."""
    probes: int
    """Lists that each was compared with."""
    trained: int
    """Samples that may see no more patterns than these are searched exactly, and not asked."""

    def __str__(self) -> str:
        """For a person."""
        if not self.asked:
            return f"index ivf: no recall to measure yet, since up to {self.trained} patterns are searched exactly"
        return (
            f"index ivf with {self.probes} probes: recall@{self.top_k} {self.share:.4f}, measured with {self.asked} "
            "patterns as queries"
        )

    def check(self, min_recall: float) -> None:
        """Raise `RecallError` where the share is smaller than `min_recall`."""
        if self.share < min_recall:
            raise RecallError(
                f"recall@{self.top_k} of the approximate index is {self.share:.4f} with probes {self.probes}, below "
                f"min_recall {min_recall:g}; raise --probes, leave --index ivf away for the exact search, or take it "
                f"as it is with --min-recall {floor(100 * self.share) / 100:g}",
                recall=self.share,
                min_recall=min_recall,
            )

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)
