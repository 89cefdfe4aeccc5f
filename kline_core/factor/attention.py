"""Attention map of a sample: the candles of its chart on which its likeness to each match rests.

By occlusion (M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section
4.2):

1. Paint one candle of the sample's chart over with background: its three columns of pixels, from the lowest row to the
   highest. The other candles stay where they are.
2. Encode the chart again.
3. The drop of its similarity to a match is what the candle contributes to it. A drop below zero says that the two are
   more alike without the candle.

In each time scale only the chart of that scale is painted over, and drops are those of the whole similarity, so that
the candles of all scales may be compared: a scale of little weight has small drops.

It is a picture of the encoder and no proof: candles act together, so drops need not add up to the similarity, and a
chart with a gap is none that the encoder was taught. Similarity is that of the vectors, which in full mode chooses
the candidates alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kline_core.typing import Floats32, Floats64, Pixels
from kline_core.windows.chart_rows import PIXELS_PER_BAR
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import WindowPrices


class ChartEncoder(Protocol):
    """What encodes charts, such as `kline_core.encoder.encoder.Encoder`."""

    def encode(self, charts: Pixels) -> Floats32:
        """Unit vectors of uint8 charts `(n, 3 * window_bars, 64)`: float32 `(n, dim)`."""


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Contribution of each candle of a sample's charts to its similarity to each of m matches."""

    similarity: Floats64
    """float64 (m,): similarity of the vectors, with no candle painted over."""
    drops: Mapping[int, Floats64]
    """float64 (m, window_bars) by time scale, candles in order of time: by how much the similarity falls."""

    def strongest(self, match: int = 0) -> tuple[int, int]:
        """Time scale and position, from 0, of the candle on which the likeness to a match rests most.

        The earliest candle of the smallest scale if several are equal. Raises IndexError if there is no such match.
        """
        candles = [(-float(row[at]), scale, at) for scale, row in self._of(match) for at in range(len(row))]
        _, scale, at = min(candles)
        return scale, at

    def to_dict(self) -> dict[str, Any]:
        """The map as plain JSON values, scales as texts."""
        drops = {str(scale): drop.tolist() for scale, drop in self.drops.items()}
        return {"similarity": self.similarity.tolist(), "drops": drops}

    def _of(self, match: int) -> list[tuple[int, Floats64]]:
        return [(scale, drops[match]) for scale, drops in self.drops.items()]


def occluded_charts(chart: Pixels) -> Pixels:
    """A chart with each of its candles painted over in turn.

    `chart`: uint8 (3 * window_bars, 64). Returns uint8 (window_bars, 3 * window_bars, 64).
    """
    bars = len(chart) // PIXELS_PER_BAR
    charts = np.repeat(chart[None], bars, axis=0)
    candles = charts.reshape(bars, bars, PIXELS_PER_BAR, -1)
    candles[np.arange(bars), np.arange(bars)] = 0
    return charts


def attention_map(
    encoder: ChartEncoder,
    sample: Mapping[int, WindowPrices],
    matches: Mapping[int, WindowPrices],
    weights: Sequence[float],
) -> Attention:
    """Paint over one candle of a sample's charts after the other, and compare with its matches.

    Args:
        encoder: Encodes the charts.
        sample: Prices of the sample's window by time scale, float64 (1, window_bars).
        matches: Prices of the windows of m matches by time scale, float64 (m, window_bars), in the same scales.
        weights: Weight of each scale in the similarity, in their order; they sum to 1.
    """
    similarity: Floats64 | float = 0.0
    drops = {}
    for scale, weight in zip(sample, weights, strict=True):
        (chart,) = render_charts(*sample[scale])
        vectors = encoder.encode(np.concatenate([chart[None], occluded_charts(chart), render_charts(*matches[scale])]))
        first = 1 + len(chart) // PIXELS_PER_BAR
        # Without a matrix product, whose rounding depends on its shape.
        own, others = vectors[:first].astype(np.float64), vectors[first:].astype(np.float64)
        alike = weight * (others[:, None] * own).sum(axis=2)
        similarity = similarity + alike[:, 0]
        drops[scale] = alike[:, :1] - alike[:, 1:]
    return Attention(np.asarray(similarity), drops)
