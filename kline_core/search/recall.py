"""The recall of an approximate index; in a module that loads no FAISS, for processes that only read it."""

from dataclasses import asdict, dataclass
from math import floor
from typing import Any

from kline_core.errors import RecallError


@dataclass(frozen=True, slots=True)
class Recall:
    """Recall measured with patterns as queries; see `kline_core.search.ivf_index.measured_recall`."""

    share: float
    """Share of the exact matches of all queries that the index finds, 0..1; 1 if there are none."""
    asked: int
    """Patterns that served as queries."""
    top_k: int
    """Matches of a query, at most."""
    probes: int
    """Posting lists that a query was compared with."""
    trained: int
    """Longest prefix that is searched exactly; patterns with such a prefix do not serve as queries."""

    def __str__(self) -> str:
        """One line for people."""
        if not self.asked:
            return f"index ivf: no recall to measure yet, since up to {self.trained} patterns are searched exactly"
        return (
            f"index ivf with {self.probes} probes: recall@{self.top_k} {self.share:.4f}, measured with {self.asked} "
            "patterns as queries"
        )

    def check(self, min_recall: float) -> None:
        """Raise `RecallError` if the share is smaller than `min_recall`."""
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
