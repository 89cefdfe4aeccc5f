"""A panel: values of several symbols beside the sessions and the returns that followed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars
from kline_core.evaluation.forward_returns import ForwardReturns, forward_returns
from kline_core.settings import PatternSettings, Settings
from kline_core.typing import Dates, Floats64, Int64s
from kline_core.windows.windows import jumps_between


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """n samples that have a bar, ordered by symbol and date."""

    symbols: list[ForwardReturns]
    days: Dates
    """datetime64[D] (days,): on which any symbol traded; their ordinals are the sessions."""
    symbol: Int64s
    """int64 (n,): position in `symbols`."""
    sessions: Int64s
    """int64 (n,): ordinal of the sample's date in `days`."""
    values: Floats64
    forward: Floats64
    """float64 (n, horizons)"""
    without_bar: int
    """Values that were left out, since their dates have no bar."""

    @classmethod
    def of(cls, rows: pa.Table, frames: BarsBySymbol, settings: Settings) -> Self:
        """Join rows, columns symbol, date and value, with the bars of their symbols."""
        parts, without_bar = [], 0
        for symbol, mine in by_symbol(rows.select(["symbol", "date", "value"])):
            if symbol in frames:
                parts.append(forward_returns(mine, frames[symbol], settings))
                without_bar += parts[-1].without_bar
            else:
                without_bar += len(mine) - mine["value"].null_count
        traded = [bars.dates for bars in frames.values()]
        days = np.unique(np.concatenate(traded)) if traded else np.array([], dtype="datetime64[D]")
        sessions = [np.searchsorted(days, part.dates).astype(np.int64) for part in parts]
        horizons = len(settings.patterns.horizons)
        return cls(
            parts,
            days,
            np.repeat(np.arange(len(parts)), [len(part.dates) for part in parts]),
            np.concatenate([np.zeros(0, np.int64), *sessions]),
            np.concatenate([np.zeros(0), *(part.values for part in parts)]),
            np.concatenate([np.zeros((0, horizons)), *(part.forward for part in parts)]),
            without_bar,
        )

    @property
    def n_values(self) -> int:
        """Values, without failed samples."""
        return int((~np.isnan(self.values)).sum())

    def each(self, frames: BarsBySymbol, figure: Callable[[ForwardReturns, SymbolBars], Floats64]) -> Floats64:
        """One figure per sample, float64 (n,), made symbol by symbol."""
        made = (figure(part, frames[part.symbol]) for part in self.symbols)
        return np.concatenate([np.zeros(0), *made])

    def ahead(self, frames: BarsBySymbol, steps: PatternSettings, first: int, last: int) -> Floats64:
        """Returns from the close of bar entry + `first` to that of bar entry + `last`, float64 (n,).

        NaN where the history ends before, or where an unexplained jump lies between the sample and the last bar,
        unless the settings allow jumps.
        """

        def returns(part: ForwardReturns, bars: SymbolBars) -> Floats64:
            start, end = part.bars + steps.entry_lag_bars + first, part.bars + steps.entry_lag_bars + last
            found = np.full(len(end), np.nan)
            there = end < len(bars)
            found[there] = bars.close[end[there]] / bars.close[start[there]] - 1.0
            if not steps.allow_jumps:
                found[jumps_between(bars, part.bars, end)] = np.nan
            return found

        return self.each(frames, returns)


def by_symbol(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Each symbol with its rows, in order of symbol.

    Slices of sorted rows, since filtering all rows once per symbol takes minutes for thousands of symbols.
    """
    rows = rows.sort_by("symbol")
    runs = pc.run_end_encode(rows["symbol"].combine_chunks().cast(pa.string()))
    ends = [0, *runs.run_ends.to_pylist()]
    for symbol, (first, last) in zip(runs.values.to_pylist(), pairwise(ends), strict=True):
        yield symbol, rows.slice(first, last - first)
