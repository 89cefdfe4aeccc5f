import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.factor.kernel_means import kernel_means, kernel_weights
from tests.naive import mean_by_quarters


def quarters(numbers):
    return (np.datetime64("2015-01") + 3 * np.asarray(numbers, dtype=np.int64)).astype("datetime64[D]")


neighbour = st.tuples(
    st.floats(0, 1, allow_subnormal=False), st.one_of(st.just(np.nan), st.floats(-0.5, 0.5)), st.integers(0, 6)
)


@given(st.lists(neighbour, min_size=1, max_size=30))
def test_mean_and_error_are_those_of_the_formula(drawn):
    weights, outcome, quarter = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    found = kernel_means(weights[None], outcome[None], quarters(quarter)[None])
    mean, se, effective = mean_by_quarters(weights, outcome, quarter)
    assert found.value[0] == pytest.approx(mean, abs=1e-12, nan_ok=True)
    assert found.se[0] == pytest.approx(se, abs=1e-12, nan_ok=True)
    assert found.quarters[0] == pytest.approx(effective, rel=1e-9, nan_ok=True)
    if not np.isnan(mean):
        assert found.low[0] <= found.value[0] <= found.high[0]


def test_neighbours_of_one_quarter_are_one_observation():
    outcome = np.tile([0.01, -0.02, 0.03, 0.00, 0.02], 20)
    together = kernel_means(np.ones((1, 100)), outcome[None], quarters(np.repeat(range(5), 20))[None])
    once = kernel_means(np.ones((1, 5)), outcome.reshape(5, 20).mean(axis=1)[None], quarters(range(5))[None])
    assert together.quarters[0] == pytest.approx(5)
    assert together.se[0] == pytest.approx(once.se[0])


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples, count, spells = 2000, 60, 12
    quarter = np.tile(np.arange(count) % spells, (samples, 1))
    shock = rng.normal(0, 0.03, (samples, spells))
    outcome = 0.01 + np.take_along_axis(shock, quarter, axis=1) + rng.normal(0, 0.02, (samples, count))
    found = kernel_means(np.ones((samples, count)), outcome, quarters(quarter))
    covered = ((found.low <= 0.01) & (found.high >= 0.01)).mean()
    assert covered == pytest.approx(0.95, abs=0.015)


def test_weights_fall_to_nothing_at_the_last_neighbour():
    weights = kernel_weights(np.array([[0.9, 0.7, 0.5, np.nan], [0.8, 0.8, np.nan, np.nan], [np.nan] * 4]))
    assert weights == pytest.approx(np.array([[0.4, 0.2, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0] * 4]))


def test_without_neighbours_or_quarters_there_is_no_value():
    found = kernel_means(np.array([[0.0, 0.0], [1.0, 1.0]]), np.zeros((2, 2)), quarters([[0, 1], [3, 3]]))
    assert np.isnan(found.value).all()
    assert np.isnan(found.low).all()
