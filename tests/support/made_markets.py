"""Markets of known truth for the evaluation: returns of symbols, and values that say much, little or nothing."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from kline_core.bars.symbol_bars import SymbolBars, bars_by_symbol

LAG = 1


@dataclass(frozen=True)
class MadeMarket:
    """Log returns float64 (sessions, symbols): entry s is the step from the close of session s - 1 to that of s."""

    steps: np.ndarray

    @cached_property
    def days(self) -> np.ndarray:
        return np.busday_offset("2015-01-05", np.arange(len(self.steps)))

    @cached_property
    def names(self) -> list[str]:
        return [f"M{number:04d}" for number in range(self.steps.shape[1])]

    @cached_property
    def frames(self) -> dict[str, SymbolBars]:
        close = 100 * np.exp(np.cumsum(self.steps, axis=0))
        before = np.concatenate([np.full((1, close.shape[1]), 100.0), close[:-1]])
        sessions, symbols = close.shape
        columns = {
            "open": before,
            "high": np.maximum(before, close) * 1.002,
            "low": np.minimum(before, close) * 0.998,
            "close": close,
            "volume": np.random.default_rng(0).lognormal(10, 1, close.shape),
        }
        frame = pd.DataFrame({name: cells.T.ravel() for name, cells in columns.items()})
        frame["symbol"] = np.repeat(self.names, sessions)
        frame["date"] = np.tile(self.days, symbols)
        return bars_by_symbol(frame.assign(adj_factor=1.0, suspended=False))

    def ahead(self, bars: int) -> np.ndarray:
        """Log return from the entry over that many bars, float64 (sessions, symbols), NaN where it is not known."""
        level = np.cumsum(self.steps, axis=0)
        found = np.full_like(level, np.nan)
        found[: -LAG - bars] = level[LAG + bars :] - level[LAG:-bars]
        return found

    def rows(self, values: np.ndarray) -> pd.DataFrame:
        """Values, float64 (sessions, symbols), as rows."""
        sessions, symbols = values.shape
        return pd.DataFrame(
            {
                "symbol": np.repeat(self.names, sessions),
                "date": np.tile(self.days, symbols),
                "value": values.T.ravel(),
            }
        )


def noise_market(seed: int, symbols: int = 20, sessions: int = 400, groups: int = 4) -> MadeMarket:
    """Walks that move together, most of all within their groups, by changing strength; nothing tells what comes."""
    rng = np.random.default_rng([seed, 1])
    group = np.arange(symbols) % groups
    volatility = 0.01 * np.exp(np.cumsum(rng.normal(0, 0.05, sessions)).clip(-0.7, 0.7))[:, None]
    steps = rng.normal(size=(sessions, 1)) + rng.normal(size=(sessions, groups))[:, group]
    return MadeMarket(volatility * (0.5 * steps + rng.standard_t(5, size=(sessions, symbols)) * 0.7))


def slow_values(seed: int, market: MadeMarket, window: int = 20, groups: int = 4) -> np.ndarray:
    """Values in 0 to 1 that say nothing: moving means of noise, alike within groups, and of the past of the symbol."""
    rng = np.random.default_rng([seed, 2])
    sessions, symbols = market.steps.shape
    noise = rng.normal(size=(sessions + window - 1, symbols))
    noise += 0.7 * rng.normal(size=(sessions + window - 1, groups))[:, np.arange(symbols) % groups]
    smooth = np.lib.stride_tricks.sliding_window_view(noise, window, axis=0).mean(axis=-1) * window**0.5
    past = pd.DataFrame(market.steps / 0.01).rolling(5, min_periods=1).mean().to_numpy()
    return 1 / (1 + np.exp(-0.5 * smooth - 0.3 * past))
