"""Windows as a metric sees them: as numbers, or as charts."""

from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.baselines.boosting import features
from kline_core.baselines.samples import Samples
from kline_core.encoder.network import to_input
from kline_core.patterns.patterns import Patterns
from kline_core.typing import Floats32, Int32s, Int64s
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import WindowPrices, prices_of_windows
from kline_core.windows.volume_charts import VolumeWindows, render_volume_charts, volume_windows

_SMALLEST_MOVE: Final = 1e-4
"""Added to the mean move of a window, by which its prices are divided: the prices of a flat one stay finite."""
_USUAL_MOVE: Final = 0.02
_MOST, _MOST_VOLUME = 5.0, 4.0
"""Prices and logarithms of volumes are cut off there, since a network takes no infinite ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """n windows of any symbols."""

    frames: BarsBySymbol
    symbols: list[str]
    """Names behind `code`."""
    code: Int32s
    """int32 (n,)"""
    bar: Int64s
    """int64 (n,): ordinal of each window's last bar among the symbol's traded bars."""
    window_bars: int

    def __len__(self) -> int:
        """Number of windows n."""
        return len(self.code)

    @classmethod
    def of_patterns(cls, frames: BarsBySymbol, patterns: Patterns, window_bars: int) -> Self:
        """The windows of all patterns."""
        return cls(frames, patterns.symbols, patterns.code, patterns.bar.astype(np.int64), window_bars)

    @classmethod
    def of_samples(cls, frames: BarsBySymbol, samples: Samples, window_bars: int) -> Self:
        """The windows of the m usable samples."""
        return cls(frames, samples.names, samples.code, samples.bar, window_bars)

    def part(self, at: Int64s | slice) -> Self:
        """Some of the windows."""
        return replace(self, code=self.code[at], bar=self.bar[at])

    @property
    def named(self) -> tuple[BarsBySymbol, list[str], Int32s, Int64s, int]:
        """The windows as `kline_core.windows.prices.prices_of_windows` takes them."""
        return self.frames, self.symbols, self.code, self.bar, self.window_bars


class Inputs(Protocol):
    """What a network takes of n windows."""

    def __len__(self) -> int:
        """Number of windows n."""

    def take(self, at: Int64s | slice) -> Tensor:
        """Those of some windows: float32 (m, ...)."""


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Prices and volumes of n windows as numbers."""

    numbers: Floats32
    """float32 (n, 5 * window_bars + 1): logarithms of open, high, low and close by the last close, in units of three
    mean absolute moves of the window's closes; of the volumes by their mean, the lowest that there is where a bar has
    none; and of that mean move itself."""

    @classmethod
    def of(cls, windows: Windows) -> Self:
        """The numbers of windows."""
        bars = windows.window_bars
        found = features(windows.frames, windows.symbols, windows.code, windows.bar, bars)
        prices, volumes = found[:, : 4 * bars], found[:, 4 * bars :]
        volumes = np.where(np.isfinite(volumes), volumes, -_MOST_VOLUME)
        move = np.abs(np.diff(found[:, 3 * bars : 4 * bars], axis=1)).mean(axis=1, keepdims=True) + _SMALLEST_MOVE
        scaled = np.clip(prices / (3.0 * move), -_MOST, _MOST)
        whole = [scaled, np.clip(volumes, -_MOST_VOLUME, _MOST_VOLUME), np.log(move / _USUAL_MOVE)]
        return cls(np.concatenate(whole, axis=1).astype(np.float32))

    def __len__(self) -> int:
        """Number of windows n."""
        return len(self.numbers)

    def take(self, at: Int64s | slice) -> Tensor:
        """Those of some windows: float32 (m, 5 * window_bars + 1)."""
        return torch.from_numpy(self.numbers[at])


@dataclass(frozen=True, slots=True, eq=False)
class Charts:
    """Candlestick charts of n windows, drawn when they are taken."""

    prices: WindowPrices

    @classmethod
    def of(cls, windows: Windows) -> Self:
        """The charts of windows."""
        return cls(prices_of_windows(*windows.named))

    def __len__(self) -> int:
        """Number of windows n."""
        return len(self.prices.close)

    def take(self, at: Int64s | slice) -> Tensor:
        """Those of some windows: float32 (m, 1, 3 * window_bars, 64)."""
        return to_input(render_charts(*(each[at] for each in self.prices)))


@dataclass(frozen=True, slots=True, eq=False)
class VolumeCharts:
    """Charts of n windows with volumes and a moving average, drawn when they are taken."""

    shown: VolumeWindows

    @classmethod
    def of(cls, windows: Windows) -> Self:
        """The charts of windows."""
        return cls(volume_windows(*windows.named))

    def __len__(self) -> int:
        """Number of windows n."""
        return len(self.shown.volume)

    def take(self, at: Int64s | slice) -> Tensor:
        """Those of some windows: float32 (m, 1, 3 * window_bars, 64)."""
        return to_input(render_volume_charts(*self.shown.part(at)))
