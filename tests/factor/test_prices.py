"""Prices of entries: from one row to the next they move as the forward returns of the evaluation do."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import kline_core as kl
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.errors import HomeError
from kline_core.factor.prices import entry_prices, read_entry_prices, recorded_steps
from kline_core.settings import PatternSettings
from kline_core.windows.outcomes import outcomes
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import SMALL, make_home, market
from tests.support.jumps import AT, NAME, bars_with_jump
from tests.support.values import FINGERPRINT, store, value_rows

STEPS = PatternSettings()


def test_no_return_over_a_horizon_reaches_across_a_jump():
    bars = bars_by_symbol(bars_with_jump())
    prices = entry_prices(bars, STEPS)[NAME].to_numpy()
    for horizon in STEPS.horizons:
        known = ~np.isnan(prices[horizon:] / prices[:-horizon])
        for row in np.flatnonzero(known):
            assert not row + 1 < AT <= row + 1 + horizon
    # Only rows on which no window ends, or whose entry is the bar of the jump, are without a price.
    assert np.flatnonzero(np.isnan(prices[:-1])).tolist() == [*range(AT - 1, AT - 1 + STEPS.horizons[-1])]
    allowed = entry_prices(bars, replace(STEPS, allow_jumps=True))[NAME].to_numpy()
    assert not np.isnan(allowed[:-1]).any()


def test_a_row_holds_the_close_of_the_entry():
    frame = market(2, 6)
    frame = frame.drop(frame.index[2])
    frame.loc[frame.index[4:5], "adj_factor"] = 3.0
    bars = bars_by_symbol(frame)
    prices = entry_prices(bars, STEPS)
    assert (prices.index.name, prices.columns.name, list(prices.columns)) == ("date", "asset", ["S00000", "S00001"])
    assert prices.index.is_monotonic_increasing
    assert len(prices) == 6
    for symbol, each in bars.items():
        found = prices[symbol].dropna()
        assert found.index.to_numpy().astype("datetime64[D]").tolist() == each.dates[:-1].tolist()
        assert found.tolist() == each.close[1:].tolist()


@pytest.mark.parametrize("lag", [1, 2])
def test_changes_are_the_forward_returns_of_the_evaluation(lag):
    frame = market(1, 40)
    frame.loc[frame.index[20:], "adj_factor"] = 1.5
    (bars,) = bars_by_symbol(frame).values()
    steps = kl.PatternSettings(window_bars=5, horizons=(1, 3), barrier_bars=4, entry_lag_bars=lag)
    ends = np.arange(len(bars))
    followed = outcomes(bars.dates, bars.open, bars.high, bars.low, bars.close, ends, steps).returns
    prices = entry_prices({bars.symbol: bars}, replace(STEPS, entry_lag_bars=lag))[bars.symbol].to_numpy()
    for at, horizon in enumerate(steps.horizons):
        changes = prices[horizon:] / prices[:-horizon] - 1
        # Forward returns are rounded to a multiple of 2**-26.
        np.testing.assert_allclose(changes, followed[:-horizon, at], atol=2**-26)


def test_what_came_after_moves_no_earlier_price():
    frame = market(1, 12)
    later = frame.copy()
    later.loc[later.index[8:], ["open", "high", "low", "close"]] *= 0.5
    later.loc[later.index[8:], "adj_factor"] = 2.0
    before, after = (entry_prices(bars_by_symbol(each), STEPS).to_numpy() for each in (frame, later))
    np.testing.assert_array_equal(before[:7], after[:7])


def test_a_symbol_with_fewer_bars_than_the_lag_has_no_price():
    prices = entry_prices(bars_by_symbol(market(1, 2)), replace(STEPS, entry_lag_bars=3))
    assert prices.isna().to_numpy().tolist() == [[True], [True]]


def test_no_symbols(tmp_path):
    assert read_entry_prices(make_home(tmp_path / "home", market(1, 3)), [], STEPS).empty


@pytest.mark.slow
def test_the_lag_is_that_of_the_values(tmp_path, small_weights):
    bench = Bench.of(tmp_path / "home", market(2, 60), weights=small_weights)
    result = kl.compute_factor(
        bench.home,
        samples=5,
        settings=SMALL_SETTINGS,
        encoder=small_weights,
        device="cpu",
        threads=1,
        max_failed_share=1,
    )
    assert recorded_steps(bench.home, result.fingerprint).entry_lag_bars == SMALL.entry_lag_bars == 1
    pd.testing.assert_frame_equal(kl.read_factor(bench.home).prices, result.prices)
    assert list(result.prices.columns) == sorted(set(result.frame["symbol"]))
    # `maintain` removes the records of old runs; the patterns have the same settings.
    for record in (tmp_path / "home" / "runs").iterdir():
        record.unlink()
    assert recorded_steps(bench.home, result.fingerprint).entry_lag_bars == 1


def test_nothing_tells_the_lag(tmp_path):
    home = make_home(tmp_path / "home", market(1, 5))
    store(home, value_rows("S00000", ["2020-01-06"], [0.5]))
    with pytest.raises(HomeError, match="which say from which bar its returns count"):
        recorded_steps(home, FINGERPRINT)
