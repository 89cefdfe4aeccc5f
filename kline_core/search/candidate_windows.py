"""The windows of candidates, as a mode compares them, and what a mode is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Candidates, Queries, Selection
from kline_core.search.pattern_shapes import PatternShapes
from kline_core.settings import FactorSettings
from kline_core.typing import Int64s
from kline_core.windows.prices import WindowPrices


@dataclass(frozen=True, slots=True, eq=False)
class CandidateWindows:
    """The windows of m queries and of their candidates, for a mode to compare."""

    asked: Int64s
    """int64 (m,): positions in `queries`."""
    candidates: Candidates
    patterns: Patterns
    queries: Queries
    shapes: PatternShapes
    """Shapes and prices of the patterns."""

    def of(self, which: Int64s) -> "CandidateWindows":
        """Those of some of the m queries, int64 positions."""
        if len(which) == len(self.asked):
            return self
        return CandidateWindows(self.asked[which], self.candidates.of(which), self.patterns, self.queries, self.shapes)

    def query_prices(self) -> WindowPrices:
        """Prices of the m queries' windows: float64 (m, window_bars) each. Raises ValueError if there are none."""
        if self.queries.prices is None:
            raise ValueError("queries have no prices; this mode compares bars")
        return WindowPrices(*(price[self.asked] for price in self.queries.prices))


Ranked: TypeAlias = tuple[Int64s, Candidates, Int64s]
"""Some of the m queries (int64 positions), their candidates by another similarity, best first and down to the last
selected one at least, and the positions of those that were selected."""
Mode: TypeAlias = Callable[[CandidateWindows, FactorSettings, Selection], Iterator[Ranked]]
"""Ranks the candidates of m queries by a similarity of its own (0 or more, the higher the more alike; ties by symbol,
then end) and selects the matches among them. Every query comes once."""
