from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kline_core.errors import DateError
from kline_core.factor.weighting import factor_values, match_columns
from kline_core.patterns.patterns import Patterns
from kline_core.search.results import Matches
from kline_core.settings import FactorSettings, PatternSettings, Settings
from tests.naive import factor_one
from tests.support.examples import examples
from tests.support.patterns import DAY_0, columns

MEASURES = ["value", "barrier_win_rate", "return_win_rate", "similarity", "return_mean", "return_median"]
MEASURES += ["return_q05", "return_q25", "return_q75", "return_cvar", "effective_matches"]


def matched(rows, similarity, top_k=5):
    """Matches of some samples from lists of different lengths."""
    matches = Matches(
        np.full((len(rows), top_k), -1, dtype=np.int64),
        np.full((len(rows), top_k), np.nan),
        np.full(len(rows), 99, dtype=np.int64),
    )
    for sample, (some, scores) in enumerate(zip(rows, similarity, strict=True)):
        matches.rows[sample, : len(some)] = some
        matches.similarity[sample, : len(some)] = scores
    return matches


def ten_patterns(**changes):
    return Patterns.from_arrays(**(columns("A" * 10, np.arange(0, 200, 20)) | changes))


@st.composite
def cases(draw):
    top_k = draw(st.integers(1, 12))
    samples = draw(st.integers(0, 8))
    scores = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 1.0, 5e-324]))
    lengths = [draw(st.integers(0, min(top_k, 10))) for _ in range(samples)]
    matches = matched(
        [draw(st.permutations(range(10)))[:length] for length in lengths],
        [sorted((draw(scores) for _ in range(length)), reverse=True) for length in lengths],
        top_k,
    )
    some_returns = st.sampled_from([-0.5, -0.01, 0.0, 0.01, 0.1, 2.0]).map(np.float32)
    returns = np.array([[draw(some_returns) for _ in range(4)] for _ in range(10)])
    dates = DAY_0 + np.array([draw(st.integers(250, 9000)) for _ in range(samples)], dtype=np.int64)
    factor = FactorSettings(
        top_k=top_k,
        min_matches=draw(st.integers(1, top_k)),
        barrier_weight=draw(st.floats(0, 1)),
        return_horizon=draw(st.sampled_from([1, 5, 10, 20])),
        half_life_days=draw(st.sampled_from([0.1, 30.0, 180.0, 1e6, None])),
        min_effective_matches=draw(st.one_of(st.just(1.0), st.floats(1, top_k))),
    )
    return ten_patterns(returns=returns), matches, dates, Settings(factor=factor)


@pytest.mark.slow
@given(cases())
@hypothesis_settings(deadline=None)
def test_equals_the_plain_loop(case):
    patterns, matches, dates, settings = case
    rows = factor_values(patterns, matches, dates, settings)
    assert len(rows) == len(dates)
    for sample, date in enumerate(dates):
        kept = [pair for pair in zip(matches.rows[sample], matches.similarity[sample], strict=True) if pair[0] >= 0]
        wanted = factor_one(patterns, kept, date, settings)
        assert rows.matches[sample] == len(kept)
        if isinstance(wanted, str):
            assert rows.status[sample] == "failed"
            assert rows.reason[sample].startswith(wanted)
            assert all(np.isnan(getattr(rows, name)[sample]) for name in MEASURES)
            continue
        assert (rows.status[sample], rows.reason[sample]) == ("ok", None)
        same = ("value", "barrier_win_rate", "return_win_rate", "similarity", "return_mean", "return_cvar")
        for name in (*same, "effective_matches"):
            assert getattr(rows, name)[sample] == wanted[name], name
        # NumPy interpolates quantiles in another, equally right, order.
        for name in ("return_median", "return_q05", "return_q25", "return_q75"):
            assert getattr(rows, name)[sample] == pytest.approx(wanted[name], rel=1e-12, abs=1e-15), name
        assert 0 <= rows.value[sample] <= 1 + 1e-12
        assert 1 - 1e-12 <= rows.effective_matches[sample] <= len(kept) + 1e-9


@pytest.mark.slow
@given(cases())
@hypothesis_settings(deadline=None, max_examples=examples(30))
def test_batches_do_not_matter(case):
    patterns, matches, dates, settings = case
    whole = factor_values(patterns, matches, dates, settings)
    for sample in range(len(dates)):
        one = slice(sample, sample + 1)
        part = Matches(matches.rows[one], matches.similarity[one], matches.eligible[one])
        alone = factor_values(patterns, part, dates[one], settings)
        for field in fields(whole):
            both = getattr(alone, field.name)[0], getattr(whole, field.name)[sample]
            assert np.array_equal(*both, equal_nan=field.name in (*MEASURES, "weights")), field.name


def test_by_hand():
    returns = np.zeros((10, 4), dtype=np.float32)
    returns[:5, 1] = [0.25, -0.5, 0.5, 0.0, -0.25]
    patterns = ten_patterns(returns=returns, barrier=np.array([1, -1, 0, 1, -1] * 2))
    # Ages 360, 340, ... days at a half-life of 180.
    date = DAY_0 + np.array([360])
    rows = factor_values(patterns, matched([[0, 1, 2, 3, 4]], [[1.0, 0.9, 0.8, 0.4, -0.2]]), date, Settings())
    w = [0.25, 0.9 * 0.5 ** (340 / 180), 0.8 * 0.5 ** (320 / 180), 0.4 * 0.5 ** (300 / 180), 0.0]
    assert rows.weights[0] == pytest.approx(w)
    assert rows.barrier_win_rate[0] == pytest.approx((w[0] + w[3]) / sum(w))
    assert rows.return_win_rate[0] == pytest.approx((w[0] + w[2]) / sum(w))
    assert rows.value[0] == pytest.approx(0.7 * (w[0] + w[3]) / sum(w) + 0.3 * (w[0] + w[2]) / sum(w))
    assert rows.similarity[0] == pytest.approx(0.58)
    assert rows.return_mean[0] == 0.0
    assert rows.return_median[0] == 0.0
    assert (rows.return_q25[0], rows.return_q75[0]) == (-0.25, 0.25)
    assert rows.return_q05[0] == pytest.approx(-0.45)
    assert rows.return_cvar[0] == -0.5


def test_all_win_and_none_wins_are_values_not_failures():
    returns = np.full((10, 4), -0.1, dtype=np.float32)
    returns[:5] = 0.1
    patterns = ten_patterns(returns=returns, barrier=np.array([1] * 5 + [-1] * 5))
    matches = matched([range(5), range(5, 10)], [[0.5] * 5] * 2)
    rows = factor_values(patterns, matches, DAY_0 + np.array([400, 400]), Settings())
    assert rows.value.tolist() == [1.0, 0.0]
    assert rows.status.tolist() == ["ok", "ok"]


def test_reasons():
    matches = matched([[], [0, 1, 2], [0, 1, 2, 3, 4]], [[], [0.9, 0.8, 0.7], [0.0, -0.1, -0.2, -0.3, -0.4]])
    rows = factor_values(ten_patterns(), matches, DAY_0 + np.full(3, 400), Settings())
    assert rows.status.tolist() == ["failed"] * 3
    assert rows.reason.tolist() == [
        "too few matches: 0 of 5",
        "too few matches: 3 of 5",
        "matches without weight: none is similar, or all are too old for half_life_days",
    ]
    assert rows.matches.tolist() == [0, 3, 5]
    for name in MEASURES:
        assert np.isnan(getattr(rows, name)).all(), name


def test_effective_matches_by_hand():
    date = DAY_0 + np.array([360])
    matches = matched([range(5)], [[1.0, 0.5, 0.5, 0.0, -0.2]])
    rows = factor_values(ten_patterns(), matches, date, Settings(factor=FactorSettings(half_life_days=None)))
    # Shares of 1/2, 1/4 and 1/4.
    assert rows.weights[0].tolist() == [1.0, 0.5, 0.5, 0.0, 0.0]
    assert rows.effective_matches[0] == pytest.approx(1 / (1 / 4 + 1 / 16 + 1 / 16))
    # Weights that are too small to be squared.
    tiny = matched([range(5)], [[5e-324] * 5])
    rows = factor_values(ten_patterns(), tiny, date, Settings(factor=FactorSettings(half_life_days=None)))
    assert rows.effective_matches[0] == pytest.approx(5)


@pytest.mark.parametrize("count", range(1, 13))
def test_matches_that_weigh_the_same_are_as_many_effective_ones(count):
    factor = FactorSettings(top_k=12, min_matches=1, half_life_days=None, min_effective_matches=count)
    matches = matched([[place % 10 for place in range(count)]], [[0.3] * count], 12)
    rows = factor_values(ten_patterns(), matches, DAY_0 + np.array([400]), Settings(factor=factor))
    assert rows.status.tolist() == ["ok"]
    assert rows.effective_matches[0] == pytest.approx(count)


def test_too_few_effective_matches():
    matches = matched([range(5), range(5)], [[1.0, 0.1, 0.0, 0.0, 0.0], [0.5] * 5])
    factor = FactorSettings(half_life_days=None, min_effective_matches=2)
    rows = factor_values(ten_patterns(), matches, DAY_0 + np.array([400, 400]), Settings(factor=factor))
    assert rows.reason.tolist() == ["too few effective matches: 1.19 of 2", None]
    assert np.isnan([getattr(rows, name)[0] for name in MEASURES]).all()
    # 1.998 is not shown as 2.
    matches = matched([range(5)], [[0.5, 0.47, 0.0, 0.0, 0.0]])
    rows = factor_values(ten_patterns(), matches, DAY_0 + np.array([400]), Settings(factor=factor))
    assert rows.reason.tolist() == ["too few effective matches: 1.99 of 2"]


def test_reasons_name_the_floor_and_no_half_life_that_is_not_there():
    matches = matched([[0, 1], range(5)], [[0.9, 0.9], [0.0] * 5])
    factor = FactorSettings(half_life_days=None, min_similarity=0.875)
    rows = factor_values(ten_patterns(), matches, DAY_0 + np.array([400, 400]), Settings(factor=factor))
    assert rows.reason.tolist() == [
        "too few matches: 2 of 5 with a similarity of at least 0.875",
        "matches without weight: none is similar",
    ]


def test_no_patterns_at_all():
    rows = factor_values(Patterns.empty(3, 4), matched([[], []], [[], []]), DAY_0 + np.array([0, 1]), Settings())
    assert rows.reason.tolist() == ["too few matches: 0 of 5"] * 2
    assert np.isnan(rows.value).all()


def test_columns_fit_the_table():
    rows = factor_values(ten_patterns(), matched([range(5)], [[0.5] * 5]), DAY_0 + np.array([400]), Settings())
    columns = rows.columns()
    assert list(columns) == ["date", "value", "status", "reason", "matches", *MEASURES[1:]]
    assert all(column.shape == (1,) for column in columns.values())
    assert columns["matches"].dtype == np.int16
    assert columns["date"].dtype == np.dtype("datetime64[D]")


def test_match_columns():
    patterns = ten_patterns()
    matches = matched([[3, 1], [], [9]], [[0.75, 0.5], [], [0.25]])
    settings = Settings(factor=FactorSettings(min_matches=2))
    factors = factor_values(patterns, matches, DAY_0 + np.array([400, 401, 402]), settings)
    columns = match_columns(patterns, matches, factors, PatternSettings().horizons)
    assert columns["sample"].tolist() == [0, 0, 2]
    assert columns["date"].tolist() == (DAY_0 + np.array([400, 400, 402])).tolist()
    assert columns["rank"].tolist() == [1, 2, 1]
    assert columns["match_symbol"].tolist() == ["A", "A", "A"]
    assert columns["match_end"].tolist() == patterns.end[[3, 1, 9]].tolist()
    assert columns["similarity"].tolist() == [0.75, 0.5, 0.25]
    assert columns["weight"].tolist() == [*factors.weights[0, :2], factors.weights[2, 0]]
    assert columns["barrier"].tolist() == patterns.barrier[[3, 1, 9]].tolist()
    for place, bars in enumerate((1, 5, 10, 20)):
        assert columns[f"r{bars}"].tolist() == patterns.returns[[3, 1, 9], place].tolist()
        assert columns[f"r{bars}"].dtype == np.float32


def test_what_does_not_fit_is_refused():
    matches = matched([range(5)], [[0.5] * 5])
    with pytest.raises(ValueError, match="matches of 1 samples for 2 dates"):
        factor_values(ten_patterns(), matches, DAY_0 + np.array([400, 401]), Settings())
    with pytest.raises(DateError, match="dates is an array of int64"):
        factor_values(ten_patterns(), matches, np.array([400]), Settings())
