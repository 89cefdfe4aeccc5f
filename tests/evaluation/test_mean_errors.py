"""Errors of a mean equal slow sums, keep their level on dependent series, and say nothing of what is too short."""

import math

import numpy as np
import pytest
from scipy import stats

from kline_core.evaluation.mean_errors import fixed_b_critical, newey_west, overlapping_blocks, window_of


def moving_sums(seed, n=240, reach=6):
    noise = np.random.default_rng(seed).normal(size=n + reach - 1)
    return np.convolve(noise, np.ones(reach), "valid")


def test_newey_west_equals_a_plain_double_sum():
    figures = moving_sums(0)
    n, window = len(figures), window_of(len(figures), 6)
    assert window == 31
    away = figures - figures.mean()
    total = 0.0
    for one in range(n):
        for other in range(n):
            total += max(0.0, 1 - abs(one - other) / (window + 1)) * away[one] * away[other]
    found = newey_west(figures, 6)
    assert found.se == pytest.approx(math.sqrt(total) / n)
    assert found.distance == pytest.approx(abs(figures.mean()) / found.se)
    assert found.critical == fixed_b_critical(32 / 240)


def test_overlapping_blocks_equal_a_plain_loop_and_the_bootstrap():
    figures = moving_sums(1)
    n, length = len(figures), window_of(len(figures), 6) + 1
    means = [sum(figures[at : at + length]) / length for at in range(n - length + 1)]
    spread = sum((mean - figures.mean()) ** 2 for mean in means)
    found = overlapping_blocks(figures, 6)
    assert found.se == pytest.approx(math.sqrt(length * spread / (len(means) * (n - length))))
    assert found.critical == pytest.approx(stats.t.ppf(0.975, 1.5 * (n / length - 1)))
    # Künsch's bootstrap draws whole blocks; its spread is the same before the divisor is corrected.
    rng = np.random.default_rng(2)
    drawn = rng.choice(means, (40_000, n // length)).mean(axis=1).std()
    around = np.mean(means)
    exact = math.sqrt(sum((mean - around) ** 2 for mean in means) / len(means) / (n // length))
    assert drawn == pytest.approx(exact, rel=0.02)
    assert found.se == pytest.approx(exact, rel=0.15)


def test_the_critical_values_are_those_of_the_paper():
    """A simulation of the limit that they stand for: Kiefer and Vogelsang (2005)."""
    assert fixed_b_critical(0) == pytest.approx(stats.norm.ppf(0.975), abs=1e-4)
    rng, n = np.random.default_rng(3), 200
    for share in (0.1, 0.4):
        window = int(share * n) - 1
        x = rng.normal(size=(4000, n))
        away = x - x.mean(axis=1, keepdims=True)
        total = (away**2).sum(axis=1)
        for lag in range(1, window + 1):
            total += 2 * (1 - lag / (window + 1)) * (away[:, lag:] * away[:, :-lag]).sum(axis=1)
        far = np.abs(x.mean(axis=1)) * n / np.sqrt(total)
        assert np.quantile(far, 0.95) == pytest.approx(fixed_b_critical(share), rel=0.06)


@pytest.mark.slow
def test_errors_keep_their_level_on_overlapping_sums():
    """The worst case: figures as dependent as overlapping returns can make them."""
    tries, hits, naive = 600, np.zeros(2), 0
    for seed in range(tries):
        figures = moving_sums([4, seed], 260)
        both = newey_west(figures, 6), overlapping_blocks(figures, 6)
        hits += [each.significant for each in both]
        naive += abs(figures.mean()) > 1.96 * figures.std(ddof=1) / len(figures) ** 0.5
    assert naive > 200
    # 5 % of 600 are 30; more than 47 happen by chance in 1 of 1,000 cases.
    assert (hits <= stats.binom.ppf(0.999, tries, 0.05)).all()
    assert (hits >= 10).all()


@pytest.mark.parametrize("figures", [np.zeros(0), np.arange(20.0), np.full(500, 0.25)])
def test_too_short_or_constant_series_have_no_error(figures):
    for found in (newey_west(figures, 6), overlapping_blocks(figures, 6)):
        assert math.isnan(found.se)
        assert not found.significant
