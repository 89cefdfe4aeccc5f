"""Prices of windows, in bars and in larger candles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.symbol_bars import SymbolBars
from kline_core.encoder.synthetic import random_walk
from kline_core.windows.prices import prices_of_windows, window_prices
from tests import naive

BARS = 60


def bars_of(prices):
    """Bars of one symbol with the prices (open, high, low, close)."""
    count = len(prices[0])
    dates = np.datetime64("2020-01-01") + np.arange(count)
    ones = np.ones(count)
    return SymbolBars("S", dates, *prices, ones, ones, np.zeros(count, np.uint64), np.zeros(count, bool))


def walk(seed):
    bars = random_walk(1, BARS, seed)
    return bars_of([price[0] for price in (bars.open, bars.high, bars.low, bars.close)])


def listed(prices):
    """Candles of each window, as `naive.candles` has them."""
    return [list(zip(*(price.tolist() for price in window), strict=True)) for window in zip(*prices, strict=True)]


@given(
    rows=st.lists(st.lists(st.floats(0.01, 1e6), min_size=4, max_size=4), min_size=1, max_size=40),
    window_bars=st.integers(1, 5),
    scale=st.integers(1, 6),
)
def test_candles_equal_the_plain_loop(rows, window_bars, scale):
    low, open_, close, high = np.sort(np.array(rows), axis=1).T
    bars = bars_of([open_, high, low, close])
    ends = np.arange(window_bars * scale - 1, len(rows))
    expected = [naive.candles(bars, end, window_bars, scale) for end in ends]
    assert listed(window_prices(bars, ends, window_bars, scale)) == expected


def test_no_candle_depends_on_another_bar():
    bars, end = walk(0), 40
    kept = window_prices(bars, np.array([end]), 4, 5)
    part = bars.part(end + 1 - 20, end + 1)
    for one, other in zip(kept, window_prices(part, np.array([19]), 4, 5), strict=True):
        assert np.array_equal(one, other)


def test_windows_of_several_symbols():
    frames = {"A": walk(1), "B": walk(2)}
    code, bar = np.array([1, 0, 1], np.int32), np.array([30, 59, 19])
    found = listed(prices_of_windows(frames, ["A", "B"], code, bar, 4, 5))
    assert found == [naive.candles(frames["AB"[which]], end, 4, 5) for which, end in zip(code, bar, strict=True)]


@pytest.mark.parametrize(("end", "scale"), [(18, 5), (BARS, 5), (2, 1), (BARS, 1)])
def test_a_window_that_leaves_the_history(end, scale):
    with pytest.raises(
        IndexError, match=f"for windows of {4 * scale} bars they must lie between {4 * scale - 1} and 59"
    ):
        window_prices(walk(0), np.array([end]), 4, scale)
