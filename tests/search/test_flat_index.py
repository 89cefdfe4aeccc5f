from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.patterns.patterns import Patterns
from kline_core.search import flat_index as index_module
from kline_core.search.flat_index import FlatIndex
from tests.naive import similarity
from tests.support.patterns import columns
from tests.support.searches import asked, drawn


def test_the_index_searches_the_vectors_where_they_are():
    patterns = Patterns.from_arrays(**columns("ABC", [1, 2, 3]))
    index = FlatIndex.build(patterns)
    assert np.shares_memory(index.rows, patterns.vectors)
    assert index.rows.ctypes.data == patterns.vectors.ctypes.data
    assert not index.rows.flags.writeable


def test_an_index_goes_on_from_another():
    for had in (0, 1, 37):
        whole = Patterns.from_arrays(**columns("A" * 37, np.arange(37)))
        before = FlatIndex.build(replace(whole, vectors=whole.vectors[:had]))
        kept = before.rows.copy()
        both = before.followed_by(whole.vectors[had:])
        assert np.array_equal(both.rows, whole.vectors)
        assert not both.rows.flags.writeable
        assert (both.scan is None) == (before.scan is None)
        assert np.array_equal(before.rows, kept)


def test_an_empty_index():
    index = FlatIndex.build(Patterns.empty(5, 4))
    assert index.rows.shape == (0, 5)
    assert len(index) == 0


@pytest.mark.slow
@given(asked, st.integers(1, 70))
@settings(deadline=None)
def test_nearest_proposes_from_the_prefix_and_bounds_the_rest(asked, count):
    index, vectors, known = drawn(*asked)
    rows, floor = index.nearest(vectors, known, count)
    for query in range(len(known)):
        proposed = [row for row in rows[query].tolist() if row >= 0]
        assert len(set(proposed)) == len(proposed) == min(count, known[query])
        assert all(row < known[query] for row in proposed)
        for row in set(range(known[query])) - set(proposed):
            assert similarity(vectors[query], index.rows[row]) <= floor[query] + index.score_error
        if known[query] <= count:
            assert floor[query] == -np.inf


@pytest.mark.slow
@given(asked, st.integers(1, 20), st.integers(1, 5))
@settings(deadline=None)
def test_above_misses_no_row_of_the_prefix(asked, block, group):
    index, vectors, known = drawn(*asked)
    exact = [[similarity(vector, row) for row in index.rows] for vector in vectors]
    # The hardest bounds are values that occur.
    bound = np.array([exact[query][len(exact[query]) // 2] for query in range(len(known))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "_BLOCK", block)
        patch.setattr(index_module, "_GROUP", group)
        found = index.at_least(vectors, known, bound)
    assert len(found) == len(known)
    for query, rows in enumerate(found):
        assert (np.diff(rows) > 0).all()
        wanted = {row for row in range(known[query]) if exact[query][row] >= bound[query]}
        assert wanted <= set(rows.tolist()) <= set(range(known[query]))
        for row in rows:
            assert exact[query][row] >= bound[query] - 3 * index.score_error
