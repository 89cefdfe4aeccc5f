import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core._processor import LEAVE_OUT
from kline_core.search import bounded_scan, scan_kernel
from kline_core.search import flat_index as index_module
from kline_core.search import principal_scan as scan_module
from kline_core.search.flat_index import FlatIndex
from kline_core.search.int8_scan import Int8Scan
from kline_core.search.principal_scan import PrincipalScan
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.naive import similarity
from tests.support.examples import examples
from tests.support.searches import (
    assert_naive,
    assert_room_for_one_query_with_very_many_hits,
    assert_same,
    assert_threads_share,
    built,
    cases,
    market,
    some,
)
from tests.support.vector_sets import assert_proposals, counted_pairs, few_directions, small_steps, unit, vector_sets


@pytest.fixture
def small_blocks():
    with small_steps(scan_module):
        yield


def with_directions(rows, count, seed=0):
    """A scan along directions that have nothing to do with the rows."""
    directions, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((rows.shape[1], count)))
    return PrincipalScan(rows, directions, scan_module.divided(rows, directions), scan_module._error(directions))


@given(vector_sets(), st.data())
@settings(deadline=None, max_examples=examples(40))
def test_bounds_hold_for_every_pair(sets, data):
    rows, vectors, _ = sets
    for scan in (
        PrincipalScan.of(rows),
        with_directions(rows, data.draw(st.integers(1, rows.shape[1]))),
    ):
        if not scan.directions.size:
            continue
        queries = scan_module.divided(vectors, scan.directions)
        for query, vector in enumerate(vectors):
            exact = [similarity(vector, row) for row in rows]
            for beaten in (-3.0, *exact[:3]):
                asked = queries[query : query + 1].copy()
                asked[:, -1] = np.float32(scan.error) - np.float32(beaten)
                bounds = (asked @ scan.heads.T)[0]
                # What is not above 0 is no better than what was to be beaten.
                assert all(
                    value <= np.float32(beaten) for value, bound in zip(exact, bounds, strict=True) if bound <= 0
                )


@given(vector_sets(), st.integers(1, 70), st.floats(0, 1), st.integers(0, 64))
@settings(deadline=None, max_examples=examples(60))
@pytest.mark.usefixtures("small_blocks")
def test_proposes_from_the_prefix_and_bounds_the_rest(sets, count, share, directions):
    rows, vectors, known = sets
    had = round(share * len(rows))
    # Directions of the first rows, none of which need suit the others; or of nothing at all.
    first = with_directions(rows[:had], min(directions, rows.shape[1])) if directions else PrincipalScan.of(rows[:had])
    assert_proposals(first.followed_by(rows[had:], rows), rows, vectors, known, count)


@pytest.mark.slow
@given(cases())
@settings(deadline=None, max_examples=examples(100))
@pytest.mark.usefixtures("small_blocks")
def test_search_along_directions_equals_the_plain_loop(case):
    patterns, queries, factor, window_bars, first_ask = case
    index = FlatIndex.build(patterns)
    scan = PrincipalScan.of(index.rows) if patterns.dim < 8 else with_directions(index.rows, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kline_core.search.candidates._FIRST_ASK", first_ask)
        patch.setattr(index_module, "_SCAN_FROM", 1)
        matches = search(FlatIndex(index.rows, scan), patterns, queries, factor, window_bars)
    assert_naive(matches, patterns, queries, factor, window_bars)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [3, 40, 5000])
def test_whole_blocks_equal_faiss_and_whole_numbers(kinds):
    patterns, queries = market(3, symbols=5, bars=900, dim=32, kinds=kinds, delay=21, noise=0.05, visible=1.0)
    queries = some(queries, np.arange(0, len(queries), 11))
    index = FlatIndex.build(patterns)
    by_faiss = search(FlatIndex(index.rows, None), patterns, queries, FactorSettings(), 20)
    for scan in (PrincipalScan.of(index.rows), with_directions(index.rows, 14), Int8Scan.of(index.rows)):
        one = FlatIndex(index.rows, scan)
        assert_same(search(one, patterns, queries, FactorSettings(), 20), by_faiss)


@pytest.mark.slow
def test_threads_share_a_scan():
    patterns, queries = market(1, symbols=3, bars=400, dim=16, kinds=300, delay=5, noise=0.1)
    index = FlatIndex.build(patterns)
    assert_threads_share(FlatIndex(index.rows, with_directions(index.rows, 6)), patterns, queries)


def test_directions_are_few_where_few_matter_and_none_where_all_do():
    scan = PrincipalScan.of(few_directions(2000))
    assert scan.heads.shape == (2000, scan.directions.shape[1] + 2)
    assert 4 <= scan.directions.shape[1] <= 6
    assert scan.heads[:, -2].max() < 0.5
    alike = PrincipalScan.of(unit(np.random.default_rng(0).standard_normal((2000, 32))))
    assert alike.directions.shape == (32, 0)
    assert alike.heads.size == 0


def test_few_rows_are_scored_on_their_own(monkeypatch):
    rows = few_directions(20_000)
    scored = counted_pairs(monkeypatch)
    PrincipalScan.of(rows).nearest(rows[:40], np.full(40, len(rows)), 5)
    assert 0 < sum(pairs for _, pairs in scored) < 40 * len(rows) / 20


def test_rows_are_compared_in_full_where_bounds_are_of_no_use(monkeypatch):
    # As far from each other as they can be, along directions that say nothing of them.
    rows = unit(np.random.default_rng(0).standard_normal((40_000, 64)))
    monkeypatch.setattr(bounded_scan, "_SETTLED", 1000)
    monkeypatch.setattr(scan_kernel, "_PAIRS", 32 * 1024)
    monkeypatch.setattr(scan_kernel, "_LONGER", 1)
    scored = counted_pairs(monkeypatch)
    scan = with_directions(rows, 2)
    scan.nearest(rows[:30], np.full(30, len(rows)), 5)
    whole = [layout.terms == 64 for layout, _ in scored]
    assert not whole[0]
    assert sum(whole) > 0.8 * len(whole)


def test_later_rows_keep_the_directions():
    rows = few_directions(500)
    short = PrincipalScan.of(rows[:300])
    longer = short.followed_by(rows[300:], rows)
    assert longer.directions is short.directions
    assert longer.error == short.error
    assert np.array_equal(longer.heads, scan_module.divided(rows, short.directions))
    assert short.heads.shape[0] == 300


def test_tails_are_rounded_up_and_nothing_is_left_of_a_vector_within_the_directions():
    directions = np.eye(6)[:, :2]
    vectors = np.array([[0.6, 0.8, 0, 0, 0, 0], [0.6, 0, 0.8, 0, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=np.float32)
    heads = scan_module.divided(vectors, directions)
    assert heads[:, :2].tolist() == vectors[:, :2].tolist()
    assert heads[:, 3].tolist() == [1, 1, 1]
    assert 0 < heads[0, 2] < 1e-8
    assert np.float32(0.8) < heads[1, 2] < 0.8 + 1e-6


@pytest.mark.parametrize("queries", [0, 1, 5])
def test_nothing_to_scan(queries):
    scan = PrincipalScan.of(np.zeros((0, 4), dtype=np.float32))
    rows, floor = scan.nearest(np.zeros((queries, 4), dtype=np.float32), np.zeros(queries, dtype=np.int64), 3)
    assert rows.tolist() == [[-1] * 3] * queries
    assert floor.tolist() == [-np.inf] * queries


@pytest.mark.parametrize("directions", [0, 3])
def test_rows_that_are_all_the_same(directions):
    rows = np.repeat(unit(np.ones((1, 8))), 3000, axis=0)
    scan = with_directions(rows, directions) if directions else PrincipalScan.of(rows)
    assert_proposals(scan, rows, rows[:4], np.array([0, 1, 32, 3000]), 32)


def test_one_query_with_very_many_hits_takes_no_more_room_than_others():
    assert_room_for_one_query_with_very_many_hits(PrincipalScan.of, 40_000_000, 1e-6)


def test_an_index_of_many_rows_goes_by_directions_where_whole_numbers_do_not_pay(monkeypatch):
    monkeypatch.setenv(LEAVE_OUT, "avx512_vnni,avx_vnni")
    monkeypatch.setattr(index_module, "_DIVIDED_FROM", 20)
    assert built(19).scan is None
    index = built(20)
    assert isinstance(index.scan, PrincipalScan)
    assert index.scan.rows is index.rows
    # Also where later rows make it large.
    short = built(15)
    both = short.followed_by(index.rows[:5])
    assert isinstance(both.scan, PrincipalScan)
    longer = both.followed_by(index.rows[:7])
    assert longer.scan.rows is longer.rows
