from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.errors import RecallError
from kline_core.factor import state as state_module
from kline_core.patterns.patterns import Patterns
from kline_core.search import candidates as search_module
from kline_core.search import ivf_index as module
from kline_core.search.flat_index import FlatIndex
from kline_core.search.ivf_index import IvfIndex, closest, measured_recall
from kline_core.search.recall import Recall
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.naive import search_one, similarity
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.examples import examples
from tests.support.patterns import DAY_0
from tests.support.searches import assert_cores_share, assert_same, assert_threads_share, market, some

PROBES, LISTS, TRAINED = 3, 12, 60


def built(patterns, probes=PROBES, lists=LISTS, trained=TRAINED):
    return IvfIndex.of(FlatIndex.build(patterns), probes, lists, trained)


# --- the definition, as a slow loop ---


def closest_one(vector, centroids, count):
    return sorted(range(len(centroids)), key=lambda number: (-similarity(vector, centroids[number]), number))[:count]


def centroids_of(vectors, lists):
    centroids = np.array([vectors[number * len(vectors) // lists] for number in range(lists)])
    for _ in range(4):
        total = np.zeros((lists, vectors.shape[1]))
        for vector, number in zip(vectors, [closest_one(vector, centroids, 1)[0] for vector in vectors], strict=True):
            total[number] += vector
        for number in range(lists):
            length = np.sqrt((total[number] ** 2).sum())
            if length > 1e-3:
                centroids[number] = total[number] / length
    return centroids


def rows_of(patterns, vector, known, centroids):
    """Rows that a query is compared with."""
    if known <= TRAINED:
        return np.arange(known)
    probed = closest_one(vector, centroids, PROBES)
    return np.array(
        [row for row in range(known) if closest_one(patterns.vectors[row], centroids, 1)[0] in probed], dtype=int
    )


def only(patterns, rows):
    names = ("code", "end", "known_on", "bar", "vectors")
    return replace(patterns, **{name: getattr(patterns, name)[rows] for name in names})


def assert_naive(matches, patterns, queries, factor, window_bars, centroids):
    known = patterns.n_known(queries.dates)
    for query in range(len(queries)):
        rows = rows_of(patterns, queries.vectors[query], known[query], centroids)
        sample = queries.vectors[query], queries.dates[query], queries.codes[query], queries.bars[query]
        kept, _ = search_one(only(patterns, rows), *sample, factor, window_bars)
        found = zip(matches.rows[query], matches.similarity[query], strict=True)
        assert [pair for pair in found if pair[0] >= 0] == [(rows[row], score) for row, score in kept]


@st.composite
def cases(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    patterns, queries = market(
        seed,
        symbols=draw(st.integers(3, 5)),
        bars=draw(st.integers(40, 60)),
        dim=draw(st.sampled_from([2, 16])),
        kinds=draw(st.sampled_from([1, 6, 200])),
        delay=draw(st.sampled_from([1, 21])),
        # Below, about and above what float32 can tell apart.
        noise=draw(st.sampled_from([0.0, 1e-7, 1e-3, 1.0])),
    )
    order = np.random.default_rng(seed).permutation(len(queries))[:20]
    top_k = draw(st.integers(1, 6))
    factor = FactorSettings(
        top_k=top_k,
        search_k=top_k + draw(st.integers(0, 20)),
        isolation_bars=draw(st.sampled_from([0, 4, 20])),
        min_matches=1,
    )
    return patterns, some(queries, order), factor, draw(st.integers(2, 22))


@pytest.mark.slow
@given(cases(), st.integers(1, 8))
@settings(deadline=None, max_examples=examples(25))
def test_equals_the_plain_loop(case, first_ask):
    patterns, queries, factor, window_bars = case
    index = built(patterns)
    with pytest.MonkeyPatch.context() as patch:
        # Small enough for every stage to be reached by small sets.
        patch.setattr(search_module, "_FIRST_ASK", first_ask)
        patch.setattr(module, "_BLOCK", 7)
        matches = search(index, patterns, queries, factor, window_bars)
    assert len(index.centroids) == LISTS
    assert_naive(matches, patterns, queries, factor, window_bars, index.centroids)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 17]), st.sampled_from([1, 5, 300]))
@settings(deadline=None, max_examples=examples(20))
def test_centroids_equal_the_plain_loop(seed, dim, kinds):
    patterns, _ = market(seed, symbols=2, bars=50, dim=dim, kinds=kinds, delay=1, noise=1e-6, visible=1.0)
    assert np.array_equal(built(patterns).centroids, centroids_of(patterns.vectors[:TRAINED], LISTS))


def test_centroids_that_float32_cannot_tell_apart():
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((1, 64)) + 1e-7 * rng.standard_normal((80, 64))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    error = FlatIndex.score_error.fget(SimpleNamespace(rows=vectors))
    found = closest(vectors, vectors[:30], 9, error)
    assert found.tolist() == [closest_one(vector, vectors[:30], 9) for vector in vectors]


def test_vectors_that_cancel_each_other_leave_a_centroid_where_it_was():
    ends = np.tile(np.float32([[0, 1], [0, -1]]), (4, 1))
    across = np.float32([1, 0])
    centroids = module._centroids(np.vstack([[across], ends]), 1, 1e-6)
    assert np.array_equal(centroids, [across])


# --- point in time ---


def test_a_longer_history_changes_nothing_before_it():
    patterns, queries = market(2, symbols=4, bars=80, dim=8, kinds=100, delay=5, noise=1.0)
    date = DAY_0 + 100
    early = some(queries, np.flatnonzero(queries.dates <= date))
    n = int(patterns.n_known(np.array([date]))[0])
    assert TRAINED < n < len(patterns)
    whole = built(patterns)
    before = search(whole, patterns, early, FactorSettings(), 20)
    # The future is replaced by copies of the queries themselves, the most tempting matches there are.
    vectors = patterns.vectors.copy()
    vectors[n:] = np.resize(early.vectors, vectors[n:].shape)
    other = replace(patterns, vectors=vectors)
    changed = built(other)
    assert np.array_equal(changed.centroids, whole.centroids)
    assert_same(search(changed, other, early, FactorSettings(), 20), before)
    # And by nothing at all: the home as it was on that date.
    there = replace(only(patterns, slice(0, n)), **_keys_of(patterns, n))
    assert_same(search(built(there), there, early, FactorSettings(), 20), before)


def _keys_of(patterns, n):
    kept = patterns.symbol_rows < n
    return {"symbol_keys": patterns.symbol_keys[kept], "symbol_rows": patterns.symbol_rows[kept]}


def test_a_sample_that_sees_no_more_than_the_first_patterns_is_searched_exactly():
    patterns, queries = market(3, symbols=4, bars=80, dim=8, kinds=300, delay=5, noise=1.0)
    exact = search(FlatIndex.build(patterns), patterns, queries, FactorSettings(), 20)
    found = search(built(patterns, probes=1), patterns, queries, FactorSettings(), 20)
    early = patterns.n_known(queries.dates) <= TRAINED
    assert 0 < early.sum() < len(queries)
    assert np.array_equal(found.rows[early], exact.rows[early])
    assert not np.array_equal(found.rows, exact.rows)


@pytest.mark.parametrize("trained", [10_000, 197])
def test_a_history_that_is_not_long_enough_is_searched_exactly(trained):
    patterns, queries = market(4, symbols=4, bars=60, dim=8, kinds=300, delay=5, noise=1.0)
    assert len(patterns) == 197
    index = built(patterns, probes=1, trained=trained)
    assert index.lists is None
    exact = search(FlatIndex.build(patterns), patterns, queries, FactorSettings(), 20)
    assert_same(search(index, patterns, queries, FactorSettings(), 20), exact)
    recall = measured_recall(index, patterns, FactorSettings(), 20)
    assert (recall.share, recall.asked) == (1.0, 0)
    assert str(recall) == f"index ivf: no recall to measure yet, since up to {trained} patterns are searched exactly"
    recall.check(1.0)


def test_with_all_lists_it_is_the_exact_search():
    patterns, queries = market(5, symbols=5, bars=100, dim=16, kinds=20, delay=5, noise=0.01)
    exact = search(FlatIndex.build(patterns), patterns, queries, FactorSettings(), 20)
    assert_same(search(built(patterns, probes=LISTS), patterns, queries, FactorSettings(), 20), exact)


# --- batches, threads, edges ---


@pytest.mark.slow
@given(cases(), st.integers(1, 9))
@settings(deadline=None, max_examples=examples(20))
def test_batches_and_order_do_not_matter(case, size):
    patterns, queries, factor, window_bars = case
    index = built(patterns)
    whole = search(index, patterns, queries, factor, window_bars)
    backwards = np.arange(len(queries))[::-1]
    for first in range(0, len(queries), size):
        part = backwards[first : first + size]
        matches = search(index, patterns, some(queries, part), factor, window_bars)
        assert np.array_equal(matches.rows, whole.rows[part])
        assert np.array_equal(matches.similarity, whole.similarity[part], equal_nan=True)
        assert np.array_equal(matches.eligible, whole.eligible[part])


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_hundreds_of_identical_charts(noise):
    patterns, queries = market(6, symbols=5, bars=100, dim=32, kinds=3, delay=21, noise=noise, visible=1.0)
    queries = some(queries, np.arange(0, len(queries), 25))
    factor = FactorSettings(search_k=40)
    index = built(patterns)
    matches = search(index, patterns, queries, factor, 20)
    assert_naive(matches, patterns, queries, factor, 20, index.centroids)


@pytest.mark.slow
def test_threads_share_an_index():
    patterns, queries = market(7, symbols=5, bars=100, dim=16, kinds=40, delay=21, noise=0.1)
    assert_threads_share(built(patterns), patterns, queries)
    assert_cores_share(built(patterns), patterns, queries)


def test_nothing_to_search():
    patterns = Patterns.empty(4, 4)
    index = built(patterns)
    assert len(index) == 0
    rows, floor = index.nearest(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 5)
    assert rows.shape == (0, 5)
    assert floor.shape == (0,)
    assert index.at_least(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0)) == []


def test_rows_and_patterns_are_those_of_the_exact_index():
    patterns, _ = market(8, symbols=3, bars=60, dim=8, kinds=30, delay=5)
    exact = FlatIndex.build(patterns)
    index = IvfIndex.of(exact, PROBES, LISTS, TRAINED)
    assert index.rows is exact.rows
    assert index.score_error == exact.score_error


# --- recall ---


@pytest.mark.slow
@pytest.mark.parametrize("most", [7, 1000])
def test_recall_is_what_a_slow_count_finds(most):
    patterns, _ = market(9, symbols=5, bars=60, dim=8, kinds=200, delay=5, noise=1.0)
    index = built(patterns)
    factor = FactorSettings(top_k=3, min_matches=1)
    late = [row for row in range(len(patterns)) if patterns.n_known(patterns.end[row : row + 1])[0] > TRAINED]
    asked = late if most > len(late) else [late[number * len(late) // most] for number in range(most)]
    wanted = found = 0
    for row in asked:
        vector, date = patterns.vectors[row], patterns.end[row]
        sample = vector, date, patterns.code[row], patterns.bar[row]
        exact, _ = search_one(patterns, *sample, factor, 20)
        rows = rows_of(patterns, vector, int(patterns.n_known(date[None])[0]), index.centroids)
        near, _ = search_one(only(patterns, rows), *sample, factor, 20)
        wanted += len(exact)
        found += len({row for row, _ in exact} & {rows[row] for row, _ in near})
    recall = measured_recall(index, patterns, factor, 20, most)
    assert recall == Recall(found / wanted, len(asked), 3, PROBES, TRAINED)
    assert 0.2 < recall.share < 1.0


def test_too_small_a_recall_is_refused_with_what_to_do():
    recall = Recall(0.98765, 400, 5, 48, 65_536)
    recall.check(0.98)
    with pytest.raises(RecallError) as refusal:
        recall.check(0.99)
    assert str(refusal.value) == (
        "recall@5 of the approximate index is 0.9877 with probes 48, below min_recall 0.99; raise --probes, leave "
        "--index ivf away for the exact search, or take it as it is with --min-recall 0.98"
    )
    assert str(recall) == "index ivf with 48 probes: recall@5 0.9877, measured with 400 patterns as queries"
    assert recall.to_dict() == {"share": 0.98765, "asked": 400, "top_k": 5, "probes": 48, "trained": 65_536}


# --- settings, runs, the command line ---


@pytest.fixture
def small(monkeypatch):
    """Lists for homes of a few hundred patterns."""
    of = partial(IvfIndex.of, lists=LISTS, trained=TRAINED)
    monkeypatch.setattr(state_module, "IvfIndex", SimpleNamespace(of=of))


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    from tests.support.homes import market as bars

    return Bench.of(tmp_path_factory.mktemp("approximate") / "home", bars(4, 80), weights=small_weights)


def asking(bench, **factor):
    return Bench(bench.home, replace(SMALL_SETTINGS, factor=replace(SMALL_SETTINGS.factor, **factor)), bench.weights)


@pytest.mark.slow
@pytest.mark.usefixtures("small", "nothing_loaded")
def test_a_run_reports_the_recall_and_keeps_its_values_apart(bench, in_process, tmp_path):
    bench = bench.copy(tmp_path / "home")
    exact = bench.run(in_process, samples=30)
    assert exact.recall is None
    assert exact.to_dict()["recall"] is None
    report = asking(bench, index="ivf", probes=2, min_recall=0.0).run(in_process, samples=30)
    assert report.fingerprint != exact.fingerprint
    assert report.count("reused") == 0
    assert report.recall.asked > 0
    assert report.to_dict()["recall"] == report.recall.to_dict()
    assert len(set(bench.home.read("factors")["fingerprint"].to_pylist())) == 2
    again = asking(bench, index="ivf", probes=2, min_recall=0.1).run(in_process, samples=30)
    assert again.count("done") == 0


@pytest.mark.slow
@pytest.mark.usefixtures("small", "nothing_loaded")
def test_a_state_is_loaded_with_the_index_that_is_asked_for(bench):
    approximate = asking(bench, index="ivf", min_recall=0.0, probes=2).key
    assert isinstance(state_module.loaded_state(approximate).index, IvfIndex)
    loaded = state_module.loaded_state(bench.key)
    assert type(loaded.index) is FlatIndex
    assert loaded.recall is None
    assert np.shares_memory(loaded.patterns.vectors, loaded.index.rows)
    # What is loaded already must not let a stricter key in.
    with pytest.raises(RecallError, match="below min_recall 1;"):
        state_module.loaded_state(asking(bench, index="ivf", min_recall=1.0, probes=2).key)
