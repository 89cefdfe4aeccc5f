"""Synthetic bars: for training the encoder, for tests and for benchmarks.

`synthetic_market` draws daily bars whose charts look like those of shares, in these steps:

1. every symbol moves through regimes of random length (5 to 60 bars), each with its own drift (trend) and its own pull
   towards the price at which the regime began (reversal);
2. volatility clusters: log-variance follows an AR(1) process round a level of the symbol's own;
3. Student-t shocks, now and then a jump of several standard deviations;
4. part of each day's variance falls into the gap between the close and the next open;
5. high and low are drawn from the exact law of a Brownian bridge's extremes between open and close (Karatzas & Shreve,
   Brownian Motion and Stochastic Calculus, section 2.8), times a random share of the day's volatility;
6. some symbols open and close within a limit of 10 % or 20 % round the last close; a day that hits it in full closes
   there, and some such days trade at that one price only (on the others, high and low may pass the limit);
7. prices are rounded to 0.01, from levels between 2 and 500.

`random_walk` is steps 5 and 7 over Gaussian returns alone: bars without anything to find.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kline_core.typing import Floats64


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticBars:
    """Unadjusted prices of many symbols, float64 `(symbols, bars)` each, in units of currency."""

    open: Floats64
    high: Floats64
    low: Floats64
    close: Floats64

    def to_frame(self, start: str = "2010-01-04", prefix: str = "SYN") -> pd.DataFrame:
        """The bars in the plain layout, on consecutive weekdays from `start`; volume is 1,000,000 throughout."""
        n_symbols, n_bars = self.close.shape
        names = np.array([f"{prefix}{i:05d}" for i in range(n_symbols)])
        dates = pd.bdate_range(start, periods=n_bars)
        return pd.DataFrame(
            {
                "symbol": np.repeat(names, n_bars),
                "date": np.tile(dates, n_symbols),
                "open": self.open.ravel(),
                "high": self.high.ravel(),
                "low": self.low.ravel(),
                "close": self.close.ravel(),
                "volume": 1_000_000.0,
            }
        )


def synthetic_market(n_symbols: int, n_bars: int, seed: int) -> SyntheticBars:
    """Bars by the steps at the head of this module; the same arguments give the same bars."""
    rng = np.random.default_rng(seed)
    base = np.exp(rng.uniform(np.log(0.008), np.log(0.035), n_symbols))
    limit = rng.choice([np.inf, 0.10, 0.20], n_symbols, p=[0.5, 0.35, 0.15])
    gap_share = rng.uniform(0.05, 0.5, n_symbols)
    log_variance = np.zeros(n_symbols)
    left = np.zeros(n_symbols, dtype=np.int64)
    drift = np.zeros(n_symbols)
    pull = np.zeros(n_symbols)
    anchor = np.zeros(n_symbols)
    level = np.zeros(n_symbols)
    opens = np.empty((n_symbols, n_bars))
    closes = np.empty((n_symbols, n_bars))
    sigmas = np.empty((n_symbols, n_bars))
    locked = np.zeros((n_symbols, n_bars), dtype=bool)
    for t in range(n_bars):
        fresh = left == 0
        left = np.where(fresh, rng.integers(5, 61, n_symbols), left) - 1
        drift = np.where(fresh, rng.normal(0, 0.25, n_symbols) * base, drift)
        pull = np.where(fresh, rng.choice([0.0, 0.1, 0.25], n_symbols, p=[0.6, 0.2, 0.2]), pull)
        anchor = np.where(fresh, level, anchor)
        log_variance = 0.94 * log_variance + rng.normal(0, 0.3, n_symbols)
        sigma = base * np.exp(0.5 * log_variance)
        shock = rng.standard_t(5, n_symbols) * np.sqrt(3 / 5)
        shock = np.where(rng.random(n_symbols) < 0.01, shock * 4, shock)
        move = drift - pull * (level - anchor) + sigma * shock
        gap = np.sqrt(gap_share) * sigma * rng.normal(0, 1, n_symbols)
        gap = np.where(rng.random(n_symbols) < 0.5, gap + gap_share * move, gap)
        capped = np.clip(move, np.log1p(-limit.clip(max=0.99)), np.log1p(limit))
        hit = capped != move
        opens[:, t] = level + np.clip(gap, np.log1p(-limit.clip(max=0.99)), np.log1p(limit))
        locked[:, t] = hit & (rng.random(n_symbols) < 0.4)
        level = level + capped
        closes[:, t] = level
        sigmas[:, t] = sigma * np.sqrt(1 - gap_share)
    opens = np.where(locked, closes, opens)
    sigmas = np.where(locked, 0.0, sigmas)
    start = np.exp(rng.uniform(np.log(2), np.log(500), (n_symbols, 1)))
    return _bars(rng, opens, closes, sigmas, start)


def random_walk(n_symbols: int, n_bars: int, seed: int, sigma: float = 0.02) -> SyntheticBars:
    """Gaussian random walks without drift in the log price; daily volatility `sigma`, starting at 100."""
    rng = np.random.default_rng(seed)
    closes = np.cumsum(rng.normal(0, sigma, (n_symbols, n_bars)), axis=1)
    opens = np.concatenate([np.zeros((n_symbols, 1)), closes[:, :-1]], axis=1)
    return _bars(rng, opens, closes, np.full_like(closes, sigma), np.full((n_symbols, 1), 100.0))


def _bars(
    rng: np.random.Generator, opens: Floats64, closes: Floats64, sigmas: Floats64, start: Floats64
) -> SyntheticBars:
    """High and low from the extremes of Brownian bridges in the log price, then prices rounded to 0.01."""
    spread = (sigmas * rng.uniform(0.3, 1.0, sigmas.shape)) ** 2

    def extreme(sign: int) -> Floats64:
        luck = -2.0 * np.log(1.0 - rng.random(sigmas.shape))
        level: Floats64 = (opens + closes + sign * np.sqrt((closes - opens) ** 2 + spread * luck)) / 2
        return level

    high, low = extreme(1), extreme(-1)

    def price(level: Floats64) -> Floats64:
        return np.maximum(np.round(start * np.exp(level), 2), 0.01)

    return SyntheticBars(price(opens), price(high), price(low), price(closes))
