"""The shapes of all patterns, made once per loaded state and only where a mode compares bars."""

import threading

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol, group_by_code
from kline_core.patterns.patterns import Patterns
from kline_core.typing import Int64s
from kline_core.windows.prices import WindowPrices, prices_of_windows, window_prices
from kline_core.windows.rounded_shapes import RoundedShapes

_AT_ONCE = 4096
"""Windows whose prices are gathered at a time: 2.6 MB for 20 bars, which stay in the processor's cache."""


class PatternShapes:
    """Shapes and prices of patterns, from the bars of their symbols; safe to share between threads."""

    def __init__(self, patterns: Patterns, frames: BarsBySymbol, window_bars: int) -> None:
        self._patterns, self._frames, self._window_bars = patterns, frames, window_bars
        self._lock = threading.Lock()
        self._shapes: RoundedShapes | None = None

    def shapes(self) -> RoundedShapes:
        """Shapes of all patterns, row by row. Threads that ask while they are made wait for them."""
        with self._lock:
            if self._shapes is None:
                self._shapes = self._made()
            return self._shapes

    def prices(self, rows: Int64s) -> WindowPrices:
        """Prices of the windows of some patterns, float64 (n, window_bars) each."""
        code, bar = self._patterns.code[rows], self._patterns.bar[rows].astype(np.int64)
        return prices_of_windows(self._frames, self._patterns.symbols, code, bar, self._window_bars)

    def _made(self) -> RoundedShapes:
        patterns, bars = self._patterns, self._window_bars
        made = RoundedShapes.empty(len(patterns), bars)
        for code, rows in group_by_code(patterns.code):
            symbol = self._frames[patterns.symbols[code]]
            for first in range(0, len(rows), _AT_ONCE):
                some = rows[first : first + _AT_ONCE]
                prices = window_prices(symbol, patterns.bar[some].astype(np.int64), bars)
                made.steps[some] = RoundedShapes.of(prices).steps
        return made
