from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kline_core.windows.chart_rows import HEIGHT
from kline_core.windows.prices import WindowPrices
from kline_core.windows.volume_charts import AVERAGE, PRICE_ROWS, VOLUME, render_volume_charts, volume_windows
from tests import naive
from tests.support.candles import candles, columns
from tests.support.made_markets import noise_market

price = st.integers(1, 40).map(lambda cents: cents / 4)
volume = st.one_of(st.just(np.nan), st.just(0.0), st.floats(0.01, 1e12))
bar = st.tuples(candles(price), volume, st.one_of(st.just(np.nan), price))
windows = st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(bar, min_size=n, max_size=n), min_size=1, max_size=3))


MARKET = noise_market(0, symbols=2, sessions=80)


def chart_of(end):
    shown = volume_windows(MARKET.frames, MARKET.names, np.zeros(1, np.int32), np.array([end]), 20)
    (chart,) = render_volume_charts(*shown)
    return chart


def parts(drawn):
    """Prices, volumes and averages of windows of (candle, volume, average)."""
    prices = WindowPrices(*columns([[candle for candle, _, _ in window] for window in drawn]))
    volumes, averages = (np.array([[each[at] for each in window] for window in drawn]) for at in (1, 2))
    return prices, volumes, averages


@given(windows)
def test_every_pixel_is_that_of_the_plain_loop(drawn):
    wanted = [naive.volume_chart(*(list(part) for part in zip(*window, strict=True))) for window in drawn]
    np.testing.assert_array_equal(render_volume_charts(*parts(drawn)), wanted)


@given(windows, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_no_unit_matters(drawn, of_price, of_volume):
    prices, volumes, averages = parts(drawn)
    scaled = WindowPrices(*(each * of_price for each in prices))
    found = render_volume_charts(scaled, volumes * of_volume, averages * of_price)
    np.testing.assert_array_equal(found, render_volume_charts(prices, volumes, averages))


def test_the_unit_decides_no_mark_of_prices_in_ticks():
    rng = np.random.default_rng(0)
    closes = np.round(rng.uniform(10.0, 10.05, 400), 2)
    drawn = []
    for unit in (1.0, 1.37, 0.91):
        prices = dict.fromkeys(("open", "high", "low", "close"), closes * unit)
        bars = SimpleNamespace(volume=np.ones(400), **prices)
        ends = np.arange(39, 400)
        shown = volume_windows({"S": bars}, ["S"], np.zeros(len(ends), np.int32), ends, 20)
        drawn.append(render_volume_charts(*shown))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_candles_stand_above_an_empty_row_and_volumes_beneath_it():
    chart = chart_of(60)
    between = HEIGHT - PRICE_ROWS - 1
    assert not chart[:, between].any()
    assert (chart[1::3, :between] == VOLUME).any()
    assert not chart[0::3, :between].any()
    assert (chart[:, between:] == AVERAGE).any()


def test_the_average_is_of_as_many_closes_as_the_window_has_bars():
    bars = MARKET.frames[MARKET.names[0]]
    early, late = chart_of(19), chart_of(38)
    # On the twentieth bar of the history there is the first average.
    assert not (early[:-3] == AVERAGE).any()
    closes = bars.close[:39]
    averages = [closes[at - 19 : at + 1].mean() for at in range(19, 39)]
    window = [(bars.open[at], bars.high[at], bars.low[at], bars.close[at]) for at in range(19, 39)]
    np.testing.assert_array_equal(late, naive.volume_chart(window, bars.volume[19:39].tolist(), averages))
