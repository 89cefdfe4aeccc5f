"""Made-up markets of patterns with their queries, indexes over them, and what a plain loop finds."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import strategies as st

from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Queries
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.search.shards import AnsweredIndex, Share, Unanswered
from kline_core.settings import FactorSettings
from tests.naive import search_one
from tests.support.patterns import columns
from tests.support.spare_cores import spare_cores

DAY_0 = np.datetime64("2020-01-01", "D")


def market(seed, symbols, bars, dim, kinds, delay, noise=0.0, visible=0.8):
    """Patterns of `symbols` whose bars fall on different dates, and a query for every bar of every symbol.

    There are only `kinds` charts, so that ties abound; `noise` moves their vectors by about that much.
    """
    rng = np.random.default_rng(seed)
    charts = rng.standard_normal((kinds, dim))
    name, end, known_on, bar, vector = [], [], [], [], []
    for symbol in range(symbols):
        dates = DAY_0 + np.cumsum(rng.integers(1, 4, bars + delay))
        for ordinal in range(bars):
            name.append(f"S{symbol}")
            end.append(dates[ordinal])
            known_on.append(dates[ordinal + delay])
            bar.append(ordinal)
            vector.append(charts[rng.integers(kinds)] + noise * rng.standard_normal(dim))
    vectors = np.array(vector)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ends, ordinals = np.array(end), np.array(bar, dtype=np.int32)
    count = len(name)
    keep = np.flatnonzero(rng.random(count) < visible)
    patterns = Patterns.from_arrays(
        symbol=np.array(name, dtype=object)[keep],
        end=ends[keep],
        known_on=np.array(known_on)[keep],
        bar=ordinals[keep],
        returns=rng.standard_normal((len(keep), 4)).astype(np.float32),
        barrier=rng.integers(-1, 2, len(keep)).astype(np.int8),
        content=rng.integers(0, 2**63, len(keep)).astype(np.uint64),
        vectors=vectors[keep],
    )
    codes = patterns.codes_of(name)
    # One in ten asks for a symbol that has no patterns.
    codes[rng.random(count) < 0.1] = -1
    return patterns, Queries(vectors, ends, codes, ordinals)


def some(queries, order):
    return Queries(queries.vectors[order], queries.dates[order], queries.codes[order], queries.bars[order])


def assert_same(one, other):
    assert np.array_equal(one.rows, other.rows)
    assert np.array_equal(one.similarity, other.similarity, equal_nan=True)
    assert np.array_equal(one.eligible, other.eligible)


def assert_threads_share(index, patterns, queries, threads=4):
    """Threads that search the same index at the same time find what one finds alone."""
    wanted = search(index, patterns, queries, FactorSettings(), 20)
    start = threading.Barrier(threads)

    def work(_):
        start.wait()
        return search(index, patterns, queries, FactorSettings(), 20)

    with ThreadPoolExecutor(threads) as pool:
        for matches in pool.map(work, range(threads)):
            assert_same(matches, wanted)


def assert_cores_share(index, patterns, queries):
    """A search on several cores finds what it finds on one."""
    wanted = search(index, patterns, queries, FactorSettings(), 20)
    for cores in (2, 5):
        with spare_cores(cores) as parts:
            assert_same(search(index, patterns, queries, FactorSettings(), 20), wanted)
        assert max(parts) == cores


def assert_naive(matches, patterns, queries, factor, window_bars):
    for query in range(len(queries)):
        code, bar = queries.codes[query], queries.bars[query]
        kept, eligible = search_one(
            patterns, queries.vectors[query], queries.dates[query], code, bar, factor, window_bars
        )
        found = [pair for pair in zip(matches.rows[query], matches.similarity[query], strict=True) if pair[0] >= 0]
        assert found == kept
        assert matches.eligible[query] == eligible
        assert (matches.rows[query, len(kept) :] == -1).all()
        assert np.isnan(matches.similarity[query, len(kept) :]).all()


@st.composite
def cases(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    patterns, queries = market(
        seed,
        symbols=draw(st.integers(1, 4)),
        bars=draw(st.integers(1, 25)),
        dim=draw(st.sampled_from([1, 2, 16, 130])),
        kinds=draw(st.integers(1, 6)),
        delay=draw(st.sampled_from([1, 3, 21])),
        # Below, about and above what float32 can tell apart.
        noise=draw(st.sampled_from([0.0, 1e-8, 1e-6, 1e-3, 1.0])),
    )
    order = np.random.default_rng(seed).permutation(len(queries))[: draw(st.integers(0, 25))]
    top_k = draw(st.integers(1, 6))
    factor = FactorSettings(
        top_k=top_k,
        search_k=top_k + draw(st.integers(0, 20)),
        isolation_bars=draw(st.sampled_from([0, 1, 4, 20])),
        min_matches=1,
        min_similarity=draw(st.sampled_from([None, -1.0, 0.0, 0.9, 1.0])),
    )
    return patterns, some(queries, order), factor, draw(st.integers(2, 22)), draw(st.integers(1, 8))


def built(count, dim=3, seed=0, kinds=None):
    """An index of `count` vectors; with `kinds`, only that many different ones."""
    arguments = columns("A" * count, np.arange(count), seed=seed, dim=dim)
    if kinds:
        arguments["vectors"] = arguments["vectors"][np.random.default_rng(seed).integers(0, min(kinds, count), count)]
    return FlatIndex.build(Patterns.from_arrays(**arguments))


asked = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.sampled_from([1, 3, 17, 128]),
    st.sampled_from([None, 1, 4]),
    st.lists(st.floats(0, 1), max_size=12),
)


def drawn(seed, rows, dim, kinds, shares):
    index = built(rows, dim, seed, kinds)
    known = np.sort(np.array([round(share * rows) for share in shares], dtype=np.int64))
    vectors = index.rows[np.random.default_rng(seed + 1).integers(0, rows, len(known))]
    return index, vectors, known


def assert_room_for_one_query_with_very_many_hits(make, most, slack=0.0):
    """A scan made by `make` of rows takes no more room than `most` bytes where one query of many has hits everywhere.

    `slack`: how far a score of it may be off.
    """
    # To the one every row comes closer than all before it; the others, and there are many, see few rows.
    count = 200_000
    rows = np.zeros((count, 8), dtype=np.float32)
    angle = np.linspace(np.pi / 2, 0, count)
    rows[:, 0], rows[:, 1] = np.cos(angle), np.sin(angle)
    vectors = np.repeat(np.eye(1, 8, dtype=np.float32), 600, axis=0)
    known = np.full(600, 648)
    known[-1] = count
    scan = make(rows)
    tracemalloc.start()
    proposed, floor = scan.nearest(vectors, known, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < most
    for row, bound, limit in zip(proposed, floor, known, strict=True):
        assert len(set(row.tolist())) == 5
        assert row.min() >= 0
        assert row.max() < limit
        assert (np.delete(rows[:limit, 0].astype(np.float64), row) <= bound + slack).all()


def in_shards(patterns, number):
    """Indexes over the vectors of each of so many shards, each with its share."""
    shares, rows = [Share(at, number) for at in range(number)], np.arange(len(patterns))
    return [(FlatIndex.over(patterns.vectors[share.holds(rows)]), share) for share in shares]


def asked_of_all(shards, search_with, count):
    """What `search_with` finds with an index whose answers come of the shards, and what it asked."""
    questions, answers = [], []
    while True:
        try:
            return search_with(AnsweredIndex(count, answers)), questions
        except Unanswered as unanswered:
            question = unanswered.question
            questions.append(question)
            answers.append(question.joined([question.put_to(*shard) for shard in shards]))
