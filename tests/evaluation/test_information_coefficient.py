import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.evaluation.information_coefficient import (
    RankIC,
    cross_section_ic,
    cross_section_rank_ic,
    pooled_rank_ic,
    rank_ic,
    session_mean,
    time_series_rank_ic,
)
from tests import naive

NAN = float("nan")
numbers = st.one_of(st.just(NAN), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))
pairs = st.lists(st.tuples(numbers, numbers), max_size=30)


def columns(rows):
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def complete(rows):
    return [row for row in rows if not any(math.isnan(x) for x in row)]


def assert_spearman(got, rows):
    expected = naive.spearman([x for x, _ in rows], [y for _, y in rows])
    if expected is None:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@given(pairs)
def test_rank_ic_equals_the_plain_loop(rows):
    assert_spearman(rank_ic(*columns(rows)), complete(rows))


def test_rank_ic_by_hand():
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24).
    assert rank_ic(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])) == pytest.approx(0.8)
    assert rank_ic(np.array([1.0, 5, 9]), np.array([2.0, 3, 4])) == 1.0
    assert rank_ic(np.array([1.0, 5, 9]), np.array([4.0, 3, 2])) == -1.0


@pytest.mark.parametrize(
    ("values", "returns"),
    [([], []), ([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, NAN], [1.0, 2.0, 3.0])],
)
def test_too_little_to_rank_is_nan(values, returns):
    assert math.isnan(rank_ic(np.array(values), np.array(returns)))


def test_time_series_counts_independent_pairs():
    values = np.arange(10.0)
    values[0] = NAN
    got = time_series_rank_ic(np.arange(10), values, np.arange(10.0), apart=3)
    # Bars 1, 4 and 7 are kept: the missing bar 0 must not set the pace.
    assert got == RankIC(value=1.0, se=2**-0.5, n=9, n_independent=3, n_missing=1)


def test_time_series_takes_samples_in_any_order():
    rng = np.random.default_rng(0)
    bars, values, returns = rng.permutation(200)[:80], rng.normal(size=80), rng.normal(size=80)
    order = np.argsort(bars)
    assert time_series_rank_ic(bars, values, returns, 6) == time_series_rank_ic(
        bars[order], values[order], returns[order], 6
    )


@pytest.mark.parametrize("bars", [2, 3])
def test_time_series_with_too_few_independent_pairs_has_no_error(bars):
    got = time_series_rank_ic(np.arange(bars), np.arange(bars) * 1.0, np.arange(bars) * 1.0, apart=6)
    assert got.n == bars
    assert got.n_independent == 1
    assert math.isnan(got.se)
    assert math.isnan(got.value) == (bars < 3)


@pytest.mark.slow
def test_standard_error_covers_overlapping_returns():
    """On random walks with slowly moving values that say nothing, the error holds; the naive one is far too small."""
    rng = np.random.default_rng(7)
    horizon, lag, bars = 5, 1, 1500
    scores, naive_scores = [], []
    for _ in range(300):
        steps = rng.normal(size=bars)
        close = np.cumsum(steps)
        ends = np.arange(20, bars - lag - horizon)
        returns = close[ends + lag + horizon] - close[ends + lag]
        values = np.convolve(rng.normal(size=bars), np.ones(20), "full")[ends]
        got = time_series_rank_ic(ends, values, returns, apart=horizon + lag)
        scores.append(got.value / got.se)
        naive_scores.append(got.value * math.sqrt(got.n - 1))
    assert 0.7 < np.std(scores) < 1.1
    assert np.std(naive_scores) > 1.8


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 6), numbers, numbers), max_size=60), st.integers(1, 5))
def test_cross_section_equals_the_plain_loop(rows, min_symbols):
    sessions = np.array([row[0] for row in rows], dtype=np.int64)
    got = cross_section_rank_ic(sessions, *columns([row[1:] for row in rows]), apart=2, min_symbols=min_symbols)
    expected, thin = {}, 0
    for session in sorted({row[0] for row in rows}):
        members = complete([row[1:] for row in rows if row[0] == session])
        coefficient = naive.spearman([x for x, _ in members], [y for _, y in members])
        if coefficient is not None and len(members) >= min_symbols:
            expected[session] = coefficient
        elif members:
            thin += 1
    assert got.sessions.tolist() == list(expected)
    assert got.by_session.tolist() == pytest.approx(list(expected.values()), abs=1e-12)
    assert got.n_thin == thin
    assert got.n_missing == len(rows) - len(complete([row[1:] for row in rows]))
    if expected:
        assert got.value == pytest.approx(sum(expected.values()) / len(expected), abs=1e-12)
    else:
        assert math.isnan(got.value)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9), st.integers(-9, 9)), max_size=60))
def test_cross_section_with_returns_equals_numpy(rows):
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    # A common level is no correlation, and a constant side has none, however its mean is rounded.
    values, returns = table[:, 1] / 10 + 0.1, table[:, 2] / 7
    got = cross_section_ic(table[:, 0], values, returns, apart=1, min_symbols=3)
    expected = {}
    for session in np.unique(table[:, 0]).tolist():
        mine = table[:, 0] == session
        if mine.sum() >= 3 and all(len(np.unique(table[mine, side])) > 1 for side in (1, 2)):
            expected[session] = np.corrcoef(values[mine], returns[mine])[0, 1]
    assert got.sessions.tolist() == list(expected)
    assert got.by_session.tolist() == pytest.approx(list(expected.values()), abs=1e-9)


def test_session_mean_by_hand():
    value, se, independent = session_mean(np.array([0, 2, 3, 7]), np.array([1.0, 5.0, 3.0, 9.0]), apart=3)
    # Sessions 0, 3 and 7 are kept: 1, 3 and 9.
    assert (value, independent) == (4.5, 3)
    assert se == pytest.approx(np.std([1, 3, 9], ddof=1) / math.sqrt(3))
    one = session_mean(np.array([4]), np.array([2.0]), apart=3)
    assert (one[0], one[2]) == (2.0, 1)
    assert math.isnan(one[1])


def test_cross_section_error_uses_sessions_that_are_apart():
    order = {1.0: [1.0, 2, 3], -1.0: [3.0, 2, 1], 0.5: [1.0, 3, 2]}
    by_session = {0: 1.0, 1: -1.0, 5: 0.5, 6: 0.5, 9: -1.0, 11: 0.5}
    sessions = np.repeat(list(by_session), 3)
    values = np.tile([1.0, 2, 3], len(by_session))
    returns = np.concatenate([order[ic] for ic in by_session.values()])
    got = cross_section_rank_ic(sessions, values, returns, apart=5, min_symbols=3)
    assert got.by_session.tolist() == pytest.approx(list(by_session.values()))
    assert got.value == pytest.approx(0.5 / 6)
    # Sessions 0, 5 and 11 are at least 5 apart.
    assert got.n_independent == 3
    assert got.se == pytest.approx(np.std([1.0, 0.5, 0.5], ddof=1) / math.sqrt(3))


def test_pooled_by_hand():
    results = [RankIC(0.1, 0.3, 50, 12, 0), RankIC(0.3, 0.4, 50, 8, 0), RankIC(NAN, NAN, 2, 1, 0)]
    got = pooled_rank_ic(results)
    assert got.value == pytest.approx(0.2)
    assert got.se == pytest.approx(0.25)
    assert (got.symbols, got.symbols_left_out) == (2, 1)
    assert pooled_rank_ic(results, together=True).se == pytest.approx(0.35)


def test_pooled_of_nothing_is_nan():
    got = pooled_rank_ic([RankIC(NAN, NAN, 2, 1, 0)])
    assert math.isnan(got.value)
    assert math.isnan(got.se)
    assert (got.symbols, got.symbols_left_out) == (0, 1)
