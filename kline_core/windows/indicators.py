"""Regime, volume and money flow of a symbol on some of its bars, and the regime of a market: context beside a value.

Each figure of bar t is computed from bars up to and including t. Where there are too few bars, a volume is unknown, or
an unexplained jump (`kline_core.bars.jumps`) lies between two of its bars, it is NaN.

With R_i the simple return from the bar before to bar i, and r_i = log(1 + R_i):

* trailing return: product of 1 + R over the last `TREND_BARS` (60) returns, minus 1;
* volatility: standard deviation (n - 1) of these r, per bar;
* regime: `bull` if sum(r) > volatility * sqrt(60), `bear` if sum(r) < -volatility * sqrt(60), else `ranging`. That
  compares the trailing return with its own standard error: t > 1, t < -1, or neither, of the mean return. A random walk
  without drift is ranging two thirds of the time. After the scaling of trailing returns by volatility in T. Moskowitz,
  Y. H. Ooi, L. H. Pedersen, Time series momentum, Journal of Financial Economics 104 (2012), 228-250;
* volume ratio: volume over the mean volume of the 20 bars before;
* OBV slope: slope of the least-squares line through the on-balance volume of the last 20 bars, over their mean volume.
  On-balance volume adds the volume of a bar that closed higher than the one before, and subtracts that of one that
  closed lower: J. Granville, Granville's New Key to Stock Market Profits (Prentice-Hall, 1963);
* CMF, Chaikin money flow: sum(m * volume) / sum(volume) over 20 bars with m = ((close - low) - (high - close)) /
  (high - low), 0 for a bar without a span: M. Chaikin, as in S. Achelis, Technical Analysis from A to Z
  (McGraw-Hill, 2000);
* MFI, money flow index: 100 * up / (up + down) with up and down the sums of typical price * volume over those of the
  last 14 bars whose typical price, (high + low + close) / 3, rose or fell against the bar before: G. Quong, A. Soudack,
  Volume-weighted RSI: money flow, Technical Analysis of Stocks & Commodities 7:3 (1989), 76-77.

Volumes of earlier bars are counted in shares of bar t: a volume divided by its adjustment factor's quotient to that of
bar t. So a split makes no jump; a dividend of 2 % moves volumes before it by as much. Prices are adjusted, and money
flow is raw price times raw volume, which a split leaves as it is. All factors or all prices times one constant change
nothing: returns and quotients of factors are rounded as elsewhere (`kline_core.windows.outcomes`,
`kline_core.bars.adjustment`), and the figures to 9 decimals.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from kline_core._sums import row_sums
from kline_core.bars.adjustment import SAME_PRICE, rounded
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars
from kline_core.typing import Dates, Floats64, Int64s, Objects
from kline_core.windows.outcomes import RETURN_STEPS, return_steps
from kline_core.windows.windows import jumps_between

TREND_BARS: Final = 60
VOLUME_BARS: Final = 20
FLOW_BARS: Final = 14
BULL, BEAR, RANGING = "bull", "bear", "ranging"
_MARKET_GAP: Final = np.timedelta64(20, "D")
"""Longest hole across which a return counts for the market: one of months is not of that day."""
_DECIMALS: Final = 9


@dataclass(frozen=True, slots=True, eq=False)
class Trend:
    """Trailing return and volatility of m bars."""

    trailing_return: Floats64
    """float64 (m,), a fraction; NaN where there are too few returns."""
    volatility: Floats64
    """float64 (m,), of log returns, per bar."""
    regime: Objects
    """(m,): `BULL`, `BEAR`, `RANGING`, or None where the others are NaN."""

    @classmethod
    def of(cls, returns: Floats64, ends: Int64s) -> Self:
        """Trend over the last `TREND_BARS` simple returns up to and including each of `ends`, int64 (m,).

        `returns`: float64 (n,), one for each bar or day, NaN where there is none.
        """
        rows = _last(returns, ends, TREND_BARS)
        logs = np.log1p(np.where(rows > -1.0, rows, np.nan))
        total = row_sums(logs)
        apart = logs - (total / TREND_BARS)[:, None]
        volatility = np.sqrt(row_sums(apart * apart) / (TREND_BARS - 1))
        bound = volatility * np.sqrt(TREND_BARS)
        regime = np.full(len(ends), None, dtype=object)
        for name, there in ((RANGING, ~np.isnan(total)), (BULL, total > bound), (BEAR, total < -bound)):
            regime[there] = name
        return cls(_shown(np.expm1(total)), _shown(volatility), regime)


@dataclass(frozen=True, slots=True, eq=False)
class VolumeFigures:
    """Volume and money flow on m bars: float64 (m,) each."""

    volume_ratio: Floats64
    """At least 0; 1 is the usual volume."""
    obv_slope: Floats64
    """Share of the mean volume that on-balance volume gains or loses per bar, about -1 to 1."""
    cmf: Floats64
    """-1 to 1."""
    mfi: Floats64
    """0 to 100."""

    @classmethod
    def of(cls, bars: SymbolBars, ends: Int64s) -> Self:
        """The figures on the bars `ends`, int64 (m,)."""
        count = VOLUME_BARS
        with_one_before, volume = _volumes(bars, ends, count + 1), _volumes(bars, ends, count)
        ratio = _divided(with_one_before[:, -1], row_sums(with_one_before[:, :-1]) / count)
        total = row_sums(volume)
        signed = _changes(_last(bars.close, ends, count)) * volume[:, 1:]
        obv = np.concatenate([np.zeros((len(ends), 1)), np.cumsum(signed, axis=1)], axis=1)
        place = np.arange(count) - (count - 1) / 2
        slope = row_sums(obv * place) / (place * place).sum()
        high, low, close = (_last(prices, ends, count) for prices in (bars.high, bars.low, bars.close))
        span = high - low
        flat = span <= SAME_PRICE * high
        where = np.where(flat, 0.0, ((close - low) - (high - close)) / np.where(flat, 1.0, span))
        # A window of unknown volumes has no total, and so no figure.
        return cls(
            _shown(ratio),
            _shown(_divided(slope, total / count)),
            _shown(_divided(row_sums(where * volume), total)),
            _shown(_money_flow(bars, ends)),
        )


def _volumes(bars: SymbolBars, ends: Int64s, count: int) -> Floats64:
    """Volumes of the last `count` bars up to each of `ends` in shares of it, float64 (m, count).

    NaN throughout where an unexplained jump lies between them: it may be a split without a factor.
    """
    factor = _last(bars.adj_factor, ends, count)
    volume = _last(bars.volume, ends, count) / rounded(factor / factor[:, -1:])
    return np.where(jumps_between(bars, ends - (count - 1), ends)[:, None], np.nan, volume)


def _money_flow(bars: SymbolBars, ends: Int64s) -> Floats64:
    """Money flow index on the bars `ends`: float64 (m,)."""
    typical = (bars.high + bars.low + bars.close) / 3.0
    direction = _changes(_last(typical, ends, FLOW_BARS + 1))
    flow = _last(typical / bars.adj_factor * bars.volume, ends, FLOW_BARS)
    up, down = (row_sums(np.where(direction == sign, flow, 0.0 * flow)) for sign in (1.0, -1.0))
    quiet = ~jumps_between(bars, ends - FLOW_BARS, ends)
    # Bars that are missing leave no direction, but no flow either.
    return 100.0 * _divided(np.where(quiet, up, np.nan), up + down)


def bar_returns(bars: SymbolBars) -> Floats64:
    """Simple return of each bar from the one before, float64 (n,): NaN for the first, and across unexplained jumps."""
    found = np.full(len(bars), np.nan)
    found[1:] = return_steps(bars.close[:-1], bars.close[1:]) / RETURN_STEPS
    found[bars.jumps] = np.nan
    return found


def market_returns(frames: BarsBySymbol) -> tuple[Dates, Floats64]:
    """Equal-weight mean return of a market's symbols on each day on which one has a return.

    A symbol counts on the days of its bars, with the return from its bar before, unless that is more than 20 calendar
    days or an unexplained jump away.

    Returns:
        days: datetime64[D] (d,), increasing.
        returns: float64 (d,), fractions.
    """
    dates, returns = [np.zeros(0, "datetime64[D]")], [np.zeros(0)]
    for symbol in sorted(frames):
        bars = frames[symbol]
        each = bar_returns(bars)
        each[1:][np.diff(bars.dates) > _MARKET_GAP] = np.nan
        there = ~np.isnan(each)
        dates.append(bars.dates[there])
        returns.append(each[there])
    days, at = np.unique(np.concatenate(dates), return_inverse=True)
    # Returns are multiples of one small step, so that sums of them are exact in any order.
    total = np.bincount(at, np.concatenate(returns), minlength=len(days))
    return days, total / np.maximum(np.bincount(at, minlength=len(days)), 1)


def _last(values: Floats64, ends: Int64s, count: int) -> Floats64:
    """The last `count` values up to and including each of `ends`, float64 (m, count); NaN where there are fewer."""
    first = ends - (count - 1)
    place = np.maximum(first, 0)[:, None] + np.arange(count)
    enough = first >= 0
    found = np.full((len(ends), count), np.nan)
    found[enough] = values[place[enough]]
    return found


def _changes(prices: Floats64) -> Floats64:
    """1.0 where a price is higher than the one before, -1.0 where it is lower, else 0.0: float64 (m, count - 1)."""
    before, now = prices[:, :-1], prices[:, 1:]
    higher, lower = now > before * (1.0 + SAME_PRICE), now < before * (1.0 - SAME_PRICE)
    return higher.astype(np.float64) - lower.astype(np.float64)


def _divided(one: Floats64, other: Floats64) -> Floats64:
    """Quotient, NaN where it is none."""
    there = other > 0
    return np.where(there, one, np.nan) / np.where(there, other, 1.0)


def _shown(figures: Floats64) -> Floats64:
    rounded_figures: Floats64 = np.round(figures, _DECIMALS)
    return rounded_figures
