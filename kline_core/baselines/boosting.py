"""A gradient-boosted model on the same bars, trained walk-forward.

1. The features of a window are its prices and volumes: logarithms of open, high, low and close by the last close, and
   of the volume by the window's mean, bar by bar. No feature has a scale.
2. The samples of a year are answered by a model that was trained on the patterns whose outcome was known on the last
   day of the year before: `known_on` is earlier than the year. At most `MOST` of them, drawn with a fixed seed.
3. What it learns is the forward return over `return_horizon` bars, cut off at `CUT` either way, since few large returns
   would decide it.

Trees and boosting are scikit-learn's `HistGradientBoostingRegressor` (Ke et al., LightGBM, NeurIPS 2017).
"""

from typing import Any, Final

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol, group_by_code
from kline_core.baselines.samples import Samples
from kline_core.factor.state import LoadedState
from kline_core.settings import Settings
from kline_core.typing import Floats32, Floats64, Int32s, Int64s
from kline_core.windows.prices import window_positions, window_prices

MOST: Final = 100_000
"""Windows that a model is trained on, at most."""
LEAST: Final = 1_000
"""Windows below which no model is trained, and the year's samples have no value."""
TREES: Final = 100
RATE: Final = 0.05
"""Learning rate."""
CUT: Final = 0.2
SEED: Final = 0


def boosted_values(state: LoadedState, samples: Samples, settings: Settings) -> Floats64:
    """Predicted forward returns of the m usable samples: float64 (m,), NaN where no model could be trained.

    Raises ImportError without scikit-learn.
    """
    patterns, steps = state.patterns, settings.patterns
    horizon = steps.horizons.index(settings.factor.return_horizon)
    found = np.full(len(samples.usable), np.nan)
    years = samples.dates[samples.usable].astype("datetime64[Y]")
    asked = features(state.frames, samples.names, samples.code, samples.bar, steps.window_bars)
    for year in np.unique(years):
        known = int(np.searchsorted(patterns.known_on, year.astype("datetime64[D]"), side="left"))
        if known < LEAST:
            continue
        # By the year, so that no other year that is asked for changes the draw.
        draw = np.random.default_rng([SEED, int(year.astype(np.int64))])
        rows = np.arange(known) if known <= MOST else np.sort(draw.choice(known, MOST, replace=False))
        seen = features(
            *(state.frames, patterns.symbols, patterns.code[rows], patterns.bar[rows].astype(np.int64)),
            steps.window_bars,
        )
        now = years == year
        found[now] = boosted(seen, np.clip(patterns.returns[rows, horizon].astype(np.float64), -CUT, CUT), asked[now])
    return found


def boosted(seen: Floats32, target: Floats64, asked: Floats32) -> Floats64:
    """Predictions for `asked` (m, f) of a model that has learned `target` (n,) from `seen` (n, f): float64 (m,).

    Raises ImportError without scikit-learn.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    # Volumes that nobody delivers: scikit-learn takes no column without a number.
    there = ~np.isnan(seen).all(axis=0)
    model: Any = HistGradientBoostingRegressor(max_iter=TREES, learning_rate=RATE, random_state=SEED)
    model.fit(seen[:, there], target)
    predicted: Floats64 = model.predict(asked[:, there])
    return predicted


def features(frames: BarsBySymbol, symbols: list[str], code: Int32s, bar: Int64s, window_bars: int) -> Floats32:
    """Features of n windows: float32 (n, 5 * window_bars). A volume of 0 or none is NaN, which trees take."""
    found = np.empty((len(code), 5 * window_bars), dtype=np.float32)
    for which, at in group_by_code(code):
        bars = frames[symbols[which]]
        prices = window_prices(bars, bar[at], window_bars)
        last = prices.close[:, -1:]
        volume = bars.volume[window_positions(bar[at], window_bars)]
        volume = np.where(volume > 0, volume, np.nan)
        there = ~np.isnan(volume)
        mean = np.where(there, volume, 0.0).sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [*(np.log(price / last) for price in prices), np.log(volume / mean)]
        found[at] = np.concatenate(parts, axis=1)
    return found
