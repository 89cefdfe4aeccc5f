"""The decay finds the horizon and the half-life that were planted, and neither in noise."""

import math

import numpy as np
import pytest
from scipy import stats

from kline_core.evaluation.decay import BARS, decay_of, furthest
from kline_core.evaluation.estimate import Estimate, normal_p, two_sided_p
from kline_core.evaluation.evaluate import as_rows
from kline_core.evaluation.panel import Panel
from kline_core.settings import Settings
from tests import naive
from tests.support.made_markets import LAG, MadeMarket, noise_market, slow_values


def decay(market, values):
    return decay_of(
        Panel.of(as_rows(market.rows(values)), market.frames, Settings()), market.frames, Settings().patterns
    )


def fading(seed, half_life, strength=0.35, sessions=900, symbols=20):
    """A signal that follows an autoregression, and the market whose next step after the entry it moves."""
    rng = np.random.default_rng(seed)
    keep = 2 ** (-1 / half_life)
    signal = rng.normal(size=(sessions, symbols))
    for at in range(1, sessions):
        signal[at] = keep * signal[at - 1] + math.sqrt(1 - keep**2) * signal[at]
    steps = rng.normal(size=(sessions, symbols))
    steps[LAG + 1 :] += strength * signal[: -LAG - 1]
    return MadeMarket(0.01 * steps), signal


@pytest.mark.slow
@pytest.mark.parametrize("half_life", [3.0, 10.0])
def test_a_known_half_life_is_found(half_life):
    found = decay(*fading(1, half_life))
    assert found.reason is None
    assert abs(found.half_life - half_life) <= max(3 * found.half_life_se, 0.1 * half_life)
    assert found.half_life_se < 0.35 * half_life
    first = found.points[0].alone.value
    # Spearman's of normal numbers whose Pearson's is 0.35 / sqrt(1 + 0.35^2).
    assert first == pytest.approx(6 / math.pi * math.asin(0.33 / 2), abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("planted", [3, 10, 20])
def test_the_planted_horizon_is_found(planted):
    market = noise_market(3, sessions=900)
    ahead = market.ahead(planted)
    rng = np.random.default_rng(4)
    values = np.nan_to_num(ahead / np.nanstd(ahead)) + 1.5 * rng.normal(size=ahead.shape)
    assert decay(market, values).horizon == planted


def test_points_equal_a_plain_loop():
    market = noise_market(5, symbols=6, sessions=130)
    values = slow_values(5, market)
    values[40:50, 2] = np.nan
    found = decay(market, values)
    close = np.exp(np.cumsum(market.steps, axis=0))
    at = BARS.index(8)
    for estimate, first, apart in ((found.points[at].over, 0, 8 + LAG), (found.points[at].alone, 7, 1 + LAG)):
        ics = []
        for session in range(130 - LAG - 8):
            returns = close[session + LAG + 8] / close[session + LAG + first]
            use = ~np.isnan(values[session])
            ics.append(naive.spearman(values[session][use].tolist(), returns[use].tolist()))
        kept = ics[::apart]
        if len(kept) < 20:
            assert not estimate.known
            continue
        assert estimate.value == pytest.approx(np.mean(ics))
        assert estimate.se == pytest.approx(np.std(kept, ddof=1) / math.sqrt(len(kept)))


def test_noise_has_neither():
    market = noise_market(6, sessions=200, symbols=8)
    found = decay(market, slow_values(6, market))
    assert (found.horizon, math.isnan(found.half_life)) == (None, True)
    assert "nothing fades" in found.reason


def test_one_symbol_has_no_decay():
    market = noise_market(7, symbols=1, sessions=100)
    found = decay(market, slow_values(7, market))
    assert not any(point.over.known or point.alone.known for point in found.points)
    assert found.horizon is None
    assert math.isnan(found.horizon_p)
    assert "fewer than 4 distances" in found.reason


def test_the_furthest_counts_how_many_it_was_chosen_from():
    def one(value, se=1.0):
        return Estimate(value, se, 400, None)

    # p of 2.5 errors is 0.013: enough alone, too little among five.
    assert furthest({1: one(2.5)})[0] == 1
    among = {at: one(0.0) for at in range(1, 5)} | {5: one(2.5)}
    assert furthest(among) == (None, pytest.approx(5 * 2 * stats.t.sf(2.5, 399)))
    # The largest of those that are sure, not the surest.
    assert furthest({1: one(0.05, 0.001), 2: one(-0.2, 0.02)})[0] == 2
    unknown = Estimate(math.nan, math.nan, 3, "too few")
    assert furthest({1: unknown})[0] is None


def test_chances_of_an_estimate():
    assert two_sided_p(Estimate(0.3, 0.1, 30, None)) == pytest.approx(2 * stats.t.sf(3, 29))
    assert normal_p(Estimate(0.3, 0.1, 30, None)) == pytest.approx(2 * stats.norm.sf(3))
    assert two_sided_p(Estimate(1.0, 0.0, 30, None)) == 0.0
    for nothing in (Estimate(0.0, 0.0, 30, None), Estimate(math.nan, math.nan, 3, "too few")):
        assert math.isnan(two_sided_p(nothing))
        assert math.isnan(normal_p(nothing))
