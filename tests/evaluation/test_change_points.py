"""Change points: a planted one is found near its day, none in noise; the rolling mean equals a plain one."""

import math

import numpy as np
import pytest
from scipy import stats

from kline_core.evaluation.change_points import ROLLING, change_points, cusum, rolling_ic
from kline_core.evaluation.information_coefficient import CrossSectionIC

DAYS = np.busday_offset("2015-01-05", np.arange(2000))


def ics(figures, sessions=None):
    sessions = np.arange(len(figures)) if sessions is None else sessions
    return CrossSectionIC(float(np.sum(figures)), 0.0, len(figures), 0, 0, sessions, figures)


def test_cusum_equals_a_plain_loop_and_the_limit_law():
    figures = np.random.default_rng(0).normal(size=80)
    figures[50:] += 0.7
    at, p = cusum(figures)
    sums = [abs(sum(figures[:k]) - k * figures.mean()) for k in range(1, 80)]
    assert at == sums.index(max(sums)) + 1
    assert p == pytest.approx(stats.kstwobign.sf(max(sums) / (figures.std(ddof=1) * math.sqrt(80))), rel=1e-6)


@pytest.mark.parametrize("apart", [1, 6])
def test_a_planted_change_is_found(apart):
    rng = np.random.default_rng(1)
    figures = rng.normal(0, 0.1, 1500)
    figures[600:] += 0.15
    (found,) = change_points(ics(figures), DAYS, apart)
    assert abs(int(np.searchsorted(DAYS, found.date)) - 600) <= 12 * apart
    assert found.before == pytest.approx(0.0, abs=0.03)
    assert found.after == pytest.approx(0.15, abs=0.03)
    assert found.p < 0.001


def test_two_changes_are_found_in_order():
    rng = np.random.default_rng(2)
    figures = rng.normal(0, 0.1, 1200)
    figures[400:800] += 0.3
    found = change_points(ics(figures), DAYS, 2)
    assert [abs(int(np.searchsorted(DAYS, each.date)) - at) <= 12 for each, at in zip(found, (400, 800), strict=True)]
    assert found[0].after == found[1].before == pytest.approx(0.3, abs=0.03)


def test_noise_has_changes_as_often_as_the_level_says():
    hits = 0
    for seed in range(200):
        found = change_points(ics(np.random.default_rng([3, seed]).normal(size=120)), DAYS, 1)
        hits += bool(found)
    assert hits <= 20


def test_constants_and_few_sessions_have_none():
    assert change_points(ics(np.full(200, 0.1)), DAYS, 1) == []
    assert change_points(ics(np.r_[np.zeros(19), np.ones(19)]), DAYS, 1) == []
    assert change_points(ics(np.zeros(0)), DAYS, 1) == []
    assert rolling_ic(ics(np.zeros(ROLLING - 1)), DAYS) == []


def test_rolling_means_stand_at_the_ends_of_months():
    figures = np.random.default_rng(4).normal(size=200)
    sessions = np.arange(0, 400, 2)
    found = rolling_ic(ics(figures, sessions), DAYS)
    dates = DAYS[sessions]
    assert [each.date for each in found] == [
        day
        for at, day in enumerate(dates)
        if at >= ROLLING - 1 and (at == 199 or str(dates[at + 1])[:7] != str(day)[:7])
    ]
    for each in found:
        at = int(np.searchsorted(dates, each.date))
        assert each.mean == pytest.approx(np.mean(figures[at - ROLLING + 1 : at + 1]))
