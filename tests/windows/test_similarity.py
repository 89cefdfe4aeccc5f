import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.windows.similarity import WEIGHTS, Shapes, dtw_distances, pair_scores
from tests import naive
from tests.support.candles import candles, columns

price = st.integers(100, 2000).map(lambda cents: cents / 100)
pairs = st.integers(2, 14).flatmap(lambda n: st.tuples(*[st.lists(candles(price), min_size=n, max_size=n)] * 2))


def shapes(*windows):
    return Shapes.of(*columns(windows))


@pytest.mark.slow
@given(pairs)
def test_equal_to_the_plain_loop_and_symmetric(pair):
    one, other = (shapes(window) for window in pair)
    score = pair_scores(one, other)
    assert score.dtype == np.float32
    assert score[0] == pytest.approx(naive.full_score(*pair), abs=2e-6)
    assert -1e-6 <= score[0] <= 1 + 1e-6
    assert pair_scores(other, one)[0] == score[0]


@pytest.mark.slow
@given(st.integers(1, 12), st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_banded_warping_is_that_of_the_plain_loop(bars, band, seed):
    # Quarters are exact in float32, so that the two agree to the last bit.
    x, y = np.random.default_rng(seed).integers(-12, 13, (2, 5, bars)).astype(np.float32) / 4
    expected = [naive.warping_distance(a.tolist(), b.tolist(), band) for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(dtw_distances(x, y, band), expected)


def test_a_band_of_five_bars_bounds_the_warping():
    x, y, z = np.zeros((3, 1, 20), dtype=np.float32)
    x[0, 4], y[0, 9], z[0, 10] = 1, 1, 1
    assert dtw_distances(x, y)[0] == 0
    assert dtw_distances(x, z)[0] > 0


@pytest.mark.slow
@given(st.lists(candles(price), min_size=3, max_size=20))
def test_a_window_is_itself(window):
    closes = [close for *_, close in window]
    returns = np.diff(np.log(closes))
    lost = WEIGHTS["price"] / 2 if len(set(closes)) == 1 else 0.0
    lost += WEIGHTS["return"] / 2 if np.ptp(returns) < 1e-12 else 0.0
    # A correlation with a constant row is taken for 0, even that of the row with itself.
    assert pair_scores(shapes(window), shapes(window))[0] == pytest.approx(1 - lost, abs=1e-6)


def test_constant_windows():
    flat, up = [(5.0, 5.0, 5.0, 5.0)] * 20, [(5.0 + i, 6.0 + i, 5.0 + i, 6.0 + i) for i in range(20)]
    made = shapes(flat, up)
    assert np.isfinite(made.closes).all()
    assert np.isfinite(made.features).all()
    assert not made.closes[0].any()
    assert not made.returns[0].any()
    assert pair_scores(made[:1], made[1:])[0] == pytest.approx(naive.full_score(flat, up), abs=2e-6)


def test_prices_that_differ_by_rounding_alone_are_constant():
    # The same price before and after a split, through another adjustment factor.
    closes = [10.0 * 1.1 if i % 3 else 5.0 * 2.2 + 2**-49 for i in range(20)]
    assert len(set(closes)) == 2
    made = shapes([(close, close, close, close) for close in closes])
    assert not made.closes.any()
    assert not made.returns.any()


def test_equal_returns_are_constant():
    made = shapes([(c, c, c, c) for c in 100 * 1.0001 ** np.arange(20)])
    assert made.closes.any()
    assert not made.returns.any()


@pytest.mark.slow
@given(pairs, st.integers(-10, 10))
def test_the_unit_of_price_does_not_matter(pair, power):
    prices = [columns([window]) for window in pair]
    one, other = (Shapes.of(*price) for price in prices)
    scaled, _ = (Shapes.of(*(price * 2.0**power)) for price in prices)
    assert pair_scores(scaled, other)[0] == pytest.approx(pair_scores(one, other)[0], abs=1e-6)


def test_shapes_are_taken_by_position():
    rng = np.random.default_rng(0)
    low, open_, close, high = np.sort(rng.uniform(1, 9, (4, 9, 20)), axis=0)
    made = Shapes.of(open_, high, low, close)
    assert len(made) == 9
    some = made[np.array([7, 2])]
    np.testing.assert_array_equal(some.closes, made.closes[[7, 2]])
    np.testing.assert_array_equal(some.returns, made.returns[[7, 2]])
    np.testing.assert_array_equal(some.features, made.features[[7, 2]])
    assert len(made[2:5]) == 3
