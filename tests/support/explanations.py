"""Explanations made by hand, for pictures."""

from dataclasses import replace

import numpy as np

from kline_core.bars.symbol_bars import SymbolBars
from kline_core.factor.explanation import Explanation, Match
from kline_core.settings import Settings

SETTINGS = Settings()


def walk(n, seed, start=100.0):
    rng = np.random.default_rng(seed)
    close = start * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    open_ = np.concatenate([[start], close[:-1]])
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    dates = np.arange("2020-01-01", n, dtype="datetime64[D]")
    return SymbolBars(
        "S", dates, open_, high, low, close, np.ones(n), np.ones(n), np.zeros(n, np.uint64), np.zeros(n, bool)
    )


def cut(bars, first, last):
    names = ("dates", "open", "high", "low", "close", "volume", "content")
    return replace(bars, **{name: getattr(bars, name)[first:last] for name in names})


def followed(barrier, rank=1, share=0.2):
    """A match after which the given barrier is touched five bars after the entry."""
    bars = walk(41, seed=rank)
    flat = np.full(21, bars.close[19])
    after = replace(cut(bars, 20, 41), open=flat, close=flat, high=flat * 1.001, low=flat * 0.999)
    if barrier > 0:
        after.high[5:] = flat[5:] * 1.051
    elif barrier < 0:
        after.low[5:] = flat[5:] * 0.969
    end = bars.dates[19]
    returns = {"r1": 0.0, "r5": 0.01, "r10": 0.0, "r20": 0.0}
    return Match(rank, "S", end, after.dates[-1], 0.9, 0.1, share, returns, barrier, cut(bars, 0, 20), after)


def view_of(matches, after=0, barrier=None, value=0.5):
    bars = walk(41, seed=99)
    factor = {
        "value": value,
        "status": "ok",
        "reason": None,
        "barrier_win_rate": 0.5,
        "return_win_rate": 0.5,
        "effective_matches": 2.5,
    }
    if value is None:
        factor |= {"status": "failed", "reason": "too few matches: 0 of 5"}
    return Explanation(
        symbol="600519.SH",
        date=bars.dates[19],
        settings=SETTINGS,
        fingerprint="f",
        factor=factor,
        window=cut(bars, 0, 20),
        after=cut(bars, 20, 20 + after),
        outcome={"r1": None, "r5": None, "r10": None, "r20": None, "barrier": barrier},
        matches=matches,
    )
