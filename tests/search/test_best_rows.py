import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.search import best_rows
from kline_core.search.best_rows import BestRows

SCORES = st.sampled_from([-1.0, -0.5, -1e-30, -0.0, 0.0, 1e-30, 0.25, 0.5, 1.0])


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), SCORES), max_size=20), max_size=4), st.integers(1, 6))
@settings(deadline=None)
def test_the_best_of_all_that_were_added(batches, count):
    best, wanted = BestRows.none(4, count), [[] for _ in range(4)]
    row = 0
    for batch in batches:
        query = np.array([query for query, _ in batch], dtype=np.int64)
        score = np.array([score for _, score in batch], dtype=np.float32)
        rows = np.arange(row, row + len(batch))
        row += len(batch)
        best.add(query, rows, score)
        best.settle()
        for place in range(len(batch)):
            wanted[query[place]].append((float(score[place]), int(rows[place])))
    for query in range(4):
        held = [
            pair for pair in zip(best.scores[query].tolist(), best.rows[query].tolist(), strict=True) if pair[1] >= 0
        ]
        assert set(held) <= set(wanted[query])
        assert sorted(score for score, _ in held) == sorted(score for score, _ in wanted[query])[-count:]
        assert len({row for _, row in held}) == len(held)
        assert best.lowest[query] == (min(held)[0] if len(held) == count else -np.inf)


def test_many_rows_do_not_wait(monkeypatch):
    monkeypatch.setattr(best_rows, "_WAITING", 5)
    best = BestRows.none(1, 2)
    for row in range(6):
        assert best.lowest.tolist() == [-np.inf]
        best.add(np.zeros(1, dtype=np.int64), np.array([row]), np.array([row / 10], dtype=np.float32))
    assert best.lowest.tolist() == pytest.approx([0.4])
    assert best.rows.tolist() == [[4, 5]]
