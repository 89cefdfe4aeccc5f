"""Changes of factors equal the plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.adjustment import factor_changes
from tests import naive

factor = st.one_of(st.floats(1e-12, 1e12), st.sampled_from([1.0, 2.0, 1.0345, 1e12, 1e-12]))


@pytest.mark.slow
@given(st.lists(st.tuples(st.one_of(st.none(), factor), st.lists(factor, min_size=1, max_size=6)), max_size=4))
def test_equal_to_the_plain_loop(symbols):
    expected = []
    for before, factors in symbols:
        previous = factors[0] if before is None else before
        for each in factors:
            expected.append(naive.factor_change(each, previous))
            previous = each
    lengths = [len(factors) for _, factors in symbols]
    first = np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int64)
    before = np.array([np.nan if each is None else each for each, _ in symbols])
    given_factors = np.array([each for _, factors in symbols for each in factors])
    assert factor_changes(given_factors, first, before).tolist() == expected


@pytest.mark.parametrize(("moved", "noticed"), [(1e-8, True), (1e-15, False)])
def test_a_billionth_is_noticed_and_rounding_is_not(moved, noticed):
    plain, other = (
        factor_changes(np.array([1.0, 1.05 * by]), np.array([0]), np.array([np.nan])) for by in (1, 1 + moved)
    )
    assert (plain[1] != other[1]) == noticed
