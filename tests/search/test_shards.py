"""An index in shards gives what one index gives, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.search import candidates as search_module
from kline_core.search import flat_index as index_module
from kline_core.search import shards as module
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.search.shards import AnsweredIndex, ForProposals, ForReaching, ForVectors, Share, Unanswered
from kline_core.settings import FactorSettings
from tests.support.examples import examples
from tests.support.searches import asked_of_all, assert_naive, assert_same, cases, in_shards, market, some


@pytest.fixture(scope="module", autouse=True)
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 4)
        yield


@pytest.mark.slow
@given(cases(), st.integers(1, 7))
@settings(deadline=None, max_examples=examples(150))
def test_equal_the_whole_and_the_plain_loop(case, number):
    patterns, queries, factor, window_bars, first_ask = case
    with pytest.MonkeyPatch.context() as patch:
        # Small enough for every stage to be reached by small sets.
        patch.setattr(search_module, "_FIRST_ASK", first_ask)
        patch.setattr(index_module, "_MANY", 9)
        whole = search(FlatIndex.build(patterns), patterns, queries, factor, window_bars)
        shards = in_shards(patterns, number)
        found, _ = asked_of_all(
            shards, lambda index: search(index, patterns, queries, factor, window_bars), len(patterns)
        )
    assert_same(found, whole)
    assert_naive(found, patterns, queries, factor, window_bars)


@given(st.integers(0, 300), st.integers(1, 9), st.integers(1, 40), st.lists(st.integers(0, 300), max_size=9))
def test_shares_of_a_prefix_are_even_and_complete(rows, number, block, lengths):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        every, held = np.arange(rows), [0] * number
        for at in range(number):
            share, own = Share(at, number), [row for row in range(rows) if row // block % number == at]
            held[at] = [sum(row < length for row in own) for length in lengths]
            assert share.known(np.array(lengths, dtype=np.int64)).tolist() == [
                sum(row // block % number == at for row in range(length)) for length in lengths
            ]
            assert share.rows(np.arange(len(own))).tolist() == own == every[share.holds(every)].tolist()
            assert share.places(np.array(own, dtype=np.int64)).tolist() == list(range(len(own)))
            of_blocks = [range(each * block, min(rows, (each + 1) * block)) for each in share.blocks(rows)]
            assert [row for each in of_blocks for row in each] == own
    for parts in zip(*held, strict=True):
        assert max(parts) - min(parts) <= block


def test_no_row_of_a_shard_stays_none():
    assert Share(2, 5).rows(np.array([-1, 0, 3, 4])).tolist() == [-1, 8, 11, 28]


@given(st.integers(1, 5000), st.integers(1, 64))
def test_a_shard_is_asked_for_its_share_at_least(count, number):
    asked = Share(0, number).count(count)
    assert asked <= count
    assert asked * number >= count


@pytest.mark.parametrize("number", [1, 3])
def test_ties_in_thousands_are_settled_by_every_row_above_a_bound(number):
    patterns, queries = market(3, symbols=5, bars=300, dim=32, kinds=3, delay=21, visible=1.0)
    queries = some(queries, np.arange(299, len(queries), 300))
    factor = FactorSettings(search_k=40)
    found, questions = asked_of_all(
        in_shards(patterns, number), lambda index: search(index, patterns, queries, factor, 20), len(patterns)
    )
    assert_same(found, search(FlatIndex.build(patterns), patterns, queries, factor, 20))
    assert isinstance(questions[-1], ForReaching)


def test_one_question_decides_where_charts_differ():
    patterns, queries = market(5, symbols=6, bars=200, dim=16, kinds=1200, delay=5, noise=1.0)
    queries = some(queries, np.arange(100, len(queries), 40))
    _, questions = asked_of_all(
        in_shards(patterns, 4), lambda index: search(index, patterns, queries, FactorSettings(), 20), len(patterns)
    )
    assert [type(question) for question in questions] == [ForProposals]


def test_more_shards_than_patterns():
    patterns, queries = market(7, symbols=1, bars=6, dim=4, kinds=6, delay=1, noise=1.0, visible=1.0)
    factor = FactorSettings(min_matches=1, top_k=2, search_k=4)
    found, _ = asked_of_all(
        in_shards(patterns, 11), lambda index: search(index, patterns, queries, factor, 2), len(patterns)
    )
    assert_same(found, search(FlatIndex.build(patterns), patterns, queries, factor, 2))


def test_vectors_come_from_the_shards_that_hold_them():
    patterns, _ = market(9, symbols=2, bars=20, dim=4, kinds=40, delay=1, noise=1.0)
    rows = np.array([5, 0, 5, len(patterns) - 1, 2])
    for number in (1, 3, 50):
        vectors, questions = asked_of_all(
            in_shards(patterns, number), lambda index: index.vectors_of(rows), len(patterns)
        )
        assert np.array_equal(vectors, patterns.vectors[rows])
        assert [type(question) for question in questions] == [ForVectors]


def test_nothing_is_answered_that_was_not_asked():
    index = AnsweredIndex(3)
    assert len(index) == 3
    with pytest.raises(Unanswered) as unanswered:
        index.vectors_of(np.array([1]))
    assert unanswered.value.question.rows.tolist() == [1]
