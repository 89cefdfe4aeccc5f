"""Windows of bars as hypothesis draws them, and the columns that are drawn from them."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def candles(draw, price):
    low, one, other, high = sorted(draw(st.tuples(price, price, price, price)))
    return (one, high, low, other) if draw(st.booleans()) else (other, high, low, one)


def columns(windows):
    return np.moveaxis(np.array(windows, dtype=np.float64), 2, 0)
