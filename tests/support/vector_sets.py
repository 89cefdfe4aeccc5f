"""Vectors to be scanned, and what a scan has to propose of them."""

from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import strategies as st

from kline_core.patterns.patterns import MAX_LENGTH
from kline_core.search import bounded_scan, quantised_scan, rounded_heads, scan_kernel
from tests.naive import similarity
from tests.support.searches import built


@contextmanager
def small_steps():
    """Small enough for every stage to be reached by small sets, and bounds used wherever there are some."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, size in (
            *((bounded_scan, "_SCORES", 60), (bounded_scan, "_PAIRS", 3)),
            # Some of the blocks of a call are scored in full, and then bounds are tried again.
            *((bounded_scan, "_SETTLED", 8), (bounded_scan, "_FEW", 3)),
            *((scan_kernel, "_BLOCK", 8), (scan_kernel, "_PAIRS", 16 * 32)),
        ):
            patch.setattr(module, name, size)
        for module in (rounded_heads, quantised_scan):
            patch.setattr(module, "SLICE", 7)
        yield


def with_directions(of, rows, count, seed=0):
    """What `of` makes of rows along directions that have nothing to do with them, at most `count` for heads."""
    dim = rows.shape[1]
    directions, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
    with pytest.MonkeyPatch.context() as patch:
        for module in (rounded_heads, quantised_scan):
            patch.setattr(module, "principal", lambda _: (directions, min(count, dim)))
        return of(rows)


def counted_pairs(monkeypatch):
    """The layout of each call of the loops from now on, and how many pairs it scored on their own."""
    counted, go = [], scan_kernel.Search.go

    def counting(search, kernel, *arguments, **others):
        pairs = go(search, kernel, *arguments, **others)
        counted.append((kernel.layout, pairs))
        return pairs

    monkeypatch.setattr(scan_kernel.Search, "go", counting)
    return counted


def unit(vectors):
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length == 0, 1, length)).astype(np.float32)


@st.composite
def vector_sets(draw):
    """Rows with few or many directions that matter, repeated, all alike, or as long as a vector may be."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, dim = draw(st.integers(1, 70)), draw(st.sampled_from([1, 3, 8, 17, 64]))
    rank = draw(st.integers(1, dim))
    rows = rng.standard_normal((count, rank)) @ rng.standard_normal((rank, dim))
    rows += draw(st.sampled_from([0.0, 1e-7, 1e-3, 0.3])) * rng.standard_normal((count, dim))
    rows = unit(rows[rng.integers(0, draw(st.integers(1, count)), count)])
    if draw(st.booleans()):
        rows *= np.float32(MAX_LENGTH - 1e-5)
    asked = draw(st.integers(1, 12))
    strangers = unit(rng.standard_normal((asked, dim)))
    vectors = np.where(rng.random((asked, 1)) < 0.7, rows[rng.integers(0, count, asked)], strangers)
    known = np.sort(rng.integers(0, count + 1, asked))
    return rows, vectors, known


def assert_proposals(scan, rows, vectors, known, count):
    error = built(2, dim=rows.shape[1]).score_error
    proposed, floor = scan.nearest(vectors, known, count)
    for query, limit in enumerate(known.tolist()):
        there = [row for row in proposed[query].tolist() if row >= 0]
        assert len(set(there)) == len(there) == min(count, limit)
        assert all(row < limit for row in there)
        for row in set(range(limit)) - set(there):
            assert similarity(vectors[query], rows[row]) <= floor[query] + error
        assert (floor[query] == -np.inf) == (limit <= count)


def few_directions(count, dim=32, rank=4):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((count, rank)) @ rng.standard_normal((rank, dim))
    return unit(rows + 0.1 * rng.standard_normal((count, dim)))
