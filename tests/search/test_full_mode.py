from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.search import flat_index as index_module
from kline_core.search import full_mode as full_module
from kline_core.search.flat_index import FlatIndex
from kline_core.search.full_mode import similarity_parts
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.support.bar_markets import KINDS, bar_market
from tests.support.examples import examples
from tests.support.searches import assert_same
from tests.support.spare_cores import spare_cores


@st.composite
def cases(draw):
    window_bars = draw(st.sampled_from([2, 5, 8]))
    made = bar_market(
        draw(st.integers(0, 2**32 - 1)),
        kinds=draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)),
        bars=window_bars + draw(st.integers(1, 20)),
        window_bars=window_bars,
        delay=draw(st.sampled_from([1, 4])),
        charts=draw(st.integers(1, 5)),
        # Below, about and above what float32 can tell apart.
        noise=draw(st.sampled_from([0.0, 1e-7, 0.5])),
    )
    top_k = draw(st.integers(1, 5))
    pixel_weight = draw(st.sampled_from([0.0, 0.2, 1.0]))
    factor = FactorSettings(
        mode="full",
        top_k=top_k,
        min_matches=1,
        search_k=top_k + draw(st.integers(0, 30)),
        max_price_checks=top_k + draw(st.integers(0, 30)),
        rerank_k=draw(st.integers(1, 12)),
        isolation_bars=draw(st.sampled_from([0, 2, 20])),
        pixel_weight=pixel_weight,
        edge_weight=min(draw(st.sampled_from([0.0, 0.1])), 1 - pixel_weight),
    )
    order = np.random.default_rng(len(made.queries)).permutation(len(made.queries))
    return made, factor, order[: draw(st.integers(0, 8))]


def assert_plain(made, factor, order, matches):
    for place, query in enumerate(order):
        kept, eligible = made.plain(query, factor)
        assert list(zip(matches.rows[place].tolist(), matches.similarity[place].tolist(), strict=True))[
            : len(kept)
        ] == [(row, score) for row, score in kept]
        assert (matches.rows[place, len(kept) :] == -1).all()
        assert np.isnan(matches.similarity[place, len(kept) :]).all()
        assert matches.eligible[place] == eligible


@pytest.mark.slow
@given(cases(), st.integers(1, 5))
@settings(deadline=None, max_examples=examples(150))
def test_equals_the_plain_loop(case, size):
    made, factor, order = case
    with pytest.MonkeyPatch.context() as patch:
        # Small enough for every stage to be reached by small sets.
        patch.setattr(full_module, "_GROUP", size)
        patch.setattr(full_module, "_PAIRS", 7)
        patch.setattr(index_module, "_MANY", 4)
        patch.setattr(index_module, "_SAMPLED", 3)
        patch.setattr(index_module, "_BLOCK", 11)
        patch.setattr(index_module, "_GROUP", 3)
        matches = made.search(order, factor)
        with spare_cores(size):
            assert_same(made.search(order, factor), matches)
    assert_plain(made, factor, order, matches)


def market_of_all_kinds():
    return bar_market(5, kinds=[*KINDS, "walk", "cents"], bars=90, window_bars=20, delay=21, dim=16, charts=200)


FULL = FactorSettings.of_mode("full", search_k=150, rerank_k=12, isolation_bars=20)


def test_windows_of_twenty_bars_equal_the_plain_loop():
    made = market_of_all_kinds()
    order = np.arange(len(made.queries) - 1, 0, -119)
    assert_plain(made, FULL, order, made.search(order, FULL))


@pytest.mark.slow
def test_no_cut_of_the_work_changes_a_bit(monkeypatch):
    made = market_of_all_kinds()
    order = np.arange(0, len(made.queries), 29)
    whole = made.search(order, FULL)
    assert (whole.rows >= 0).all(axis=1).any()
    for group, pairs in ((1, 70), (3, 501), (100, 100_000)):
        monkeypatch.setattr(full_module, "_GROUP", group)
        monkeypatch.setattr(full_module, "_PAIRS", pairs)
        for first in range(0, len(order), 9):
            part = slice(first, first + 9)
            matches = made.search(order[part], FULL)
            assert np.array_equal(matches.rows, whole.rows[part])
            assert np.array_equal(matches.similarity, whole.similarity[part], equal_nan=True)
    with ThreadPoolExecutor(3) as pool:
        for matches in pool.map(lambda _: made.search(order, FULL), range(3)):
            assert_same(matches, whole)
    for cores in (2, 7):
        with spare_cores(cores) as parts:
            assert_same(made.search(order, FULL), whole)
        # Proposals, their order, and their bars.
        assert parts == [cores] * 3


def test_of_equal_candidates_those_that_were_looked_at_come_first():
    """With all the weight on the pixels, a chart that is unlike in all is as unlike as one that was not looked at."""
    behind = 0
    for seed in range(12):
        made = bar_market(seed, KINDS, bars=12, window_bars=2, delay=1, noise=0.0)
        settings = FactorSettings.of_mode(
            "full", top_k=5, search_k=5, min_matches=1, isolation_bars=0, max_price_checks=5, rerank_k=1,
            pixel_weight=1.0, edge_weight=0.0,
        )  # fmt: skip
        order = np.arange(len(made.queries))
        matches = made.search(order, settings)
        assert_plain(made, settings, order, matches)
        first, second = matches.rows[:, 0], matches.rows[:, 1]
        behind += int(((matches.similarity[:, 0] == 0) & (first > second) & (second >= 0)).sum())
    assert behind > 0


@pytest.mark.slow
@pytest.mark.parametrize("factor", [3.0, 0.1, 7 / 9])
def test_the_unit_of_price_does_not_matter(factor):
    made = market_of_all_kinds()
    order = np.arange(0, len(made.queries), 11)
    symbols = len(made.patterns.symbols)
    scaled = made.with_prices_times([factor if number % 2 else 1.0 for number in range(symbols)])
    assert_same(scaled.search(order, FULL), made.search(order, FULL))


def test_selection_goes_on_past_those_that_were_looked_at_twice():
    made = bar_market(2, ["walk"] * 6, bars=80, window_bars=8, delay=3, charts=100)
    last = np.array([len(made.queries) - 1])
    settings = FactorSettings.of_mode("full", top_k=5, search_k=300, rerank_k=1, isolation_bars=40)
    matches = made.search(last, settings)
    assert_plain(made, settings, last, matches)
    assert (matches.rows >= 0).sum() == 5
    parts = similarity_parts(made.some(last).prices, made.shapes.prices(matches.rows[0]))
    twice = parts.similarity(settings)
    assert matches.similarity[0, 0] == twice[0]
    # The others have no pixels and no edges.
    assert (matches.similarity[0, 1:] < twice[1:]).all()


def test_parts_are_those_of_the_similarity():
    made = market_of_all_kinds()
    order = np.arange(0, len(made.queries), 41)
    settings = FactorSettings.of_mode("full", search_k=150, rerank_k=150)
    matches = made.search(order, settings)
    for place, query in enumerate(order):
        there = matches.rows[place] >= 0
        if there.any():
            prices = made.shapes.prices(matches.rows[place, there])
            parts = similarity_parts(made.some(np.array([query])).prices, prices)
            assert np.array_equal(parts.similarity(settings), matches.similarity[place, there])
            assert all(((part >= 0) & (part <= 1)).all() for part in parts)


def test_a_window_and_its_copy_are_wholly_alike():
    made = bar_market(4, ["walk", "scaled copy"], bars=30, window_bars=20, delay=1)
    first = made.some(np.array([0])).prices
    parts = similarity_parts(first, first)
    assert [part.tolist() for part in parts] == [[1.0]] * 6
    assert parts.similarity(FULL) == pytest.approx(1.0)


def test_bars_are_needed():
    made = bar_market(4, ["walk"], bars=30, window_bars=8, delay=1)
    index, queries = FlatIndex.build(made.patterns), made.some(np.array([20]))
    with pytest.raises(ValueError, match="no shapes; full mode compares bars"):
        search(index, made.patterns, queries, FULL, 8)
    without = type(queries)(queries.vectors, queries.dates, queries.codes, queries.bars)
    with pytest.raises(ValueError, match="no prices"):
        search(index, made.patterns, without, FULL, 8, made.shapes)
