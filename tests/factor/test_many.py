"""The second value, from many, against a plain loop over all patterns."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.factor.many import ManyValues
from kline_core.patterns.outcome_ranks import OutcomeRanks
from kline_core.search import candidates as candidates_module
from kline_core.search import search as search_module
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.settings import FactorSettings, Settings
from kline_core.store.schemas import MANY_FIGURES
from tests.naive import from_many, outcome_rank
from tests.support.searches import asked_of_all, assert_same, in_shards, market, some

FIGURES = [*MANY_FIGURES, "many_reason"]


def with_many(many, **changes):
    return Settings(factor=FactorSettings(many=many, min_matches=1, return_horizon=5, **changes))


def spread_out(patterns, queries, days):
    """The same market with bars that lie `days` times as far apart, so that it spans quarters."""
    origin = np.datetime64("2015-01-01")

    def moved(dates):
        return origin + (dates - np.datetime64("2020-01-01")).astype(np.int64) * days

    dates = {name: moved(getattr(patterns, name)) for name in ("end", "known_on")}
    return replace(patterns, **dates), replace(queries, dates=moved(queries.dates))


def tied_returns(patterns, seed):
    """Returns of a few sizes only, so that ranks are shared."""
    returns = np.random.default_rng(seed).integers(-2, 3, patterns.returns.shape) / 100
    return replace(patterns, returns=returns.astype(np.float32))


def found(patterns, queries, settings, index=None, window_bars=20):
    """Columns of the second values, and the matches."""
    outcome = OutcomeRanks(patterns).over(settings.patterns.horizons.index(settings.factor.return_horizon))
    many = ManyValues(patterns, outcome, settings.factor.many, len(queries))
    index = FlatIndex.build(patterns) if index is None else index
    matches = search(index, patterns, queries, settings.factor, window_bars, nearest=many.take)
    return many.columns(), matches


def assert_naive(columns, patterns, queries, settings, window_bars=20):
    told = set()
    for sample in range(len(queries)):
        wanted = from_many(
            *(patterns, queries.vectors[sample], queries.dates[sample], queries.codes[sample]),
            *(queries.bars[sample], settings, window_bars),
        )
        if isinstance(wanted, str):
            assert columns["many_reason"][sample].startswith(wanted)
            assert all(np.isnan(columns[name][sample]) for name in MANY_FIGURES)
            told.add(wanted.split(":")[0])
            continue
        assert columns["many_reason"][sample] is None
        for name in MANY_FIGURES:
            assert columns[name][sample] == pytest.approx(wanted[name], rel=1e-7, abs=1e-9), name
        told.add("ok")
    return told


@st.composite
def cases(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    patterns, queries = market(
        seed,
        symbols=draw(st.integers(1, 4)),
        bars=draw(st.integers(1, 18)),
        dim=draw(st.sampled_from([1, 2, 16])),
        kinds=draw(st.integers(1, 6)),
        delay=draw(st.sampled_from([1, 3])),
        noise=draw(st.sampled_from([0.0, 1e-7, 1e-3, 1.0])),
    )
    patterns, queries = spread_out(patterns, queries, draw(st.sampled_from([1, 30])))
    if draw(st.booleans()):
        patterns = tied_returns(patterns, seed)
    order = np.random.default_rng(seed).permutation(len(queries))[: draw(st.integers(0, 12))]
    many = draw(st.integers(3, 12))
    search_k = draw(st.integers(5, 20))
    return patterns, some(queries, order), with_many(many, search_k=search_k), draw(st.integers(2, 8))


@pytest.mark.slow
@given(cases(), st.integers(1, 5), st.integers(1, 40))
def test_equal_the_plain_loop_and_shards_whatever_is_held_together(case, number, pairs):
    patterns, queries, settings, window_bars = case
    plain = replace(settings.factor, many=0)
    matches = search(FlatIndex.build(patterns), patterns, queries, plain, window_bars)
    columns, beside = found(patterns, queries, settings, window_bars=window_bars)
    assert_same(beside, matches)
    assert_naive(columns, patterns, queries, settings, window_bars)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "_PAIRS", pairs)
        patch.setattr(candidates_module, "_FIRST_ASK", 1)
        again, beside = asked_of_all(
            in_shards(patterns, number),
            lambda index: found(patterns, queries, settings, index, window_bars),
            len(patterns),
        )[0]
    assert_same(beside, matches)
    for name in FIGURES:
        np.testing.assert_array_equal(again[name], columns[name])


def test_a_market_with_everything():
    patterns, queries = spread_out(*market(7, symbols=5, bars=60, dim=4, kinds=40, delay=3, noise=0.1), 9)
    # Days of one symbol alone, and few sizes of returns: windows without a rank, and ranks that are shared.
    patterns, queries = tied_returns(patterns, 7), some(queries, np.arange(0, len(queries), 7))
    settings = with_many(30)
    columns, _ = found(patterns, queries, settings)
    told = assert_naive(columns, patterns, queries, settings)
    assert told == {"ok", "too few windows", "too few effective quarters"}
    windows = columns["many_windows"][~np.isnan(columns["many_windows"])]
    assert windows.min() < 30


def test_no_more_are_asked_for_than_there_are(monkeypatch):
    patterns, queries = spread_out(*market(7, symbols=5, bars=60, dim=4, kinds=40, delay=3, noise=0.1), 9)
    asked = []
    proposals = FlatIndex.proposals

    def counted(index, vectors, known, count):
        asked.append(count)
        return proposals(index, vectors, known, count)

    monkeypatch.setattr(FlatIndex, "proposals", counted)
    columns, _ = found(patterns, queries, with_many(1_000_000))
    assert all(reason.endswith(" of 1000000") for reason in columns["many_reason"])
    assert max(asked) < 3 * len(patterns)


def test_one_symbol_alone_has_no_rank_and_says_so():
    patterns, queries = spread_out(*market(1, symbols=1, bars=60, dim=4, kinds=40, delay=3, noise=0.1), 9)
    settings = with_many(5)
    columns, _ = found(patterns, queries, settings)
    assert columns["many_reason"][-1] == "no window has a rank: fewer than 2 were known of each day"
    assert np.isnan(columns["many_rank"]).all()


def test_the_nearest_by_hand():
    """Four windows, one a quarter, of which the last weighs nothing."""
    similarity = np.array([0.9, 0.7, 0.6, 0.5])
    vectors = np.stack([similarity, np.sqrt(1 - similarity**2)], axis=1).astype(np.float32)
    ends = np.array(["2019-01-02", "2019-04-02", "2019-07-02", "2019-10-02"], dtype="datetime64[D]")
    patterns = SimpleNamespace(end=np.append(ends, ends))
    outcome = np.array([0.25, -0.25, 0.25, np.nan] * 2)
    nearest = candidates_module.Candidates(
        np.arange(4)[None], np.zeros((1, 4), np.int32), np.zeros((1, 4), np.int32), (vectors[:, :1].T).astype(float)
    )
    many = ManyValues(patterns, outcome, 4, 2)
    many.take(np.array([1]), nearest)
    columns = many.columns()
    assert columns["many_reason"].tolist() == ["too few windows: 0 of 4", "too few effective quarters: 2.33 of 3"]
    equal = replace(nearest, similarity=np.full((1, 4), 0.5))
    many.take(np.array([1]), equal)
    columns = many.columns()
    assert columns["many_rank"][1] == pytest.approx(0.25 / 3)
    assert columns["many_quarters"][1] == pytest.approx(3)
    assert columns["many_windows"].tolist()[1] == 3


def test_ranks_are_made_once_and_are_those_of_the_loop():
    patterns, _ = market(5, symbols=4, bars=30, dim=2, kinds=5, delay=3)
    ranks = OutcomeRanks(tied_returns(patterns, 5))
    made = ranks.over(1)
    assert ranks.over(1) is made
    wanted = [outcome_rank(tied_returns(patterns, 5), row, 1) for row in range(len(patterns))]
    assert made.tolist() == pytest.approx([np.nan if rank is None else rank for rank in wanted], nan_ok=True)


def test_another_future_changes_nothing():
    patterns, queries = spread_out(*market(2, symbols=4, bars=60, dim=8, kinds=100, delay=5, noise=1.0), 20)
    date = np.sort(queries.dates)[len(queries) * 2 // 3]
    early = some(queries, np.flatnonzero(queries.dates <= date))
    settings = with_many(20)
    before, _ = found(patterns, early, settings)
    future = patterns.known_on > date
    assert future.any()
    # Their windows are the most tempting ones, and their returns beat those of the same days.
    vectors, returns = patterns.vectors.copy(), patterns.returns.copy()
    vectors[future], returns[future] = np.resize(early.vectors, (future.sum(), 8)), 9.0
    other = replace(patterns, vectors=vectors, returns=returns)
    after, _ = found(other, early, settings)
    assert (~np.isnan(before["many_rank"])).sum() > 20
    for name in FIGURES:
        np.testing.assert_array_equal(after[name], before[name])
    late, _ = found(other, queries, settings)
    assert not np.array_equal(late["many_rank"], found(patterns, queries, settings)[0]["many_rank"], equal_nan=True)
