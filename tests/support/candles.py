"""Windows of bars as hypothesis draws them, and the columns that are drawn from them."""

import numpy as np
from hypothesis import strategies as st

from kline_core.windows.charts import render_charts
from kline_core.windows.prices import window_prices


@st.composite
def candles(draw, price):
    low, one, other, high = sorted(draw(st.tuples(price, price, price, price)))
    return (one, high, low, other) if draw(st.booleans()) else (other, high, low, one)


def columns(windows):
    return np.moveaxis(np.array(windows, dtype=np.float64), 2, 0)


def charts_of_windows(bars, ends, window_bars=20):
    """Charts of the windows of one symbol that end at the bar positions `ends`."""
    return render_charts(*window_prices(bars, ends, window_bars))
