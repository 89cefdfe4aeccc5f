"""The samples that all baselines answer: windows of stored samples, and what may be known on their dates."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from kline_core.bars.symbol_bars import BarsBySymbol, group_by_code
from kline_core.settings import Settings
from kline_core.typing import Dates, Floats64, Int32s, Int64s, Objects
from kline_core.windows.prices import WindowPrices, prices_of_windows
from kline_core.windows.windows import USABLE, usable_windows

NO_WINDOW = "no usable window"
"""Reason of a sample whose date ends no window; a run says more exactly why."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """n samples, and the m of them on whose date a usable window ends."""

    symbols: Objects
    """object (n,)"""
    dates: Dates
    """datetime64[D] (n,)"""
    names: list[str]
    """Symbols of the bars, sorted; `code` indexes them."""
    usable: Int64s
    """int64 (m,): which of the n samples end a usable window."""
    code: Int32s
    """int32 (m,)"""
    bar: Int64s
    """int64 (m,): ordinal of the window's last bar among the symbol's traded bars."""

    @classmethod
    def of(cls, symbols: Objects, dates: Dates, frames: BarsBySymbol, settings: Settings) -> Self:
        """Find the windows of samples (n,), given as symbols and datetime64[D]."""
        names = sorted(frames)
        codes = pd.Index(names).get_indexer(pd.Index(symbols)).astype(np.int32)
        bar = np.full(len(dates), -1, dtype=np.int64)
        for code, at in group_by_code(codes):
            # A symbol that has left the bars, or all of whose days are suspended.
            if code < 0 or len(bars := frames[names[code]]) == 0:
                continue
            found = bars.find(dates[at])
            sound = usable_windows(bars, settings.patterns)[found] == USABLE
            bar[at] = np.where((found >= 0) & sound, found, -1)
        usable = np.flatnonzero(bar >= 0).astype(np.int64)
        return cls(symbols, dates, names, usable, codes[usable], bar[usable])

    def __len__(self) -> int:
        """Number of samples n."""
        return len(self.dates)

    def prices(self, frames: BarsBySymbol, window_bars: int, scale: int = 1) -> WindowPrices:
        """Prices of the m windows, in candles of `scale` bars: float64 (m, window_bars) each."""
        return prices_of_windows(frames, self.names, self.code, self.bar, window_bars, scale)

    def values(self, figures: Floats64, reason: str = "no value") -> pd.DataFrame:
        """Rows for an evaluation: symbol, date, value, status and reason, of figures (m,), NaN where there is none."""
        value, why = np.full(len(self), np.nan), np.full(len(self), NO_WINDOW, dtype=object)
        value[self.usable] = figures
        why[self.usable] = reason
        there = ~np.isnan(value)
        why[there] = None
        return pd.DataFrame(
            {
                "symbol": self.symbols,
                "date": self.dates.astype("datetime64[s]"),
                "value": value,
                "status": np.where(there, "ok", "failed"),
                "reason": why,
            }
        )
