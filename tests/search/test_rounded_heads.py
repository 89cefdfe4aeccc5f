import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search import rounded_heads as module
from kline_core.search.bounded_scan import DividedQueries
from kline_core.search.rounded_heads import RoundedHeads, head_width
from kline_core.search.scan_layout import MOST_OF_PAIRS, OFFSET, Dots
from tests.naive import similarity
from tests.support.examples import examples
from tests.support.vector_sets import few_directions, unit, vector_sets, with_directions


def numbers_of(heads):
    return heads.codes.astype(np.int64) - OFFSET


def queries_of(heads, vectors):
    return DividedQueries(heads.of_queries(vectors), heads.longest, vectors, heads.error)


@given(vector_sets(), st.integers(0, 64))
@settings(deadline=None, max_examples=examples(40))
def test_bounds_hold_for_every_pair(sets, count):
    rows, vectors, _ = sets
    exact = np.array([[similarity(vector, row) for row in rows] for vector in vectors])
    for heads in (RoundedHeads.of(rows), with_directions(RoundedHeads.of, rows, count)):
        numbers, queries = numbers_of(heads), queries_of(heads, vectors)
        assert (np.linalg.norm(numbers, axis=1) <= heads.longest + 1e-9).all()
        assert (exact <= queries.heads @ numbers.T + heads.error).all()
        short = queries.heads.astype(np.float32) @ numbers.T.astype(np.float32)
        assert (exact <= short + heads.error).all()
        for dots in Dots:
            whole, errors, steps = queries.whole(dots)
            sums = whole.astype(np.int64) @ heads.codes.T.astype(np.int64)
            assert (exact <= sums / steps[:, None] + errors[:, None]).all()
            # And not by being of no use.
            off = np.abs(sums / steps[:, None] + errors[:, None] - queries.heads @ numbers.T - heads.error)
            assert (off <= 2 * heads.longest * np.sqrt(whole.shape[1]) / (2 * steps[:, None]) + 1e-9).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([1e-30, 1e-4, 1.0, 1e6]))
@settings(deadline=None, max_examples=examples(100))
def test_sums_of_pairs_fit_into_16_bits_whatever_a_row_holds(seed, groups, size):
    rng = np.random.default_rng(seed)
    # Of all sizes, as the first directions are far longer than the last.
    heads = size * rng.standard_normal((20, 16 * groups)) * 10.0 ** rng.uniform(-6, 0, 16 * groups)
    heads[0] = size
    heads[1] = 0
    whole, _, _ = DividedQueries(heads, 1.0, np.zeros((20, 1), dtype=np.float32), 0.0).whole(Dots.PAIRS)
    meet = np.abs(whole.astype(np.int64)).reshape(20, groups, 4, 2, 2).sum(axis=(2, 4))
    assert meet.max() <= MOST_OF_PAIRS
    assert meet[0].min() > MOST_OF_PAIRS / 2
    assert MOST_OF_PAIRS * 255 < 2**15
    assert not whole[1].any()


def test_heads_are_few_where_few_directions_matter_and_all_where_all_do():
    heads = RoundedHeads.of(few_directions(2000))
    assert heads.directions.shape == (32, 15)
    assert heads.codes.shape == (2000, 16)
    assert heads.codes.dtype == np.uint8
    alike = RoundedHeads.of(unit(np.random.default_rng(0).standard_normal((2000, 64))))
    assert alike.directions.shape == (64, 63)
    assert alike.codes.shape == (2000, 64)
    small = RoundedHeads.of(unit(np.random.default_rng(0).standard_normal((2000, 6))))
    assert small.directions.shape == (6, 6)
    assert (numbers_of(small)[:, 7:] == 0).all()


@pytest.mark.parametrize(("count", "width"), [(0, 16), (15, 16), (16, 32), (31, 32), (64, 80)])
def test_heads_are_filled_up(count, width):
    assert head_width(count) == width


def test_coordinates_are_rounded_and_lengths_rounded_up():
    rows = few_directions(500)
    heads, count = RoundedHeads.of(rows), 15
    numbers = numbers_of(heads)
    exact = rows.astype(np.float64) @ heads.directions
    off = np.abs(exact - numbers[:, :count] * heads.steps[:count])
    assert (off <= heads.steps[:count] / 2 * 1.000001).all()
    assert np.linalg.norm(off, axis=1).max() == pytest.approx(heads.errors[0])
    left = rows - (numbers[:, :count] * heads.steps[:count]) @ heads.directions.T
    lengths = np.linalg.norm(left, axis=1)
    assert (numbers[:, count] * heads.steps[-1] >= lengths).all()
    assert (numbers[:, count] * heads.steps[-1] <= lengths + 1.01 * heads.steps[-1]).all()
    assert np.linalg.norm(numbers, axis=1).max() == pytest.approx(heads.longest)


def test_later_rows_are_rounded_alike_unless_one_lies_beyond(monkeypatch):
    monkeypatch.setattr(module, "SLICE", 7)
    rows = few_directions(500)
    first = RoundedHeads.of(rows[:490])
    both = first.followed_by(rows[490:])
    assert both.directions is first.directions
    assert both.steps is first.steps
    assert np.array_equal(both.codes[:490], first.codes)
    assert (both.errors >= first.errors).all()
    later = np.empty((10, 16), dtype=np.uint8)
    first.rounded(rows[490:].astype(np.float64), later)
    assert np.array_equal(both.codes[490:], later)
    # Along a direction in which no earlier row goes far.
    far = np.ascontiguousarray(first.directions[:, -1:].T.astype(np.float32))
    assert first.followed_by(np.concatenate([rows[490:], far])) is None


def test_the_longest_tail_there_can_be_has_a_length_of_its_own():
    rows = (unit(np.eye(8)) * np.float32(MAX_LENGTH - 1e-5)).astype(np.float32)
    heads = with_directions(RoundedHeads.of, rows, 1)
    assert 0 < numbers_of(heads)[:, 1].max() <= 127


@pytest.mark.parametrize("count", [0, 1, 3])
def test_vectors_of_nothing(count):
    heads = RoundedHeads.of(np.zeros((count, 4), dtype=np.float32))
    assert len(heads.codes) == count
    vectors = unit(np.eye(4))
    whole, errors, steps = queries_of(heads, vectors).whole(Dots.PAIRS)
    assert (whole.astype(np.int64) @ heads.codes.T.astype(np.int64) / steps[:, None] + errors[:, None] >= 0).all()
