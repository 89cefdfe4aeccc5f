import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kline_core.search import int8_scan as scan_module
from kline_core.search import scan_kernel
from kline_core.search.flat_index import FlatIndex
from kline_core.search.int8_scan import Int8Scan, int8_pays
from kline_core.search.scan_kernel import has_dots
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.naive import similarity
from tests.support.examples import examples
from tests.support.searches import (
    asked,
    assert_naive,
    assert_room_for_one_query_with_very_many_hits,
    assert_same,
    built,
    cases,
    drawn,
    market,
    some,
)
from tests.support.vector_sets import small_steps, unit


@pytest.fixture
def small_blocks():
    """Small enough for every stage to be reached by small sets."""
    with small_steps(scan_module):
        yield


def scanned(index):
    """The same index, with the rounded rows whether or not this machine is quick with them."""
    return FlatIndex(index.rows, Int8Scan.of(index.rows))


@pytest.mark.slow
@given(asked)
@settings(deadline=None)
def test_bounds_hold_for_every_pair(asked):
    index, vectors, _ = drawn(*asked)
    scan = Int8Scan.of(index.rows)
    scales, most, codes = scan._queries(vectors)
    for query, vector in enumerate(vectors):
        assert np.allclose(codes[query, : len(vector)], vector / scales[query], atol=0.501)
        assert not codes[query, len(vector) :].any()
        for place, row in enumerate(index.rows):
            assert np.allclose(scan.codes[place, : len(row)], row / scan.scale, atol=0.501)
            assert scan.sums[place] == 128 * sum(scan.codes[place].tolist())
            whole = sum(a * b for a, b in zip(codes[query].tolist(), scan.codes[place].tolist(), strict=True))
            assert abs(similarity(vector, row) - whole * scan.scale * scales[query]) <= most[query]


@pytest.mark.slow
@given(asked, st.integers(1, 70), st.floats(0, 1))
@settings(deadline=None)
@pytest.mark.usefixtures("small_blocks")
def test_proposes_from_the_prefix_and_bounds_the_rest(asked, count, share):
    index, vectors, known = drawn(*asked)
    had = round(share * len(index.rows))
    scan = Int8Scan.of(index.rows[:had]).followed_by(index.rows[had:], index.rows)
    rows, floor = scan.nearest(vectors, known, count)
    for query in range(len(known)):
        proposed = [row for row in rows[query].tolist() if row >= 0]
        assert len(set(proposed)) == len(proposed) == min(count, known[query])
        assert all(row < known[query] for row in proposed)
        for row in set(range(known[query])) - set(proposed):
            assert similarity(vectors[query], index.rows[row]) <= floor[query] + index.score_error
        assert (floor[query] == -np.inf) == (known[query] <= count)


@pytest.mark.slow
@given(cases())
@settings(deadline=None, max_examples=examples(100))
@pytest.mark.usefixtures("small_blocks")
def test_search_over_rounded_rows_equals_the_plain_loop(case):
    patterns, queries, factor, window_bars, first_ask = case
    index = scanned(FlatIndex.build(patterns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kline_core.search.candidates._FIRST_ASK", first_ask)
        patch.setattr("kline_core.search.flat_index._SCAN_FROM", 1)
        matches = search(index, patterns, queries, factor, window_bars)
    assert_naive(matches, patterns, queries, factor, window_bars)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [3, 40, 5000])
def test_whole_blocks_equal_faiss(kinds):
    patterns, queries = market(3, symbols=5, bars=900, dim=32, kinds=kinds, delay=21, noise=0.05, visible=1.0)
    queries = some(queries, np.arange(0, len(queries), 11))
    index = FlatIndex.build(patterns)
    by_faiss = search(FlatIndex(index.rows, None), patterns, queries, FactorSettings(), 20)
    assert_same(search(scanned(index), patterns, queries, FactorSettings(), 20), by_faiss)


def test_a_query_like_all_rows_at_once_is_no_trouble():
    # Rows that come closer and closer: every one of them is a hit.
    count, dim = 5000, 8
    rows = np.zeros((count, dim), dtype=np.float32)
    angle = np.linspace(np.pi / 2, 0, count)
    rows[:, 0], rows[:, 1] = np.cos(angle), np.sin(angle)
    vectors = np.zeros((40, dim), dtype=np.float32)
    vectors[:, 0] = 1.0
    proposed, floor = Int8Scan.of(rows).nearest(vectors, np.full(40, count), 32)
    for query in range(40):
        left = rows[np.setdiff1d(np.arange(count), proposed[query])]
        assert (left.astype(np.float64) @ vectors[query] <= floor[query] + 1e-5).all()


@example(0)
@given(st.integers(0, 5))
@settings(deadline=None)
def test_nothing_to_scan(queries):
    scan = Int8Scan.of(np.zeros((0, 4), dtype=np.float32))
    rows, floor = scan.nearest(np.zeros((queries, 4), dtype=np.float32), np.zeros(queries, dtype=np.int64), 3)
    assert rows.tolist() == [[-1] * 3] * queries
    assert floor.tolist() == [-np.inf] * queries


def test_later_rows_are_rounded_alike_where_the_scale_holds():
    rows = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 6)).astype(np.float32)
    rows[3, 2], rows[41, 1] = 0.5, 0.6
    whole = Int8Scan.of(rows)
    for had in (0, 10, 45):
        both = Int8Scan.of(rows[:had]).followed_by(rows[had:], rows)
        assert both.scale == whole.scale
        assert np.array_equal(both.codes, whole.codes)
        assert both.error == whole.error
    short = Int8Scan.of(rows[:40])
    longer = short.followed_by(rows[40:41], rows[:41])
    assert longer.scale == short.scale
    assert np.array_equal(longer.codes, Int8Scan.of(rows[:41]).codes)


@pytest.mark.parametrize("has", [True, False])
def test_the_processor_decides(has, monkeypatch):
    monkeypatch.setattr(scan_module, "has_dots", lambda: has)
    for dim in (1, 6, 64):
        assert int8_pays(dim) == has
    assert (built(20).scan is not None) == has


def test_more_dimensions_than_32_bits_hold_sums_of_go_another_way(monkeypatch):
    monkeypatch.setattr(scan_module, "has_dots", lambda: True)
    assert int8_pays(scan_module._EXACT_DIM)
    assert not int8_pays(scan_module._EXACT_DIM + 1)
    # The most that a sum and what is to be beaten can be together.
    assert scan_module._EXACT_DIM * 127 * 255 + 2**30 < 2**31


@pytest.mark.skipif(not has_dots(), reason="this processor has no such instruction")
def test_the_instruction_gives_what_others_give_in_its_place(monkeypatch):
    rows = unit(np.random.default_rng(0).standard_normal((3000, 62)))
    known = np.arange(0, 3000, 60)
    rounded = Int8Scan.of(rows)
    by_it = rounded.nearest(rows[:50], known, 7)
    monkeypatch.setattr(scan_kernel, "has_dots", lambda: False)
    by_others = rounded.nearest(rows[:50], known, 7)
    assert np.array_equal(np.sort(by_it[0]), np.sort(by_others[0]))
    assert np.array_equal(by_it[1], by_others[1])


def test_one_query_with_very_many_hits_takes_no_more_room_than_others():
    assert_room_for_one_query_with_very_many_hits(Int8Scan.of, 20_000_000)


def test_steps_too_small_for_sums_of_32_bits():
    # One step of both is 1e-18 of a similarity, so that what is to be beaten is beyond any sum.
    rows = np.repeat(unit(np.eye(8)) * np.float32(1e-15), 20, axis=0)
    proposed, floor = Int8Scan.of(rows).nearest(unit(np.eye(8)), np.full(8, len(rows)), 25)
    for query, (row, bound) in enumerate(zip(proposed, floor, strict=True)):
        assert set(range(20 * query, 20 * query + 20)) <= set(row.tolist())
        assert bound <= 1e-15


@pytest.mark.parametrize("visible", [1, 127, 1023, 1024, 1025, 2500])
def test_better_rows_beyond_the_prefix_are_not_to_be_seen(visible):
    rng = np.random.default_rng(0)
    rows = rng.uniform(-0.1, 0.1, (3000, 8)).astype(np.float32)
    rows[[0, 126, 1000, 1022, 1023, 1024, 2000, 2499, 2500, 2628], 0] = np.linspace(0.5, 0.9, 10)
    query = np.eye(1, 8, dtype=np.float32)
    proposed, floor = Int8Scan.of(rows).nearest(np.repeat(query, 3, axis=0), np.full(3, visible), 10)
    exact = rows[:visible, 0].astype(np.float64)
    for row, bound in zip(proposed, floor, strict=True):
        there = row[row >= 0]
        assert len(there) == len(set(there.tolist())) == min(visible, 10)
        assert set(np.flatnonzero(exact >= 0.5)) <= set(there.tolist())
        assert (np.delete(exact, there) <= bound + 1e-6).all()
