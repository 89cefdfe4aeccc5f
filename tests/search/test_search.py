from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.errors import DateError
from kline_core.patterns.patterns import Patterns
from kline_core.search import candidates as search_module
from kline_core.search import flat_index as index_module
from kline_core.search import pattern_index
from kline_core.search.candidates import Queries
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.naive import eligible_rows
from tests.support.examples import examples
from tests.support.patterns import DAY_0
from tests.support.searches import (
    assert_cores_share,
    assert_naive,
    assert_same,
    assert_threads_share,
    cases,
    market,
    some,
)


@pytest.mark.slow
@given(cases())
@settings(deadline=None, max_examples=examples(150))
def test_equals_the_plain_loop(case):
    patterns, queries, factor, window_bars, first_ask = case
    index = FlatIndex.build(patterns)
    with pytest.MonkeyPatch.context() as patch:
        # Small enough for every stage to be reached by small sets.
        patch.setattr(search_module, "_FIRST_ASK", first_ask)
        patch.setattr(pattern_index, "_PAIRS", 7)
        patch.setattr(index_module, "_BLOCK", 11)
        patch.setattr(index_module, "_GROUP", 3)
        matches = search(index, patterns, queries, factor, window_bars)
    assert_naive(matches, patterns, queries, factor, window_bars)


@pytest.mark.slow
@given(cases(), st.integers(1, 9))
@settings(deadline=None)
def test_batches_and_order_do_not_matter(case, size):
    patterns, queries, factor, window_bars, _ = case
    index = FlatIndex.build(patterns)
    whole = search(index, patterns, queries, factor, window_bars)
    backwards = np.arange(len(queries))[::-1]
    for first in range(0, len(queries), size):
        part = backwards[first : first + size]
        matches = search(index, patterns, some(queries, part), factor, window_bars)
        assert np.array_equal(matches.rows, whole.rows[part])
        assert np.array_equal(matches.similarity, whole.similarity[part], equal_nan=True)
        assert np.array_equal(matches.eligible, whole.eligible[part])


def future_matches(patterns, queries, matches):
    """Matches whose outcome was not known on the sample's date, counted by a plain loop."""
    return sum(
        patterns.known_on[row] > queries.dates[query]
        for query in range(len(queries))
        for row in matches.rows[query]
        if row >= 0
    )


@pytest.mark.slow
@given(cases())
@settings(deadline=None)
def test_no_match_comes_from_the_future(case):
    patterns, queries, factor, window_bars, _ = case
    matches = search(FlatIndex.build(patterns), patterns, queries, factor, window_bars)
    assert future_matches(patterns, queries, matches) == 0
    for query in range(len(queries)):
        allowed = eligible_rows(patterns, queries.dates[query], queries.codes[query], queries.bars[query], window_bars)
        assert set(matches.rows[query].tolist()) <= {-1, *allowed}


def test_the_test_above_notices_eligibility_by_the_end_of_the_window(monkeypatch):
    patterns, queries = market(1, symbols=3, bars=60, dim=4, kinds=50, delay=21, noise=1.0)
    index = FlatIndex.build(patterns)
    assert future_matches(patterns, queries, search(index, patterns, queries, FactorSettings(), 20)) == 0

    def ended(self, dates):
        return np.searchsorted(np.sort(self.end), dates, side="right")

    monkeypatch.setattr(Patterns, "n_known", ended)
    assert future_matches(patterns, queries, search(index, patterns, queries, FactorSettings(), 20)) > 100


def test_bars_after_the_date_change_nothing():
    patterns, queries = market(2, symbols=4, bars=40, dim=8, kinds=100, delay=5, noise=1.0)
    date = DAY_0 + 50
    early = some(queries, np.flatnonzero(queries.dates <= date))
    before = search(FlatIndex.build(patterns), patterns, early, FactorSettings(), 20)
    # The future is replaced by copies of the queries themselves, the most tempting matches there are.
    vectors = patterns.vectors.copy()
    future = patterns.known_on > date
    vectors[future] = np.resize(early.vectors, (future.sum(), 8))
    other = replace(patterns, vectors=vectors)
    assert_same(search(FlatIndex.build(other), other, early, FactorSettings(), 20), before)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_thousands_of_identical_charts(noise):
    patterns, queries = market(3, symbols=5, bars=300, dim=32, kinds=3, delay=21, noise=noise, visible=1.0)
    queries = some(queries, np.arange(0, len(queries), 60))
    factor = FactorSettings(search_k=40)
    matches = search(FlatIndex.build(patterns), patterns, queries, factor, 20)
    assert_naive(matches, patterns, queries, factor, 20)
    assert (matches.eligible > 1000).any()


@pytest.mark.slow
def test_isolation_starves_the_first_candidates_and_the_search_widens():
    # One symbol's many near-copies come first; the five matches lie far behind them.
    patterns, queries = market(4, symbols=40, bars=70, dim=16, kinds=1, delay=1, noise=0.3, visible=1.0)
    vectors = patterns.vectors.copy()
    query = queries.vectors[-1]
    vectors[patterns.code == 0] = query
    patterns = replace(patterns, vectors=vectors)
    last = Queries(query[None], patterns.known_on[-1:], np.array([-1], np.int32), np.array([0], np.int32))
    index = FlatIndex.build(patterns)
    for search_k, found in ((5, 1), (60, 2), (70, 3), (71, 4), (300, 5)):
        factor = FactorSettings(search_k=search_k, isolation_bars=30)
        matches = search(index, patterns, last, factor, 20)
        assert_naive(matches, patterns, last, factor, 20)
        assert (matches.rows >= 0).sum() == found


def test_early_dates_and_symbols_without_patterns():
    patterns, queries = market(5, symbols=2, bars=10, dim=4, kinds=20, delay=3, noise=1.0, visible=1.0)
    first = patterns.known_on[0]
    days = first + np.array([-1000, -1, 0, 1, 2])
    early = Queries(queries.vectors[:5], days, np.full(5, -1, np.int32), np.zeros(5, np.int32))
    matches = search(FlatIndex.build(patterns), patterns, early, FactorSettings(), 20)
    assert matches.eligible[:2].tolist() == [0, 0]
    assert matches.eligible[2] >= 1
    assert_naive(matches, patterns, early, FactorSettings(), 20)


def test_nothing_to_search():
    patterns = Patterns.empty(4, 4)
    index = FlatIndex.build(patterns)
    one = np.zeros(1, dtype=np.int32)
    query = Queries(np.eye(1, 4, dtype=np.float32), DAY_0[None], one - 1, one)
    matches = search(index, patterns, query, FactorSettings(), 20)
    assert matches.rows.tolist() == [[-1] * 5]
    assert matches.eligible.tolist() == [0]
    assert len(search(index, patterns, some(query, np.zeros(0, dtype=int)), FactorSettings(), 20)) == 0


@pytest.mark.slow
def test_threads_share_an_index():
    patterns, queries = market(6, symbols=6, bars=200, dim=32, kinds=40, delay=21, noise=0.1)
    assert_threads_share(FlatIndex.build(patterns), patterns, queries)
    assert_cores_share(FlatIndex.build(patterns), patterns, queries)


def test_what_does_not_fit_is_refused():
    patterns, queries = market(7, symbols=2, bars=5, dim=4, kinds=2, delay=1, visible=1.0)
    index = FlatIndex.build(patterns)
    with pytest.raises(ValueError, match="holds 10 patterns, not 0"):
        search(index, Patterns.empty(4, 4), queries, FactorSettings(), 20)
    with pytest.raises(ValueError, match=r"float32 \(10, 3\); they must be float32 \(q, 4\)"):
        search(index, patterns, replace(queries, vectors=queries.vectors[:, :3]), FactorSettings(), 20)
    with pytest.raises(ValueError, match="different lengths"):
        search(index, patterns, replace(queries, bars=queries.bars[1:]), FactorSettings(), 20)
    nat = np.full(10, "NaT", dtype="datetime64[D]")
    with pytest.raises(DateError, match="NaT"):
        search(index, patterns, replace(queries, dates=nat), FactorSettings(), 20)
    for bad in (np.nan, np.inf, 2.0):
        vectors = queries.vectors.copy()
        vectors[3] = bad
        with pytest.raises(ValueError, match="query 3 has a vector that is not L2-normalised"):
            search(index, patterns, replace(queries, vectors=vectors), FactorSettings(), 20)
