"""The permutation test equals a slow one, and is exact where symbols are exchangeable."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from kline_core.evaluation.permutation import SEED, permutation_p


def rows(seed, sessions=150, symbols=8, strength=0.0):
    rng = np.random.default_rng(seed)
    day = np.tile(np.arange(sessions), symbols)
    values, returns = rng.normal(size=(2, len(day)))
    return day, values, returns + strength * values


@pytest.mark.slow
def test_equal_to_a_slow_test():
    day, values, returns = rows(0, strength=0.1)
    values = values.round(0)  # with ties
    values[::17] = np.nan
    kept = range(0, 150, 6)
    rng = np.random.default_rng(SEED)
    table = []
    for session in kept:
        use = (day == session) & ~np.isnan(values)
        dealt = rng.permuted(np.broadcast_to(ranks(values[use]), (39, use.sum())), axis=1)
        table.append([spearmanr(x, returns[use]).statistic for x in [values[use], *dealt]])
    table = np.array(table)
    far = np.abs(table.mean(axis=0)) / table.std(axis=0)
    expected = (1 + (far[1:] >= far[0] - 1e-9).sum()) / 40
    assert permutation_p(day, values, returns, 6, deals=39) == pytest.approx(expected)


def ranks(values):
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    average = np.cumsum(count) - (count - 1) / 2
    return 2 * average[place] - len(values) - 1


def test_a_signal_is_found_and_noise_is_not():
    assert permutation_p(*rows(1, strength=0.8), 6) == 0.001
    assert permutation_p(*rows(1), 6) > 0.05


def test_too_few_sessions_symbols_or_differences_have_no_p():
    day, values, returns = rows(2)
    assert math.isnan(permutation_p(day[day < 100], values[day < 100], returns[day < 100], 6))
    assert math.isnan(permutation_p(*rows(3, symbols=4), 6))
    assert math.isnan(permutation_p(day, np.zeros(len(day)), returns, 6))
    assert math.isnan(permutation_p(day, np.full(len(day), np.nan), returns, 6))
    assert math.isnan(permutation_p(day[:0], values[:0], returns[:0], 6))


@pytest.mark.slow
@pytest.mark.parametrize("alike", [False, True])
def test_its_level(alike):
    """Also where values and returns of an industry are alike, which dealing alone would not see."""
    tries, hits = 200, 0
    for seed in range(tries):
        day, values, returns = rows([5, seed], sessions=30, symbols=12)
        if alike:
            industry = np.repeat(np.arange(12) % 3, 30)
            for side in (values, returns):
                side += 2 * np.random.default_rng([6, seed, side is values]).normal(size=(3, 30))[industry, day]
        hits += permutation_p(day, values, returns, 1, deals=199) <= 0.05
    # More than 20 of 200 happen by chance in 1 of 1,000 cases.
    assert 1 <= hits <= 20
