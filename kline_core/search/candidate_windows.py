"""The windows of candidates, as a mode compares them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Candidates, Queries
from kline_core.typing import Floats64, Int64s
from kline_core.windows.prices import WindowPrices, prices_of_windows


@dataclass(frozen=True, slots=True, eq=False)
class CandidateWindows:
    """The windows of m queries and of their candidates, for a mode to compare."""

    asked: Int64s
    """int64 (m,): positions in `queries`."""
    candidates: Candidates
    patterns: Patterns
    queries: Queries
    frames: BarsBySymbol | None
    window_bars: int

    def query_prices(self) -> WindowPrices:
        """Prices of the m queries' windows: float64 (m, window_bars) each. Raises ValueError if there are none."""
        if self.queries.prices is None:
            raise ValueError("queries have no prices; this mode compares bars")
        return WindowPrices(*(price[self.asked] for price in self.queries.prices))

    def pairs(self) -> tuple[Int64s, Int64s]:
        """Query, 0 to m - 1, and position of each of the n candidates: int64 (n,) each, query by query."""
        query, position = np.nonzero(self.candidates.there)
        return query.astype(np.int64), position.astype(np.int64)

    def prices(self, query: Int64s, position: Int64s) -> WindowPrices:
        """Prices of candidates' windows, named as by `pairs`: float64 (n, window_bars) each.

        Raises ValueError if the search was given no bars.
        """
        if self.frames is None:
            raise ValueError("the search was given no bars; this mode compares bars")
        code, bar = self.candidates.code[query, position], self.candidates.bar[query, position]
        return prices_of_windows(self.frames, self.patterns.symbols, code, bar.astype(np.int64), self.window_bars)


Mode: TypeAlias = Callable[[CandidateWindows], Floats64]
"""Returns scores of the candidates, float64 (m, c), the higher the more alike; any number if there is no candidate."""
