import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.windows.prices import WindowPrices
from kline_core.windows.rounded_shapes import (
    STEPS,
    PriceParts,
    RoundedShapes,
    unwarped_parts,
    warping_distances,
    warping_part,
)
from kline_core.windows.similarity import Shapes, pair_scores
from tests import naive
from tests.support.candles import candles, columns

price = st.integers(100, 2000).map(lambda cents: cents / 100)
pairs = st.integers(2, 14).flatmap(lambda n: st.tuples(*[st.lists(candles(price), min_size=n, max_size=n)] * 2))


def shapes(*windows):
    return RoundedShapes.of(WindowPrices(*columns(windows)))


def walks(count, bars=20, seed=0):
    rng = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(0.02 * rng.standard_normal((count, bars)), axis=1))
    open_ = close * np.exp(0.01 * rng.standard_normal((count, bars)))
    return WindowPrices(open_, np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99, close)


def score(one, other):
    a, b = one.columns(np.array([0])), other.columns(np.array([0]))
    dtw = warping_part(warping_distances(a, b), len(a[:-6]) // 2 + 1)
    return PriceParts(dtw, *unwarped_parts(a, b)).score()[0]


@pytest.mark.slow
@given(pairs)
def test_equal_to_the_plain_loop_bit_for_bit_and_symmetric(pair):
    one, other = (shapes(window) for window in pair)
    assert score(one, other) == naive.full_similarity(*pair)
    assert score(other, one) == score(one, other)


def test_near_the_score_that_the_encoder_was_taught():
    made, taught = RoundedShapes.of(walks(400)), Shapes.of(*walks(400))
    a, b = np.arange(200), np.arange(200, 400)
    found = [score(made.take(a[at : at + 1]), made.take(b[at : at + 1])) for at in range(200)]
    np.testing.assert_allclose(found, pair_scores(taught[a], taught[b]), atol=0.002)


def test_a_shape_does_not_depend_on_the_others():
    prices = walks(67)
    together = RoundedShapes.of(prices)
    for size in (1, 2, 7, 8, 33):
        for first in range(0, 67, size):
            part = RoundedShapes.of(WindowPrices(*(price[first : first + size] for price in prices)))
            assert np.array_equal(part.steps, together.steps[first : first + size])
    # Nor on how the prices lie in memory.
    turned = RoundedShapes.of(WindowPrices(*(np.asfortranarray(price) for price in prices)))
    assert np.array_equal(turned.steps, together.steps)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 6, 7, 20, 32, 33, 60]))
def test_distances_are_those_of_the_plain_loop(seed, bars):
    made = RoundedShapes.of(walks(8, bars, seed))
    a, b = made.columns(np.arange(4)), made.columns(np.arange(4, 8))
    found = warping_distances(a, b)
    assert found.tolist() == [
        naive.warping_distance(a[:bars, at].tolist(), b[:bars, at].tolist(), 5) for at in range(4)
    ]


def test_the_widest_windows_that_are_warped_in_sixteen_bits_fit():
    # One bar that differs is as far from the mean as a bar can be.
    bars = 32
    windows = []
    for at in (0, 31, 5, 26):
        closes = [10.0] * bars
        closes[at] = 20.0 if at < 16 else 5.0
        windows.append([(close, close, close, close) for close in closes])
    made = shapes(*windows)
    assert np.abs(made.steps).max() > 5 * STEPS
    a, b = made.columns(np.array([0, 0, 2, 1])), made.columns(np.array([1, 3, 3, 2]))
    expected = [naive.warping_distance(a[:bars, at].tolist(), b[:bars, at].tolist(), 5) for at in range(4)]
    assert warping_distances(a, b).tolist() == expected


def test_constant_windows():
    flat, up = [(5.0, 5.0, 5.0, 5.0)] * 20, [(5.0 + i, 6.0 + i, 5.0 + i, 6.0 + i) for i in range(20)]
    assert not shapes(flat).steps[0, :39].any()
    assert score(shapes(flat), shapes(up)) == naive.full_similarity(flat, up)
    assert score(shapes(flat), shapes(flat)) == naive.full_similarity(flat, flat)
