import math

import numpy as np
import pytest

from kline_core.evaluation.quantiles import quantile_returns

NAN = float("nan")


def columns(*rows):
    sessions, values, returns = zip(*rows, strict=True)
    return np.array(sessions), np.array(values, float), np.array(returns, float)


def test_pooled_by_hand():
    # Ten values in fifths of two, one return each, 0 to 9: beyond their mean of 4.5.
    rows = [(session, session / 10, float(session)) for session in range(10)]
    found = quantile_returns(*columns(*rows, (3, NAN, 99.0), (3, 0.5, NAN)), apart=1, min_symbols=None)
    assert not found.across
    assert [group.quantile for group in found.groups] == [1, 2, 3, 4, 5]
    assert [group.samples for group in found.groups] == [2] * 5
    assert [group.value for group in found.groups] == pytest.approx([0.05, 0.25, 0.45, 0.65, 0.85])
    assert [group.mean for group in found.groups] == pytest.approx([-4.0, -2.0, 0.0, 2.0, 4.0])
    assert [group.se for group in found.groups] == pytest.approx([math.sqrt(0.5 / 2)] * 5)
    assert (found.spread, found.spread_se) == pytest.approx((8.0, math.sqrt(0.5)))


def test_pooled_error_counts_sessions_not_samples():
    """Twelve samples on three sessions of which two are apart: as if there were two."""
    sessions, returns = np.repeat([0, 1, 9], 4), np.arange(12.0)
    found = quantile_returns(sessions, np.zeros(12), returns, apart=5, min_symbols=None)
    only = found.groups[2]
    assert (only.samples, only.n_independent) == (12, 2)
    assert only.se == pytest.approx(returns.std(ddof=1) / math.sqrt(2))
    assert [group.samples for group in found.groups] == [0, 0, 12, 0, 0]
    assert math.isnan(found.groups[0].mean)
    assert math.isnan(found.spread)


def test_across_by_hand():
    day = [(0.1, 1.0), (0.2, 2.0), (0.3, 3.0), (0.4, 4.0), (0.5, 10.0)]
    rows = [
        (session, value, lift * result) for session, lift in ((0, 1.0), (1, 5.0), (6, 2.0)) for value, result in day
    ]
    # A session with four pairs does not count.
    thin = [(3, value, 100.0) for value, _ in day[:4]] + [(3, 0.9, NAN)]
    found = quantile_returns(*columns(*rows, *thin), apart=6, min_symbols=5)
    assert found.across
    assert [group.samples for group in found.groups] == [3] * 5
    assert [group.n_independent for group in found.groups] == [2] * 5
    # Returns beyond the session's mean of 4: -3, -2, -1, 0, 6, times a mean lift of 8 / 3.
    assert [group.mean for group in found.groups] == pytest.approx([x * 8 / 3 for x in (-3, -2, -1, 0, 6)])
    # Lifts of sessions 0 and 6 are 1 and 2: a deviation of sqrt(1/2), by sqrt(2) sessions.
    assert [group.se for group in found.groups] == pytest.approx([abs(x) / 2 for x in (-3, -2, -1, 0, 6)], abs=1e-12)
    assert (found.spread, found.spread_se) == pytest.approx((9 * 8 / 3, 9 / 2))


def test_equal_values_share_a_group():
    rows = [(session, value, 1.0) for session in range(3) for value in (0.0, 0.0, 0.0, 0.7, 1.0)]
    found = quantile_returns(*columns(*rows), apart=1, min_symbols=5)
    # Three zeros have rank 2 of 5: the second fifth. No session has the lowest, so that there is no spread.
    assert [group.samples for group in found.groups] == [0, 9, 0, 3, 3]
    assert math.isnan(found.groups[0].value)
    assert math.isnan(found.spread)
    assert math.isnan(found.spread_se)


@pytest.mark.parametrize("min_symbols", [None, 5])
def test_nothing_to_group(min_symbols):
    empty = np.zeros(0)
    found = quantile_returns(np.zeros(0, np.int64), empty, empty, 6, min_symbols)
    assert [group.samples for group in found.groups] == [0] * 5
    assert all(math.isnan(group.mean) and math.isnan(group.se) for group in found.groups)
    assert math.isnan(found.spread)
