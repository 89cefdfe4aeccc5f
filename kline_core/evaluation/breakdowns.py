"""Rank IC across symbols in parts: by year, state of the market, board, and liquidity.

* By year, and by regime (`kline_core.evaluation.regime`): the mean over the sessions of a part.
* By board: within the symbols of each board; outside the mainland within those of each market.
* By liquidity: within thirds of the symbols of each session, by the mean over the last `LIQUIDITY_BARS` bars up to the
  sample of close times volume, as traded. Vendors' amounts are not used, since many homes hold none, and one ranking
  must not mix two measures. Sessions of fewer than three times `MIN_SYMBOLS` symbols with a known volume are left out.

Each part has p by itself, and Holm's over the parts of the same breakdown (S. Holm, A Simple Sequentially Rejective
Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979), by statsmodels. A part is only worth a look where
the second is small: of many parts one is always far from zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from kline_core.bars.price_limits import board_of
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars
from kline_core.evaluation.estimate import MIN_SYMBOLS, Estimate, across_sessions, two_sided_p
from kline_core.evaluation.forward_returns import ForwardReturns
from kline_core.evaluation.information_coefficient import cross_section_rank_ic
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.quantiles import group_of
from kline_core.evaluation.regime import TRENDS, VOLATILITIES, regimes_of
from kline_core.symbols import market_of
from kline_core.typing import Flags, Floats64, Int64s

LIQUIDITY_BARS: Final = 20
THIRDS: Final = ("least traded", "middle", "most traded")


@dataclass(frozen=True, slots=True)
class Part:
    """Rank IC of one part of the samples."""

    name: str
    rank_ic: Estimate
    p: float
    """Two-sided; NaN if there is no estimate."""
    p_holm: float
    """p that allows for the number of parts."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Rank IC by one property of the samples."""

    by: str
    parts: list[Part]


def breakdowns_of(panel: Panel, frames: BarsBySymbol, returns: Floats64, apart: int) -> list[Breakdown]:
    """All breakdowns. `returns`: float64 (n,); `apart`: distance in sessions from which on they do not overlap."""

    def parts(by: str, named: Sequence[tuple[str, Flags]]) -> Breakdown:
        return _breakdown(by, named, panel, returns, apart)

    years = panel.days.astype("datetime64[Y]").astype(np.int64)[panel.sessions] + 1970
    regimes = regimes_of(panel.days, frames)
    trend, volatility = regimes.trend[panel.sessions], regimes.volatility[panel.sessions]
    boards = np.array([board_name(part.symbol) for part in panel.symbols], dtype=object)[panel.symbol]
    thirds = thirds_of(panel.sessions, liquidity(panel, frames), panel.values + returns)
    found = [
        parts("year", [(str(year), years == year) for year in np.unique(years).tolist()]),
        parts("trend of the market", [(name, trend == name) for name in TRENDS]),
        parts("volatility of the market", [(name, volatility == name) for name in VOLATILITIES]),
        parts("board", [(name, boards == name) for name in sorted(set(boards))]),
        parts("liquidity", [(name, thirds == at) for at, name in enumerate(THIRDS)]),
    ]
    return [each for each in found if each.parts]


def board_name(symbol: str) -> str:
    """Board of a mainland share, market of others, and `other` where the symbol does not tell."""
    return board_of(symbol) or market_of(symbol) or "other"


def liquidity(panel: Panel, frames: BarsBySymbol) -> Floats64:
    """Mean of close times volume over `LIQUIDITY_BARS` bars up to each sample: float64 (n,), NaN if unknown."""

    def traded(part: ForwardReturns, bars: SymbolBars) -> Floats64:
        money = pd.Series(bars.close / bars.adj_factor * bars.volume)
        return money.rolling(LIQUIDITY_BARS, min_periods=LIQUIDITY_BARS).mean().to_numpy(np.float64)[part.bars]

    return panel.each(frames, traded)


def thirds_of(sessions: Int64s, money: Floats64, pairs: Floats64) -> Int64s:
    """The third, 0 to 2, of each sample in its session: int64 (n,), -1 where `money` or `pairs` is NaN, or in a session
    of fewer than three times `MIN_SYMBOLS` samples with both."""
    use = ~(np.isnan(money) | np.isnan(pairs))
    grouped = pd.Series(money[use]).groupby(sessions[use])
    rank = grouped.rank().to_numpy().astype(np.float64)
    size = grouped.transform("size").to_numpy(np.int64)
    found = np.full(len(sessions), -1, dtype=np.int64)
    found[use] = np.where(size >= 3 * MIN_SYMBOLS, group_of(rank, size, 3), -1)
    return found


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's p of several, NaN where p is."""
    from statsmodels.stats.multitest import multipletests

    known = [p for p in chances if not math.isnan(p)]
    adjusted = iter(multipletests(known, method="holm")[1].tolist() if known else [])
    return [p if math.isnan(p) else next(adjusted) for p in chances]


def _breakdown(by: str, named: Sequence[tuple[str, Flags]], panel: Panel, returns: Floats64, apart: int) -> Breakdown:
    estimates = [_estimate(panel, returns, inside, apart) for _, inside in named]
    chances = [two_sided_p(each) for each in estimates]
    rows = zip(named, estimates, chances, holm(chances), strict=True)
    return Breakdown(by, [Part(name, each, p, adjusted) for (name, _), each, p, adjusted in rows])


def _estimate(panel: Panel, returns: Floats64, inside: Flags, apart: int) -> Estimate:
    mine = cross_section_rank_ic(panel.sessions[inside], panel.values[inside], returns[inside], apart, MIN_SYMBOLS)
    return across_sessions(mine)
