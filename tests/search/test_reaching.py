"""Every row above a bound: by the nearest ones where they tell, otherwise by a look at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.search import flat_index as index_module
from kline_core.search import reaching
from kline_core.search.flat_index import FlatIndex
from kline_core.search.principal_scan import PrincipalScan
from kline_core.search.reaching import reached
from tests.naive import similarity
from tests.support.examples import examples
from tests.support.vector_sets import few_directions


@settings(max_examples=examples(60))
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([(1, 2), (2, 5), (3, 40)]))
def test_no_row_above_a_bound_is_missing(seed, asked, counts):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (asked, 30)).astype(np.float64)
    known, bound = np.sort(rng.integers(0, 31, asked)), rng.choice([-np.inf, 0, 1, 2.5, 5, 7], asked)
    looked = []

    def nearest(vectors, limits, count):
        rows, floor = np.full((len(limits), count), -1), np.full(len(limits), -np.inf)
        for place, (query, limit) in enumerate(zip(vectors[:, 0].astype(int).tolist(), limits.tolist(), strict=True)):
            order = np.argsort(-scores[query, :limit], kind="stable")
            rows[place, : len(order[:count])] = order[:count]
            if limit > count:
                floor[place] = scores[query, order[count - 1]]
        return rows, floor

    def otherwise(queries):
        looked.extend(queries.tolist())
        return [np.flatnonzero(scores[query, : known[query]] >= bound[query]) for query in queries.tolist()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reaching, "_COUNTS", counts)
        patch.setattr(reaching, "_TOGETHER", 4)
        found = reached(nearest, np.arange(asked, dtype=np.float32)[:, None], known, bound, otherwise)
    for query, rows in enumerate(found):
        above = set(np.flatnonzero(scores[query, : known[query]] >= bound[query]).tolist())
        assert above <= set(rows.tolist()) <= set(range(known[query]))
        assert (np.diff(rows) > 0).all()
        if query in looked:
            assert known[query] > counts[-1]
            assert len(above) >= counts[-1] or bound[query] == -np.inf


@pytest.mark.parametrize("counts", [(4, 16), (1024, 8192)])
def test_an_index_with_compiled_loops_finds_the_rows_that_a_look_at_all_finds(monkeypatch, counts):
    rows = few_directions(600)
    rows[100:160] = rows[100]
    monkeypatch.setattr(reaching, "_COUNTS", counts)
    index = FlatIndex(rows, PrincipalScan.of(rows))
    index.prepare()
    assert index.scan.ready
    vectors, known = rows[[100, 3, 100, 7]], np.array([90, 130, 400, 600])
    bound = np.array([similarity(vector, rows[100]) for vector in vectors])
    found = index.reaching(vectors, known, bound)
    plain = FlatIndex(rows, None).reaching(vectors, known, bound)
    for (mine, how_much), (right, as_much) in zip(found, plain, strict=True):
        assert mine.tolist() == right.tolist()
        assert how_much.tobytes() == as_much.tobytes()
    assert {len(mine) for mine, _ in found} >= {60}


def test_a_single_query_goes_by_the_loops_once_they_are_compiled(monkeypatch):
    rows, asked = few_directions(400), []
    index = FlatIndex(rows, PrincipalScan.of(rows))
    real = PrincipalScan.nearest
    monkeypatch.setattr(PrincipalScan, "nearest", lambda *of: asked.append(len(of[1])) or real(*of))
    monkeypatch.setattr("kline_core.search.scan_kernel._COMPILED", {})
    by_faiss = index.nearest(rows[:1], np.array([400]), 7)[0]
    assert asked == []
    index.prepare()
    assert sorted(index.nearest(rows[:1], np.array([400]), 7)[0][0]) == sorted(by_faiss[0])
    assert asked == [1]
    assert index_module._SCAN_FROM == 2
