"""Vectors that lie in a file are searched as those in memory, and few of them are read."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from kline_core.patterns.mapped_vectors import MappedVectors
from kline_core.search.disk_index import DiskIndex
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.support.examples import examples
from tests.support.searches import (
    assert_cores_share,
    assert_naive,
    assert_same,
    assert_threads_share,
    cases,
    market,
    some,
)
from tests.support.vector_sets import small_steps


def on_disk(patterns, had):
    """The same patterns with their vectors mapped, the last ones after the first `had` in memory; and their index."""
    vectors = MappedVectors(patterns.vectors[:had], patterns.vectors[:0])
    index = DiskIndex.build(vectors).followed_by(patterns.vectors[had:])
    return index, replace(patterns, vectors=index.rows)


@pytest.mark.slow
@given(cases())
@settings(deadline=None, max_examples=examples(100))
def test_search_equals_the_plain_loop(case):
    patterns, queries, factor, window_bars, first_ask = case
    index, held = on_disk(patterns, len(patterns) * 2 // 3)
    with pytest.MonkeyPatch.context() as patch, small_steps():
        patch.setattr("kline_core.search.candidates._FIRST_ASK", first_ask)
        matches = search(index, held, queries, factor, window_bars)
    assert_naive(matches, patterns, queries, factor, window_bars)


@pytest.mark.parametrize("kinds", [3, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("asked", [1, 200])
def test_search_equals_that_in_memory(kinds, asked):
    patterns, queries = market(3, symbols=4, bars=400, dim=32, kinds=kinds, delay=21, noise=0.05, visible=1.0)
    queries = some(queries, np.arange(asked) * len(queries) // asked)
    index, held = on_disk(patterns, 1200)
    # One of more rows than FlatIndex holds in order, too.
    for factor in (FactorSettings(), FactorSettings(top_k=300, search_k=600, isolation_bars=0)):
        wanted = search(FlatIndex.build(patterns), patterns, queries, factor, 20)
        assert_same(search(index, held, queries, factor, 20), wanted)


@pytest.mark.slow
def test_threads_share_an_index():
    patterns, queries = market(1, symbols=3, bars=400, dim=16, kinds=300, delay=5, noise=0.1)
    index, held = on_disk(patterns, 700)
    assert_threads_share(index, held, queries)
    assert_cores_share(index, held, queries)


def test_few_vectors_are_read(monkeypatch):
    patterns, queries = market(3, symbols=5, bars=900, dim=16, kinds=100_000, delay=21, visible=1.0)
    queries = some(queries, np.arange(800, 1000))
    index, held = on_disk(patterns, len(patterns))
    read, get = [], MappedVectors.__getitem__

    def counted(self, at):
        read.append(np.asarray(at).size)
        return get(self, at)

    monkeypatch.setattr(MappedVectors, "__getitem__", counted)
    search(index, held, queries, FactorSettings(), 20)
    # Those of the first ask, and for hardly any query of a second one.
    assert len(queries) * 16 < sum(read) < len(queries) * 36 < len(queries) * len(patterns) / 50


def test_nothing_follows_nothing():
    patterns, _ = market(3, symbols=1, bars=30, dim=4, kinds=9, delay=5)
    index, _ = on_disk(patterns, len(patterns))
    assert index.followed_by(patterns.vectors[:0]) is index
    assert len(index) == len(patterns)
    assert index.vectors_of(np.array([3, 9, 3])).tobytes() == patterns.vectors[[3, 9, 3]].tobytes()
