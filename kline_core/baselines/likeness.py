"""Baselines that find similar windows by other vectors than the encoder's.

Outcomes, eligibility, exclusions, search and weights are those of the factor: nothing differs but the vector.

* `closes`: the z-normalised closes of the window, as in nearest-neighbour search on time series (Keogh & Kasetty, On
  the Need for Time Series Data Mining Benchmarks, Data Mining and Knowledge Discovery 7, 2003);
* `ohlc`: open, high, low and close, less the mean and by the deviation of all four together;
* `pixels`: principal components of the pixels of the chart (Turk & Pentland, Eigenfaces for Recognition, Journal of
  Cognitive Neuroscience 3, 1991), of synthetic charts alone, as the encoder is trained on these;
* `untrained`: the encoder's network with random weights;
* `encoder`: the encoder itself, which gives the factor's own values.

In several time scales the vectors of the charts stand one after the other, weighted as the encoder's are. Vectors have
the length 1. The same window of equal prices throughout, which has no shape, has a direction of its own.
"""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from kline_core.baselines.samples import Samples
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.network import AttentionEncoder
from kline_core.encoder.synthetic import synthetic_market
from kline_core.factor.state import LoadedState
from kline_core.factor.weighting import factor_values
from kline_core.patterns.encode import AnyEncoder, joined_vectors
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Queries
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.settings import PatternSettings, Settings
from kline_core.typing import Floats32, Floats64, Int32s, Int64s
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import WindowPrices, prices_of_windows
from kline_core.windows.similarity import z_normalise

COMPONENTS: Final = 64
"""Principal components of pixels: as many as the encoder's vector has numbers."""
SEED: Final = 0
_SLICE: Final = 4096
_TRAINING: Final = (64, 400)
"""Symbols and bars of the synthetic market whose charts the components are of."""

Vectors: TypeAlias = Callable[[WindowPrices], Floats32]
"""Vectors of n windows, float32 (n, d), each of length 1."""


def closes(prices: WindowPrices) -> Floats32:
    """Vectors of z-normalised closes: float32 (n, window_bars + 1)."""
    return _with_length_1(z_normalise(prices.close, prices.low.min(axis=1, keepdims=True)))


def ohlc(prices: WindowPrices) -> Floats32:
    """Vectors of the four prices, normalised together: float32 (n, 4 * window_bars + 1)."""
    return _with_length_1(z_normalise(np.concatenate(prices, axis=1), prices.low.min(axis=1, keepdims=True)))


def _with_length_1(rows: Floats32) -> Floats32:
    """Rows of length 1; a row of zeros becomes the last of one dimension more."""
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    none = length == 0
    found = np.zeros((len(rows), rows.shape[1] + 1), dtype=np.float32)
    found[:, :-1] = rows / np.where(none, 1.0, length)[:, None]
    found[none, -1] = 1.0
    return found


def pixel_components(window_bars: int) -> Vectors:
    """Vectors of the first `COMPONENTS` principal components of pixels: float32 (n, `COMPONENTS` + 1)."""
    market = synthetic_market(*_TRAINING, seed=SEED)
    at = np.arange(0, _TRAINING[1] - window_bars + 1, window_bars)[:, None] + np.arange(window_bars)
    windows = [price[:, at].reshape(-1, window_bars) for price in (market.open, market.high, market.low, market.close)]
    pixels = _flat(WindowPrices(*windows))
    mean = pixels.mean(axis=0)
    _, _, directions = np.linalg.svd(pixels - mean, full_matrices=False)
    # Fewer where windows are so short that their pixels have fewer directions.
    turn = directions[:COMPONENTS].T

    def vectors(prices: WindowPrices) -> Floats32:
        return _with_length_1(((_flat(prices) - mean) @ turn).astype(np.float32))

    return vectors


def _flat(prices: WindowPrices) -> Floats64:
    charts = render_charts(*prices)
    return charts.reshape(len(charts), math.prod(charts.shape[1:])).astype(np.float64) / 255.0


def encoded_by(encoder: AnyEncoder) -> Vectors:
    """Vectors of an encoder: float32 (n, dim)."""
    return lambda prices: encoder.encode(render_charts(*prices))


def untrained(encoder: AnyEncoder) -> Vectors:
    """Vectors of the network of an encoder with random weights."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = AttentionEncoder(encoder.dim, encoder.window_bars)
    return encoded_by(Encoder(network, "untrained"))


def likeness_values(state: LoadedState, samples: Samples, vectors: Vectors | None, settings: Settings) -> Floats64:
    """Values of the m usable samples by the matches that vectors find: float64 (m,), NaN where a sample fails.

    `vectors`: None for those of the encoder, which the patterns hold already.
    """
    steps, patterns, index = settings.patterns, state.patterns, state.index
    made = encoded_by(state.encoder) if vectors is None else vectors
    queried = _vectors(state, samples.names, samples.code, samples.bar, made, steps)
    if vectors is not None:
        rows = _vectors(state, patterns.symbols, patterns.code, patterns.bar.astype(np.int64), made, steps)
        patterns = with_vectors(patterns, rows)
        index = FlatIndex.build(patterns)
    asked = samples.prices(state.frames, steps.window_bars)
    dates = samples.dates[samples.usable]
    codes = np.array(patterns.codes_of(samples.names), dtype=np.int32)[samples.code]
    queries = Queries(queried, dates, codes, samples.bar.astype(np.int32), asked)
    found = search(
        *(index, patterns, queries, settings.factor),
        *(steps.window_bars, state.shapes, steps.span_bars),
    )
    return factor_values(patterns, found, dates, settings).value


def _vectors(
    state: LoadedState, symbols: list[str], code: Int32s, bar: Int64s, made: Vectors, steps: PatternSettings
) -> Floats32:
    """Vectors of n windows, named as for `prices_of_windows`, in all time scales: float32 (n, d)."""
    found = []
    # Once for none too, so that their length is known.
    for start in range(0, max(1, len(code)), _SLICE):
        part = slice(start, start + _SLICE)
        windows = state.frames, symbols, code[part], bar[part], steps.window_bars
        candles = (prices_of_windows(*windows, scale) for scale in steps.scales)
        found.append(joined_vectors(map(made, candles), steps.weights_of_scales))
    return np.concatenate(found)


def with_vectors(known: Patterns, vectors: Floats32) -> Patterns:
    """The first n patterns with other vectors, float32 (n, d)."""
    count = len(vectors)
    return Patterns.from_codes(
        symbols=known.symbols,
        code=known.code[:count],
        end=known.end[:count],
        known_on=known.known_on[:count],
        bar=known.bar[:count],
        returns=known.returns[:count],
        barrier=known.barrier[:count],
        content=known.content[:count],
        vectors=vectors,
    )
