"""The price of many tries, by formula and by trying."""

import math

import numpy as np
import pytest
from scipy import stats

from kline_core.evaluation.multiple_testing import expected_best, sidak, tries_of


@pytest.mark.parametrize("tried", [2, 5, 20, 200])
def test_the_expected_best_is_what_tries_of_nothing_reach(tried):
    drawn = np.random.default_rng(tried).normal(size=(20_000, tried)).max(axis=1).mean()
    # The formula is the limit for many tries; for few it is a little low.
    assert expected_best(tried) == pytest.approx(drawn, abs=0.07)
    euler = 0.5772156649015329
    exact = (1 - euler) * stats.norm.ppf(1 - 1 / tried) + euler * stats.norm.ppf(1 - 1 / (tried * math.e))
    assert expected_best(tried) == pytest.approx(exact)


def test_sidak_is_the_chance_of_the_best():
    assert sidak(0.05, 1) == pytest.approx(0.05)
    assert sidak(0.01, 10) == pytest.approx(1 - 0.99**10)
    assert sidak(1e-12, 10) == pytest.approx(1e-11)
    assert (sidak(1.0, 3), sidak(0.0, 3)) == (1.0, 0.0)
    assert math.isnan(sidak(math.nan, 3))
    smallest = np.random.default_rng(0).random((40_000, 8)).min(axis=1)
    assert (smallest <= 0.02).mean() == pytest.approx(sidak(0.02, 8), abs=0.01)


def test_the_warning_counts():
    assert tries_of(0.03, 1).warning == (
        "1 setting was tried in this home; p of the judged figure 0.03; settings tried elsewhere, or removed, are not "
        "counted."
    )
    said = tries_of(0.03, 12).warning
    assert said.startswith(
        "12 settings were tried in this home; the best of 12 that say nothing is expected 1.7 standard"
    )
    assert "p of the judged figure 0.03, of the best of 12 0.31" in said
    assert "p of" not in tries_of(math.nan, 2).warning
    assert expected_best(1) == 0.0
