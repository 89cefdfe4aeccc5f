from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.windows.chart_rows import HEIGHT
from kline_core.windows.charts import FALLING, RISING, WICK, render_charts, to_picture
from tests import naive
from tests.support.candles import candles, charts_of_windows, columns

ordinary = st.integers(1, 40).map(lambda cents: cents / 4)
extreme = st.floats(min_value=1e-300, max_value=1e300)


def windows_of(price, bars=(1, 6)):
    return st.integers(*bars).flatmap(
        lambda n: st.lists(st.lists(candles(price), min_size=n, max_size=n), min_size=1, max_size=4)
    )


@pytest.mark.slow
@given(st.one_of(windows_of(ordinary), windows_of(extreme)))
def test_every_pixel_is_that_of_the_plain_loop(windows):
    np.testing.assert_array_equal(render_charts(*columns(windows)), [naive.chart(window) for window in windows])


@pytest.mark.slow
@given(windows_of(ordinary), st.integers(-40, 40))
def test_the_unit_of_price_does_not_matter(windows, power):
    prices = columns(windows)
    np.testing.assert_array_equal(render_charts(*(prices * 2.0**power)), render_charts(*prices))


def test_every_window_is_drawn_by_itself():
    rng = np.random.default_rng(0)
    prices = np.sort(rng.uniform(1, 9, (4, 30, 20)), axis=0)[[1, 3, 0, 2]]
    together = render_charts(*prices)
    for at in range(30):
        np.testing.assert_array_equal(render_charts(*prices[:, at : at + 1])[0], together[at])


def test_a_flat_window_is_a_line_at_half_height():
    chart = render_charts(*np.full((4, 1, 20), 7.3))[0]
    assert chart.shape == (60, HEIGHT)
    assert (chart[:, 32] == RISING).all()
    assert np.count_nonzero(chart) == 60


def test_rising_falling_and_doji_bars():
    # Rows are 63 quarters of the range 0.25 to 16: a price of 0.25 lies in row 0, one of 16 in row 63.
    rising, falling, doji = (2.25, 4.25, 1.25, 3.25), (3.25, 4.25, 1.25, 2.25), (2.25, 4.25, 1.25, 2.25)
    frame = (0.25, 16.0, 0.25, 16.0)
    chart = render_charts(*columns([[frame, rising, falling, doji]]))[0]
    for bar, body, top in ((1, RISING, 12), (2, FALLING, 12), (3, RISING, 8)):
        edge, middle, other = chart[3 * bar : 3 * bar + 3]
        np.testing.assert_array_equal(np.flatnonzero(edge), np.arange(8, top + 1))
        assert (edge[8 : top + 1] == body).all()
        np.testing.assert_array_equal(edge, other)
        np.testing.assert_array_equal(np.flatnonzero(middle), np.arange(4, 17))
        assert (middle[8 : top + 1] == body).all()
        assert (np.delete(middle[4:17], np.arange(4, top - 3)) == WICK).all()


def test_windows_of_a_symbol_are_named_by_their_last_bar():
    rng = np.random.default_rng(1)
    low, open_, close, high = np.sort(rng.uniform(1, 9, (4, 50)), axis=0)
    bars = SimpleNamespace(open=open_, high=high, low=low, close=close)
    charts = charts_of_windows(bars, np.array([49, 19, 30]))
    assert charts.shape == (3, 60, 64)
    assert charts.dtype == np.uint8
    for chart, end in zip(charts, (49, 19, 30), strict=True):
        window = [(open_[i], high[i], low[i], close[i]) for i in range(end - 19, end + 1)]
        np.testing.assert_array_equal(chart, naive.chart(window))
    assert charts_of_windows(bars, np.zeros(0, np.int64)).shape == (0, 60, 64)


@pytest.mark.parametrize("end", [3, 50, -1])
def test_a_window_that_leaves_the_history_is_refused(end):
    bars = SimpleNamespace(**dict.fromkeys(("open", "high", "low", "close"), np.arange(1.0, 51.0)))
    with pytest.raises(IndexError):
        charts_of_windows(bars, np.array([end]), 5)


def test_threads_draw_the_same():
    rng = np.random.default_rng(2)
    prices = np.sort(rng.uniform(1, 9, (4, 400, 20)), axis=0)[[1, 3, 0, 2]]
    expected = render_charts(*prices)
    with ThreadPoolExecutor(4) as pool:
        for charts in pool.map(lambda _: render_charts(*prices), range(16)):
            np.testing.assert_array_equal(charts, expected)


def test_the_picture_is_upright_and_shows_exactly_the_pixels():
    rng = np.random.default_rng(3)
    chart = rng.integers(0, 256, (60, HEIGHT), dtype=np.uint8)
    picture = to_picture(chart, enlarge=3)
    assert (picture.mode, picture.size) == ("L", (180, 192))
    shown = np.asarray(picture)
    for x in range(60):
        for y in range(HEIGHT):
            # Row 0 of a picture is its upper edge, row 0 of a chart the lowest price.
            top = 3 * (HEIGHT - 1 - y)
            assert (shown[top : top + 3, 3 * x : 3 * x + 3] == chart[x, y]).all()
