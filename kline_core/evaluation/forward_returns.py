"""Forward returns beside the values of one symbol: the input of its evaluation."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.symbol_bars import SymbolBars
from kline_core.evaluation.information_coefficient import RankIC, time_series_rank_ic
from kline_core.settings import Settings
from kline_core.typing import Dates, Floats64, Int8s, Int64s
from kline_core.windows.outcomes import outcomes
from kline_core.windows.windows import jumps_between


@dataclass(frozen=True, slots=True, eq=False)
class ForwardReturns:
    """n samples of one symbol, by date."""

    symbol: str
    dates: Dates
    """datetime64[D] (n,)"""
    bars: Int64s
    """int64 (n,): ordinal of each date among the symbol's traded bars."""
    values: Floats64
    """float64 (n,): factor values, NaN if the sample failed."""
    returns: Floats64
    """float64 (n,): forward return over `return_horizon` bars from the entry, NaN if not known yet, or if it reaches
    across an unexplained jump."""
    forward: Floats64
    """float64 (n, horizons): forward returns over each horizon of the pattern settings."""
    barrier: Int8s
    """int8 (n,): which barrier was touched first from the entry, as of a pattern, `UNDECIDED` if not known yet."""
    apart: int
    """Distance in bars from which on two returns do not overlap; includes the entry lag, to be safe."""
    without_bar: int
    """Values that were left out, since their dates have no bar."""
    across_jumps: int
    """Values whose return over `return_horizon` bars reaches across an unexplained jump, and so is NaN."""

    def rank_ic(self) -> RankIC:
        """Rank IC of the values with the returns; see `time_series_rank_ic` for its small bias."""
        return time_series_rank_ic(self.bars, self.values, self.returns, self.apart)


def forward_returns(factors: pa.Table, bars: SymbolBars, settings: Settings) -> ForwardReturns:
    """Join a symbol's values with their forward returns.

    Args:
        factors: Rows of the symbol in the `factors` table under one fingerprint, columns symbol, date and value. Those
            of dates without a bar are left out, and their values counted.
        bars: Bars of the symbol.
        settings: Settings of the values.

    Raises ValueError if a row is of another symbol.
    """
    if others := set(pc.unique(factors["symbol"]).to_pylist()) - {bars.symbol}:
        raise ValueError(f"rows of {min(others)} among those of {bars.symbol}")
    mine = factors.sort_by("date")
    dates = mine["date"].to_numpy().astype("datetime64[D]")
    values = mine["value"].to_numpy().astype(np.float64)
    ends = bars.find(dates)
    there = ends >= 0
    ends = ends[there]
    steps, horizon = settings.patterns, settings.factor.return_horizon
    followed = outcomes(bars.dates, bars.open, bars.high, bars.low, bars.close, ends, steps)
    forward = followed.returns.astype(np.float64)
    across = np.zeros(forward.shape, dtype=bool)
    if not steps.allow_jumps:
        lasts = (ends + steps.entry_lag_bars + each for each in steps.horizons)
        across = np.column_stack([jumps_between(bars, ends, last) for last in lasts])
    main = steps.horizons.index(horizon)
    unknowable = across[:, main] & ~np.isnan(forward[:, main]) & ~np.isnan(values[there])
    forward[across] = np.nan
    return ForwardReturns(
        symbol=bars.symbol,
        dates=dates[there],
        bars=ends,
        values=values[there],
        returns=forward[:, main],
        forward=forward,
        barrier=followed.barrier,
        apart=horizon + steps.entry_lag_bars,
        without_bar=int((~np.isnan(values[~there])).sum()),
        across_jumps=int(unknowable.sum()),
    )
