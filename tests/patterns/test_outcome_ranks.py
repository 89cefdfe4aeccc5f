import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.patterns.outcome_ranks import FEWEST, rank_targets


def days(numbers):
    return np.datetime64("2020-01-01") + np.asarray(numbers, dtype=np.int64)


def slow_ranks(end, known_on, returns):
    """The definition, pattern by pattern."""
    found = np.full(len(returns), np.nan)
    for one in range(len(returns)):
        of_day = (end == end[one]) & (known_on <= known_on[one])
        if of_day.sum() >= FEWEST:
            below = (returns[of_day] < returns[one]).sum()
            equal = (returns[of_day] == returns[one]).sum()
            found[one] = (below + equal / 2) / of_day.sum() - 0.5
    return found


rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-3, 3)), max_size=40)


@given(rows)
def test_ranks_are_those_of_the_definition(drawn):
    end, delay, returns = np.array(drawn, dtype=np.int64).reshape(-1, 3).T
    given_ = days(end), days(end + 5 + delay), returns / 100.0
    np.testing.assert_allclose(rank_targets(*given_), slow_ranks(*given_), atol=1e-12)


def test_the_best_of_five_has_four_tenths_and_the_middle_one_nothing():
    found = rank_targets(days([0] * 5), days([21] * 5), np.array([0.05, 0.01, -0.02, 0.30, 0.02]))
    assert found == pytest.approx([0.2, -0.2, -0.4, 0.4, 0.0])


@given(rows, st.integers(0, 12), st.integers(-3, 3))
def test_what_becomes_known_later_changes_no_rank_of_before(drawn, until, other):
    end, delay, returns = np.array(drawn, dtype=np.int64).reshape(-1, 3).T
    known_on = days(end + 5 + delay)
    early = known_on <= days(until)
    changed = np.where(early, returns, other * 7 - returns) / 100.0
    before = rank_targets(days(end)[early], known_on[early], returns[early] / 100.0)
    np.testing.assert_array_equal(rank_targets(days(end), known_on, changed)[early], before)
