"""Made-up markets with bars and vectors of their own, for modes that compare bars."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Queries
from kline_core.search.flat_index import FlatIndex
from kline_core.search.pattern_shapes import PatternShapes
from kline_core.search.search import search
from kline_core.windows.prices import prices_of_windows
from tests.naive import search_one

KINDS = ("walk", "cents", "constant", "two prices", "tiny ticks", "copy", "scaled copy", "locked")


@dataclass(repr=False)
class BarMarket:
    """Patterns with their shapes, and a query for every window."""

    patterns: Patterns
    queries: Queries
    shapes: PatternShapes
    windows: list
    """The patterns' windows as lists of (open, high, low, close)."""
    window_bars: int

    def some(self, at):
        q = self.queries
        prices = type(q.prices)(*(price[at] for price in q.prices))
        return Queries(q.vectors[at], q.dates[at], q.codes[at], q.bars[at], prices)

    def search(self, at, settings, shapes=None):
        index = FlatIndex.build(self.patterns)
        return search(index, self.patterns, self.some(at), settings, self.window_bars, shapes or self.shapes)

    def plain(self, at, settings):
        """What a plain loop finds for one query."""
        q = self.some(np.array([at]))
        window = np.stack([price[0] for price in q.prices], axis=1).tolist()
        sample = q.vectors[0], q.dates[0], q.codes[0], q.bars[0]
        return search_one(self.patterns, *sample, settings, self.window_bars, window, self.windows)

    def with_prices_times(self, factors):
        """The same market with all prices of each symbol in another unit."""
        return replace(
            self, shapes=PatternShapes(self.patterns, _scaled(self.shapes._frames, factors), self.window_bars)
        )


def _scaled(frames, factors):
    changed = {}
    for bars, factor in zip(frames.values(), factors, strict=True):
        prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
        changed[bars.symbol] = replace(bars, **prices)
    return changed


def closes(kind, bars, rng, others):
    steps = rng.standard_normal(bars)
    if kind == "cents":
        return np.round(5 + np.cumsum(np.round(steps)) * 0.01, 2)
    if kind == "constant":
        return np.full(bars, 7.3)
    if kind == "two prices":
        return rng.choice([10.0, 10.01], bars)
    if kind == "tiny ticks":
        return 1000 + np.cumsum(rng.integers(-1, 2, bars)) * 1e-4
    if kind == "locked":
        return 10 * 1.1 ** np.arange(bars).clip(0, 30)
    if kind in ("copy", "scaled copy") and others:
        return others[rng.integers(len(others))] * (3.7 if kind == "scaled copy" else 1.0)
    return 20 * np.exp(np.cumsum(0.02 * steps))


def bar_market(seed, kinds, bars, window_bars, delay, dim=4, charts=4, noise=0.3):
    """A market with one symbol for each of `kinds`, whose vectors are those of a few charts, moved by some noise."""
    rng = np.random.default_rng(seed)
    rows, made, names = [], [], []
    for number, kind in enumerate(kinds):
        close = closes(kind, bars, rng, made)
        made.append(close)
        flat = kind in ("constant", "locked")
        open_ = close if flat else np.concatenate([close[:1], close[:-1]])
        reach = 0.0 if flat else np.round(rng.uniform(0, 0.02, bars) * close, 2)
        days = np.datetime64("2020-01-01") + np.cumsum(rng.integers(1, 3, bars))
        names.append(f"S{number}")
        rows.append(
            pd.DataFrame(
                {
                    "symbol": names[-1],
                    "date": days.astype("datetime64[s]"),
                    "open": open_,
                    "high": np.maximum(open_, close) + reach,
                    "low": np.minimum(open_, close) - np.minimum(reach, 0.5 * close),
                    "close": close,
                    "volume": 1.0,
                    "adj_factor": 1.0,
                    "suspended": False,
                }
            )
        )
    frame = pd.concat(rows, ignore_index=True)
    frame["date"] = frame["date"].dt.date
    frames = bars_by_symbol(frame)
    ordinals = np.arange(window_bars - 1, bars)
    vectors = rng.standard_normal((charts, dim))[rng.integers(charts, size=len(names) * len(ordinals))]
    vectors = vectors + noise * rng.standard_normal(vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    symbol = np.repeat(np.array(names, dtype=object), len(ordinals))
    bar = np.tile(ordinals, len(names)).astype(np.int32)
    end = np.concatenate([frames[name].dates[ordinals] for name in names])
    there = bar + delay < bars
    known = np.concatenate([frames[name].dates[np.minimum(ordinals + delay, bars - 1)] for name in names])
    count = int(there.sum())
    patterns = Patterns.from_arrays(
        symbol=symbol[there],
        end=end[there],
        known_on=known[there],
        bar=bar[there],
        returns=rng.standard_normal((count, 4)).astype(np.float32),
        barrier=rng.integers(-1, 2, count).astype(np.int8),
        content=rng.integers(0, 2**63, count).astype(np.uint64),
        vectors=vectors[there],
    )
    codes = np.searchsorted(names, symbol.astype(str)).astype(np.int32)
    prices = prices_of_windows(frames, names, codes, bar.astype(np.int64), window_bars)
    queries = Queries(vectors, end, patterns.codes_of(symbol), bar, prices)
    own = prices_of_windows(frames, patterns.symbols, patterns.code, patterns.bar.astype(np.int64), window_bars)
    windows = np.stack(own, axis=2).tolist()
    return BarMarket(patterns, queries, PatternShapes(patterns, frames, window_bars), windows, window_bars)
