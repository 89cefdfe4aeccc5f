import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.search import quantised_scan as scan_module
from kline_core.search.quantised_scan import QuantisedScan
from kline_core.search.scan_layout import OFFSET
from tests.naive import similarity
from tests.support.examples import examples
from tests.support.searches import assert_room_for_one_query_with_very_many_hits
from tests.support.vector_sets import (
    assert_proposals,
    counted_pairs,
    few_directions,
    small_steps,
    unit,
    vector_sets,
    with_directions,
)


@pytest.fixture
def small_blocks():
    with small_steps():
        yield


def scans(rows, count):
    return QuantisedScan.of(rows), with_directions(QuantisedScan.of, rows, count)


@given(vector_sets(), st.integers(0, 64))
@settings(deadline=None, max_examples=examples(40))
def test_scores_and_bounds_hold_for_every_pair(sets, count):
    rows, vectors, _ = sets
    for scan in scans(rows, count):
        queries, own = scan._queries(vectors), scan_module._Rows.of(scan)
        whole = np.empty((len(rows), queries.wholes.shape[1]), dtype=np.float32)
        own.take(np.arange(len(rows)), whole)
        scores = queries.wholes @ whole.T
        exact = np.array([[similarity(vector, row) for row in rows] for vector in vectors])
        assert (np.abs(scores - exact) <= scan.score_error).all()
        # A row that is left out is no better than what was to be beaten, and what its score may be off.
        for beaten in (-3.0, *exact[0, :3]):
            bounds = queries.heads @ own.heads(0, len(rows))[:, :-1].T + queries.slack
            assert (exact[bounds <= beaten] <= np.float32(beaten) + scan.score_error).all()


@given(vector_sets(), st.integers(1, 70), st.floats(0, 1), st.integers(0, 64))
@settings(deadline=None, max_examples=examples(60))
@pytest.mark.usefixtures("small_blocks")
def test_proposes_from_the_prefix_and_bounds_the_rest(sets, count, share, directions):
    rows, vectors, known = sets
    had = round(share * len(rows))
    for scan in scans(rows[:had], directions):
        assert_proposals(scan.followed_by(rows[had:], rows), rows, vectors, known, count)


@given(vector_sets(), st.integers(0, 64), st.data())
@settings(deadline=None, max_examples=examples(60))
@pytest.mark.usefixtures("small_blocks")
def test_finds_every_row_that_reaches_a_bound(sets, directions, data):
    rows, vectors, known = sets
    # Just what some row reaches, or anything.
    bound = np.array(
        [
            data.draw(st.one_of(st.floats(-1.1, 1.1), st.sampled_from([similarity(vector, row) for row in rows[:5]])))
            for vector in vectors
        ]
    )
    for scan in scans(rows, directions):
        found = scan.at_least(vectors, known, bound)
        for query, limit in enumerate(known.tolist()):
            there = found[query].tolist()
            assert there == sorted(set(there))
            exact = [similarity(vectors[query], row) for row in rows[:limit]]
            assert {row for row, value in enumerate(exact) if value >= bound[query]} <= set(there)
            assert all(exact[row] >= bound[query] - 2 * scan.score_error - 1e-6 for row in there)


def test_eight_bits_of_each_coordinate_stand_for_a_vector():
    rows = few_directions(2000)
    scan, count = QuantisedScan.of(rows), 15
    assert scan.heads.shape == (2000, 16)
    assert scan.tails.shape == (2000, 17)
    numbers = np.concatenate([scan.heads[:, :count], scan.tails], axis=1).astype(np.int64) - OFFSET
    left = np.linalg.norm(rows - (numbers * scan.steps[:-1]) @ scan.directions.T, axis=1)
    assert left.max() == pytest.approx(scan.errors[2])
    # Half a step in each direction is the most.
    assert left.max() <= np.linalg.norm(scan.steps[:-1]) / 2


def test_few_rows_are_scored_on_their_own(monkeypatch):
    rows = few_directions(20_000)
    scored = counted_pairs(monkeypatch)
    QuantisedScan.of(rows).nearest(rows[:40], np.full(40, len(rows)), 5)
    assert 0 < sum(pairs for _, pairs in scored) < 40 * len(rows) / 20


def test_later_rows_keep_the_steps_unless_they_lie_beyond():
    rows = few_directions(500)
    short = QuantisedScan.of(rows[:490])
    longer = short.followed_by(rows[490:], rows)
    assert longer.steps is short.steps
    assert np.array_equal(longer.heads, np.concatenate([short.heads, short._rounded(rows[490:])[1]]))
    assert (longer.errors >= short.errors).all()
    # A direction in which no earlier row goes far.
    stranger = unit(short.directions[:, -1:].T)
    far = np.concatenate([rows[:490], stranger])
    again = short.followed_by(stranger, far)
    assert again.steps is not short.steps
    assert again.heads.shape[0] == 491
    assert_proposals(again, far, far[-3:], np.array([5, 490, 491]), 4)


@pytest.mark.parametrize("queries", [0, 1, 5])
def test_nothing_to_scan(queries):
    scan = QuantisedScan.of(np.zeros((0, 4), dtype=np.float32))
    rows, floor = scan.nearest(np.zeros((queries, 4), dtype=np.float32), np.zeros(queries, dtype=np.int64), 3)
    assert rows.tolist() == [[-1] * 3] * queries
    assert floor.tolist() == [-np.inf] * queries
    found = scan.at_least(
        np.zeros((queries, 4), dtype=np.float32), np.zeros(queries, dtype=np.int64), np.zeros(queries)
    )
    assert [rows.tolist() for rows in found] == [[]] * queries


@pytest.mark.parametrize("directions", [0, 3])
def test_rows_that_are_all_the_same(directions):
    rows = np.repeat(unit(np.ones((1, 8))), 3000, axis=0)
    scan = with_directions(QuantisedScan.of, rows, directions)
    assert_proposals(scan, rows, rows[:4], np.array([0, 1, 32, 3000]), 32)
    assert [len(found) for found in scan.at_least(rows[:2], np.array([7, 3000]), np.array([0.9, 0.99]))] == [7, 3000]


def test_one_query_with_very_many_hits_takes_no_more_room_than_others():
    assert_room_for_one_query_with_very_many_hits(QuantisedScan.of, 40_000_000, 0.1)
