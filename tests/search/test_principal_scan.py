import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core._processor import LEAVE_OUT
from kline_core.search import bounded_scan, scan_kernel
from kline_core.search import flat_index as index_module
from kline_core.search.flat_index import FlatIndex
from kline_core.search.principal_scan import PrincipalScan
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.support.examples import examples
from tests.support.searches import (
    assert_cores_share,
    assert_naive,
    assert_room_for_one_query_with_very_many_hits,
    assert_same,
    assert_threads_share,
    built,
    cases,
    market,
    some,
)
from tests.support.vector_sets import (
    assert_proposals,
    counted_pairs,
    few_directions,
    small_steps,
    unit,
    vector_sets,
    with_directions,
)

WITHOUT = ["", "avx512_vnni,avx_vnni", "avx512f,avx512_vnni,avx_vnni", "avx512f,avx2,avx_vnni"]
"""Instructions to do without: fours of bytes or, where the processor has none, pairs; these by ever shorter vectors."""


@pytest.fixture
def small_blocks():
    with small_steps():
        yield


@pytest.fixture(params=[*WITHOUT, "float32"])
def some_processor(request, monkeypatch):
    """One of those that this processor can stand for, and one that multiplies no whole numbers."""
    if request.param == "float32":
        for module in (bounded_scan, scan_kernel):
            monkeypatch.setattr(module, "has_dots", lambda: None)
    else:
        monkeypatch.setenv(LEAVE_OUT, request.param)


@given(vector_sets(), st.integers(1, 70), st.floats(0, 1), st.integers(0, 64))
@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("small_blocks", "some_processor")
def test_proposes_from_the_prefix_and_bounds_the_rest(sets, count, share, directions):
    rows, vectors, known = sets
    had = round(share * len(rows))
    # Directions of the first rows, none of which need suit the others; or of nothing at all.
    first = with_directions(PrincipalScan.of, rows[:had], directions) if directions else PrincipalScan.of(rows[:had])
    assert_proposals(first.followed_by(rows[had:], rows), rows, vectors, known, count)


@pytest.mark.slow
@given(cases())
@settings(deadline=None, max_examples=examples(100))
@pytest.mark.usefixtures("small_blocks")
def test_search_along_directions_equals_the_plain_loop(case):
    patterns, queries, factor, window_bars, first_ask = case
    index = FlatIndex.build(patterns)
    scan = PrincipalScan.of(index.rows) if first_ask % 2 else with_directions(PrincipalScan.of, index.rows, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kline_core.search.candidates._FIRST_ASK", first_ask)
        patch.setattr(index_module, "_SCAN_FROM", 1)
        matches = search(FlatIndex(index.rows, scan), patterns, queries, factor, window_bars)
    assert_naive(matches, patterns, queries, factor, window_bars)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [3, 40, 5000])
@pytest.mark.usefixtures("some_processor")
def test_whole_blocks_equal_faiss(kinds):
    patterns, queries = market(3, symbols=5, bars=900, dim=32, kinds=kinds, delay=21, noise=0.05, visible=1.0)
    queries = some(queries, np.arange(0, len(queries), 11))
    index = FlatIndex.build(patterns)
    by_faiss = search(FlatIndex(index.rows, None), patterns, queries, FactorSettings(), 20)
    for scan in (PrincipalScan.of(index.rows), with_directions(PrincipalScan.of, index.rows, 14)):
        one = FlatIndex(index.rows, scan)
        assert_same(search(one, patterns, queries, FactorSettings(), 20), by_faiss)


@pytest.mark.slow
def test_threads_share_a_scan():
    patterns, queries = market(1, symbols=3, bars=400, dim=16, kinds=300, delay=5, noise=0.1)
    index = FlatIndex.build(patterns)
    assert_threads_share(FlatIndex(index.rows, with_directions(PrincipalScan.of, index.rows, 6)), patterns, queries)
    assert_cores_share(FlatIndex(index.rows, with_directions(PrincipalScan.of, index.rows, 6)), patterns, queries)


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
    scan = with_directions(PrincipalScan.of, rows, 2)
    scan.nearest(rows[:30], np.full(30, len(rows)), 5)
    whole = [layout.terms == 64 for layout, _ in scored]
    assert not whole[0]
    assert sum(whole) > 0.8 * len(whole)


def test_later_rows_keep_the_steps_unless_they_lie_beyond():
    rows = few_directions(500)
    short = PrincipalScan.of(rows[:490])
    longer = short.followed_by(rows[490:], rows)
    assert longer.heads.steps is short.heads.steps
    assert len(short.heads.codes) == 490
    far = np.concatenate([rows[:490], np.ascontiguousarray(short.heads.directions[:, -1:].T.astype(np.float32))])
    again = short.followed_by(far[490:], far)
    assert again.heads.steps is not short.heads.steps
    assert_proposals(again, far, far[-3:], np.array([5, 490, 491]), 4)


@pytest.mark.parametrize("queries", [0, 1, 5])
def test_nothing_to_scan(queries):
    scan = PrincipalScan.of(np.zeros((0, 4), dtype=np.float32))
    rows, floor = scan.nearest(np.zeros((queries, 4), dtype=np.float32), np.zeros(queries, dtype=np.int64), 3)
    assert rows.tolist() == [[-1] * 3] * queries
    assert floor.tolist() == [-np.inf] * queries


@pytest.mark.parametrize("directions", [0, 3])
def test_rows_that_are_all_the_same(directions):
    rows = np.repeat(unit(np.ones((1, 8))), 3000, axis=0)
    scan = with_directions(PrincipalScan.of, rows, directions) if directions else PrincipalScan.of(rows)
    assert_proposals(scan, rows, rows[:4], np.array([0, 1, 32, 3000]), 32)


def test_one_query_with_very_many_hits_takes_no_more_room_than_others():
    assert_room_for_one_query_with_very_many_hits(PrincipalScan.of, 40_000_000, 1e-6)


@pytest.mark.usefixtures("some_processor")
def test_a_query_like_all_rows_at_once_is_no_trouble():
    # Rows that come closer and closer: every one of them is a hit.
    count, dim = 5000, 8
    rows = np.zeros((count, dim), dtype=np.float32)
    angle = np.linspace(np.pi / 2, 0, count)
    rows[:, 0], rows[:, 1] = np.cos(angle), np.sin(angle)
    vectors = np.zeros((40, dim), dtype=np.float32)
    vectors[:, 0] = 1.0
    proposed, floor = PrincipalScan.of(rows).nearest(vectors, np.full(40, count), 32)
    for query in range(40):
        left = rows[np.setdiff1d(np.arange(count), proposed[query])]
        assert (left.astype(np.float64) @ vectors[query] <= floor[query] + 1e-5).all()


@pytest.mark.usefixtures("some_processor")
def test_steps_too_small_for_sums_of_32_bits():
    # One step of both is so small a similarity that what is to be beaten is beyond any sum.
    rows = np.repeat(unit(np.eye(8)) * np.float32(1e-15), 20, axis=0)
    proposed, floor = PrincipalScan.of(rows).nearest(unit(np.eye(8)), np.full(8, len(rows)), 25)
    for query, (row, bound) in enumerate(zip(proposed, floor, strict=True)):
        assert set(range(20 * query, 20 * query + 20)) <= set(row.tolist())
        assert bound <= 1e-15


@pytest.mark.usefixtures("some_processor")
@pytest.mark.parametrize("visible", [1, 127, 1023, 1024, 1025, 2500])
def test_better_rows_beyond_the_prefix_are_not_to_be_seen(visible):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-0.1, 0.1, (3000, 8)).astype(np.float32)
    rows[[0, 126, 1000, 1022, 1023, 1024, 2000, 2499, 2500, 2628], 0] = np.linspace(0.5, 0.9, 10)
    query = np.eye(1, 8, dtype=np.float32)
    proposed, floor = PrincipalScan.of(rows).nearest(np.repeat(query, 3, axis=0), np.full(3, visible), 10)
    exact = rows[:visible, 0].astype(np.float64)
    for row, bound in zip(proposed, floor, strict=True):
        there = row[row >= 0]
        assert len(there) == len(set(there.tolist())) == min(visible, 10)
        assert set(np.flatnonzero(exact >= 0.5)) <= set(there.tolist())
        assert (np.delete(exact, there) <= bound + 1e-6).all()


def test_an_index_of_many_rows_goes_by_directions(monkeypatch):
    monkeypatch.setattr(index_module, "_DIVIDED_FROM", 20)
    assert built(19).scan is None
    index = built(20)
    assert isinstance(index.scan, PrincipalScan)
    assert index.scan.rows is index.rows
    assert index.heads is index.scan.heads
    # Also where later rows make it large.
    short = built(15)
    assert short.heads is None
    both = short.followed_by(index.rows[:5])
    assert isinstance(both.scan, PrincipalScan)
    longer = both.followed_by(index.rows[:7])
    assert longer.scan.rows is longer.rows
