"""Context figures against plain loops, by hand, and against what must not move them."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.encoder.synthetic import synthetic_market
from kline_core.windows.indicators import Trend, VolumeFigures, bar_returns, market_returns
from tests import naive
from tests.support.examples import examples

FIGURES = ("volume_ratio", "obv_slope", "cmf", "mfi")


def market(seed, symbols=3, bars=90):
    """Bars with volumes, two splits, flat days, equal closes and a suspended day."""
    rng = np.random.default_rng(seed)
    frame = synthetic_market(symbols, bars, seed).to_frame("2020-01-06", "S").assign(amount=1.0, suspended=False)
    frame["adj_factor"] = np.repeat([1.0, 2.0, 2.06], [30, 30, bars - 60]).tolist() * symbols
    prices = ["open", "high", "low", "close"]
    frame[prices] = frame[prices].div(frame["adj_factor"], axis=0)
    frame["volume"] = rng.integers(0, 1000, len(frame)) * frame["adj_factor"]
    flat = rng.random(len(frame)) < 0.1
    frame.loc[flat, prices] = frame.loc[flat, ["close"] * 4].to_numpy()
    same = np.flatnonzero(rng.random(len(frame)) < 0.1)
    same = same[same % bars > 0]
    frame.loc[same, prices] = frame.loc[same - 1, prices].to_numpy()
    frame.loc[rng.random(len(frame)) < 0.02, "suspended"] = True
    return frame.drop(index=rng.choice(len(frame), 5, replace=False))


def some_ends(bars):
    """Some bars, and those at which there are just enough before."""
    return sorted({0, 13, 14, 15, 18, 19, 20, 21, 59, 60, 61, *range(0, len(bars), 7)})


def all_of(bars, ends=None):
    ends = np.arange(len(bars)) if ends is None else np.array(ends)
    return Trend.of(bar_returns(bars), ends), VolumeFigures.of(bars, ends)


def assert_same(found, wanted):
    wanted = np.array([np.nan if value is None else value for value in wanted])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-9)


@pytest.mark.slow
@given(st.integers(0, 10_000))
@settings(max_examples=examples(15))
def test_equal_the_plain_loops(seed):
    frame = market(seed)
    for bars in bars_by_symbol(frame).values():
        ends = some_ends(bars)
        trend, figures = all_of(bars, ends)
        rows = list(zip(bars.open, bars.high, bars.low, bars.close, bars.volume, bars.adj_factor, strict=True))
        wanted = [naive.trend([row[3] for row in rows[: end + 1]]) for end in ends]
        assert_same(trend.trailing_return, [each[0] for each in wanted])
        assert_same(trend.volatility, [each[1] for each in wanted])
        assert trend.regime.tolist() == [each[2] for each in wanted]
        for name in FIGURES:
            assert_same(getattr(figures, name), [getattr(naive, name)(rows[: end + 1]) for end in ends])


@pytest.mark.slow
@given(st.integers(0, 10_000))
@settings(max_examples=examples(15))
def test_the_market_is_the_mean_of_the_symbols_that_trade(seed):
    frame = market(seed)
    days, returns = market_returns(bars_by_symbol(frame))
    wanted = naive.market_returns(naive.traded_bars(frame))
    assert [day.item() for day in days] == sorted(wanted)
    assert returns == pytest.approx([wanted[day] for day in sorted(wanted)], abs=2e-8)


@pytest.mark.slow
@given(st.integers(0, 1000), st.integers(0, 89))
@settings(max_examples=examples(20))
def test_later_bars_change_nothing(seed, day):
    frame = market(seed, symbols=2)
    last = np.sort(frame["date"].unique())[min(day, frame["date"].nunique() - 1)]
    other, later = frame.copy(), frame["date"] > last
    for name in ("open", "high", "low", "close"):
        other.loc[later, name] = 7.0
    other.loc[later, "volume"] = 1.0
    before, after = bars_by_symbol(frame), bars_by_symbol(other)
    for symbol, bars in before.items():
        ends = np.flatnonzero(bars.dates <= np.datetime64(last, "D"))
        for kind, arguments in (
            (Trend, [(bar_returns(each[symbol]), ends) for each in (before, after)]),
            (VolumeFigures, [(each[symbol], ends) for each in (before, after)]),
        ):
            one, two = (kind.of(*each) for each in arguments)
            for name in kind.__slots__:
                assert [*map(repr, getattr(one, name).tolist())] == [*map(repr, getattr(two, name).tolist())]
    (days, returns), (other_days, other_returns) = market_returns(before), market_returns(after)
    known = days <= np.datetime64(last, "D")
    assert returns[known].tolist() == other_returns[other_days <= np.datetime64(last, "D")].tolist()


@pytest.mark.slow
@given(st.integers(0, 1000), st.sampled_from([0.01, 1000.0, 0.3, 1 / 7]))
@settings(max_examples=examples(20))
def test_the_scale_of_prices_or_factors_changes_nothing(seed, by):
    frame = market(seed)
    before = bars_by_symbol(frame)
    for columns in (["open", "high", "low", "close"], ["adj_factor"]):
        other = frame.assign(**{name: frame[name] * by for name in columns})
        after = bars_by_symbol(other)
        for symbol in before:
            for one, two in zip(all_of(before[symbol]), all_of(after[symbol]), strict=True):
                for name in type(one).__slots__:
                    # The last of nine decimals may round the other way, once in many millions.
                    if name == "regime":
                        assert one.regime.tolist() == two.regime.tolist()
                    else:
                        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=0, atol=1.1e-9)
        assert market_returns(before)[1].tolist() == market_returns(after)[1].tolist()


def test_a_split_makes_no_jump():
    """The same trade before and after each share became four."""
    frame = synthetic_market(1, 60, 3).to_frame("2020-01-06", "S").assign(amount=1.0, suspended=False, adj_factor=1.0)
    frame["volume"] = np.random.default_rng(1).integers(1, 1000, 60).astype(float)
    split = frame.copy()
    split.loc[40:, ["open", "high", "low", "close"]] /= 4
    split.loc[40:, ["volume", "adj_factor"]] *= 4
    one, two = (VolumeFigures.of(bars_by_symbol(each)["S00000"], np.arange(60)) for each in (frame, split))
    for name in FIGURES:
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=0, atol=1.1e-9)
    assert np.isfinite(two.mfi[45])


def bars_of(close, volume, high=None, low=None, symbol="A", start="2020-01-06"):
    close = np.asarray(close, dtype=float)
    frame = pd.DataFrame(
        {
            "symbol": symbol,
            "date": pd.bdate_range(start, periods=len(close)),
            "open": close,
            "high": close if high is None else high,
            "low": close if low is None else low,
            "close": close,
            "volume": volume,
            "adj_factor": 1.0,
            "suspended": False,
        }
    )
    return bars_by_symbol(frame)[symbol]


def test_by_hand():
    rising = bars_of(np.arange(100.0, 121.0), np.full(21, 50.0))
    figures = VolumeFigures.of(rising, np.array([19, 20]))
    assert figures.volume_ratio.tolist()[1] == 1.0
    assert np.isnan(figures.volume_ratio[0])
    assert figures.obv_slope.tolist() == [1.0, 1.0]
    assert figures.mfi.tolist() == [100.0, 100.0]
    # Bars without a span say nothing about where they closed.
    assert figures.cmf.tolist() == [0.0, 0.0]
    close = np.arange(120.0, 99.0, -1.0)
    falling = bars_of(close, np.r_[np.full(20, 50.0), 150.0], high=close + 3.0, low=close - 1.0)
    figures = VolumeFigures.of(falling, np.array([20]))
    assert figures.volume_ratio.tolist() == [3.0]
    assert figures.mfi.tolist() == [0.0]
    # ((close - low) - (high - close)) / (high - low) = (1 - 3) / 4
    assert figures.cmf.tolist() == [-0.5]


def test_regimes_by_hand():
    ends = np.array([60])
    for returns, regime in (
        (np.full(61, 0.01), "bull"),
        (np.full(61, -0.01), "bear"),
        (np.zeros(61), "ranging"),
        (np.tile([0.02, -0.0196], 31)[:61], "ranging"),
    ):
        trend = Trend.of(returns, ends)
        assert trend.regime.tolist() == [regime]
    assert Trend.of(np.full(61, 0.01), ends).trailing_return[0] == pytest.approx(1.01**60 - 1)
    # Sixty returns with a mean of about its own standard error; `math.fsum` of the definition decides.
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        returns = rng.normal(0.002, 0.02, 61)
        logs = [math.log1p(value) for value in returns[1:]]
        mean = math.fsum(logs) / 60
        error = math.sqrt(math.fsum((value - mean) ** 2 for value in logs) / 59) / math.sqrt(60)
        wanted = "bull" if mean > error else "bear" if mean < -error else "ranging"
        assert Trend.of(returns, ends).regime.tolist() == [wanted]
        seen.add(wanted)
    assert seen == {"bull", "bear", "ranging"}


def test_nothing_is_made_up():
    bars = bars_of(np.arange(100.0, 200.0), np.full(100, 50.0))
    unknown = bars.volume.copy()
    unknown[50] = np.nan
    none = bars_of(bars.close, unknown)
    figures = VolumeFigures.of(none, np.array([-1, 49, 50, 63, 64, 69, 70, 71]))
    assert np.isnan(figures.mfi).tolist() == [True, False, True, True, False, False, False, False]
    assert np.isnan(figures.cmf).tolist() == [True, False, True, True, True, True, False, False]
    assert np.isnan(figures.obv_slope).tolist() == [True, False, True, True, True, True, False, False]
    assert np.isnan(figures.volume_ratio).tolist() == [True, False, True, True, True, True, True, False]
    silent = VolumeFigures.of(bars_of(bars.close, np.zeros(100)), np.array([80]))
    assert all(np.isnan(getattr(silent, name)).all() for name in FIGURES)
    short = Trend.of(bar_returns(bars), np.array([-1, 59, 60]))
    assert short.regime.tolist() == [None, None, "bull"]
    assert np.isnan(short.volatility).tolist() == [True, True, False]
    constant = VolumeFigures.of(bars_of(np.full(30, 5.0), np.full(30, 1.0)), np.array([29]))
    assert (constant.obv_slope[0], constant.cmf[0]) == (0.0, 0.0)
    assert np.isnan(constant.mfi[0])


def test_an_unexplained_jump_leaves_no_figure_across_it():
    close = np.r_[np.full(100, 10.0), np.full(100, 30.0)] * (1 + 0.001 * np.arange(200))
    bars = bars_of(close, np.full(200, 5.0), symbol="600519.SH")
    assert np.flatnonzero(bars.jumps).tolist() == [100]
    trend, figures = all_of(bars)
    for column, first, last in (
        (trend.trailing_return, 100, 159),
        (figures.volume_ratio, 100, 119),
        (figures.obv_slope, 100, 118),
        (figures.cmf, 100, 118),
        (figures.mfi, 100, 113),
    ):
        missing = np.flatnonzero(np.isnan(column))
        assert missing[missing > 60].tolist() == list(range(first, last + 1))
    days, _ = market_returns({"600519.SH": bars})
    assert bars.dates[100] not in days


def test_a_return_across_months_is_none_of_the_market():
    long_ago = bars_of([1.0, 2.0], [1.0, 1.0], start="2019-01-01")
    frame = pd.DataFrame(
        {
            "symbol": "A",
            "date": pd.to_datetime(["2019-01-01", "2019-01-02", "2019-06-03", "2019-06-04"]),
            "volume": 1.0,
            "adj_factor": 1.0,
            "suspended": False,
        }
        | {name: [1.0, 2.0, 50.0, 55.0] for name in ("open", "high", "low", "close")}
    )
    days, returns = market_returns({"A": bars_by_symbol(frame)["A"], "B": long_ago})
    assert [str(day) for day in days] == ["2019-01-02", "2019-06-04"]
    assert returns == pytest.approx([1.0, 0.1])
    assert market_returns({})[0].tolist() == []
