"""The state of the market on each session, from what was known at its close.

The market is the equal-weight mean of the returns of all symbols that traded on the session and on the one before,
without unexplained jumps. Of a session, all by the market's returns up to and including it:

* *trend*: the sum of the last `TREND` returns, divided by their standard deviation and the root of their number. Above
  1 the market is a bull, below -1 a bear, else ranging.
* *volatility*: the standard deviation of the last `VOLATILITY` returns is above ("turbulent") or not above ("calm") the
  median of all such figures until then.

The first sessions, and those of fewer than `MIN_SYMBOLS` symbols before them, have no state.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.evaluation.estimate import MIN_SYMBOLS
from kline_core.typing import Dates, Floats64, Int64s, Objects

TREND: Final = 60
VOLATILITY: Final = 20
TRENDS: Final = ("bull", "ranging", "bear")
VOLATILITIES: Final = ("calm", "turbulent")


@dataclass(frozen=True, slots=True, eq=False)
class Regimes:
    """States by session; None where there is none."""

    trend: Objects
    """object (days,): one of `TRENDS`."""
    volatility: Objects
    """object (days,): one of `VOLATILITIES`."""


def regimes_of(days: Dates, frames: BarsBySymbol) -> Regimes:
    """States of the market of these symbols on `days`, datetime64[D] (days,): all dates of the bars, increasing."""
    market = pd.Series(market_returns(days, frames))
    rolled = market.rolling(TREND, min_periods=TREND)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (rolled.sum() / (rolled.std() * TREND**0.5)).to_numpy()
    trend = np.full(len(days), None, dtype=object)
    trend[np.abs(ratio) <= 1] = "ranging"
    trend[ratio > 1] = "bull"
    trend[ratio < -1] = "bear"
    spread = market.rolling(VOLATILITY, min_periods=VOLATILITY).std()
    usual = spread.expanding(min_periods=TREND).median()
    volatility = np.full(len(days), None, dtype=object)
    volatility[(spread <= usual).to_numpy()] = "calm"
    volatility[(spread > usual).to_numpy()] = "turbulent"
    return Regimes(trend, volatility)


def market_returns(days: Dates, frames: BarsBySymbol) -> Floats64:
    """Mean return of the symbols on each session, float64 (days,): NaN below `MIN_SYMBOLS` symbols."""
    total, count = np.zeros(len(days)), np.zeros(len(days), dtype=np.int64)
    for bars in frames.values():
        at: Int64s = np.searchsorted(days, bars.dates)
        # Over a suspension the return is of more sessions than one.
        sound = (np.diff(at) == 1) & ~bars.jumps[1:]
        change = bars.close[1:] / bars.close[:-1] - 1.0
        total[at[1:][sound]] += change[sound]
        count[at[1:][sound]] += 1
    return np.where(count >= MIN_SYMBOLS, total / np.maximum(count, 1), np.nan)
