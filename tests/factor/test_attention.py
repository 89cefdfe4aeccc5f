"""The attention map points at the candles on which the likeness rests, and is the same each time."""

import numpy as np
import pytest

from kline_core.encoder.encoder import Encoder
from kline_core.factor.attention import attention_map, occluded_charts
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import WindowPrices

BARS = 20


def windows(count, seed):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (count, BARS)), axis=1))
    open_ = close * np.exp(rng.normal(0, 0.01, close.shape))
    return WindowPrices(open_, np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99, close)


class OneCandle:
    """An encoder that sees one candle only: the brighter it is, the further it turns its vector."""

    def __init__(self, candle):
        self.candle = candle

    def encode(self, charts):
        seen = charts[:, 3 * self.candle : 3 * self.candle + 3].astype(np.float64).sum(axis=(1, 2))
        return np.stack([np.cos(seen / 20_000), np.sin(seen / 20_000)], axis=1).astype(np.float32)


@pytest.mark.parametrize("candle", [0, 7, BARS - 1])
def test_it_points_at_the_only_candle_that_is_seen(candle):
    sample = windows(1, seed=1)
    found = attention_map(OneCandle(candle), {1: sample}, {1: sample}, [1.0])
    drops = found.drops[1]
    assert drops.shape == (1, BARS)
    assert drops.dtype == found.similarity.dtype == np.float64
    assert found.similarity == pytest.approx([1], abs=1e-6)
    assert np.flatnonzero(drops[0]).tolist() == [candle]
    assert drops[0, candle] > 0
    assert found.strongest() == (1, candle)


@pytest.mark.slow
def test_drops_are_those_of_the_whole_similarity_in_each_scale():
    samples, matches = (
        {scale: windows(count, seed=seed + scale) for scale in (1, 5)} for count, seed in ((1, 1), (3, 9))
    )
    encoder, weights = Encoder.load(device="cpu"), [0.75, 0.25]
    found = attention_map(encoder, samples, matches, weights)

    def similarity(charts, match):
        """By a plain loop: the weighted mean of the similarities of the charts."""
        return sum(
            weight * float(np.dot(*(encoder.encode(each[None])[0].astype(np.float64) for each in (chart, other))))
            for weight, chart, other in zip(weights, charts, match, strict=True)
        )

    charts = [render_charts(*samples[scale])[0] for scale in (1, 5)]
    for rank in range(3):
        match = [render_charts(*matches[scale])[rank] for scale in (1, 5)]
        whole = similarity(charts, match)
        assert found.similarity[rank] == pytest.approx(whole, abs=1e-9)
        for place, candle in ((0, 4), (1, 19)):
            painted = [chart.copy() for chart in charts]
            painted[place][3 * candle : 3 * candle + 3] = 0
            drop = found.drops[(1, 5)[place]][rank, candle]
            assert drop == pytest.approx(whole - similarity(painted, match), abs=1e-9)
    again = attention_map(encoder, samples, matches, weights)
    assert again.similarity.tobytes() == found.similarity.tobytes()
    assert [again.drops[scale].tobytes() for scale in (1, 5)] == [found.drops[scale].tobytes() for scale in (1, 5)]
    fewer = attention_map(
        encoder, samples, {scale: WindowPrices(*(p[:1] for p in matches[scale])) for scale in (1, 5)}, weights
    )
    assert fewer.drops[1][0].tobytes() == found.drops[1][0].tobytes()


def test_a_candle_is_painted_over_and_no_other():
    (chart,) = render_charts(*windows(1, seed=3))
    charts = occluded_charts(chart)
    assert (charts.shape, charts.dtype) == ((BARS, 3 * BARS, 64), np.uint8)
    for candle, painted in enumerate(charts):
        inside = np.zeros(3 * BARS, bool)
        inside[3 * candle : 3 * candle + 3] = True
        assert not painted[inside].any()
        assert chart[inside].any()
        assert np.array_equal(painted[~inside], chart[~inside])
