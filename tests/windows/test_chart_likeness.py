import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.windows.chart_likeness import edge_part, pixel_part
from kline_core.windows.chart_rows import chart_rows
from kline_core.windows.charts import render_charts
from tests import naive
from tests.support.candles import candles, columns

price = st.integers(1, 40).map(lambda cents: cents / 4)
pairs = st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(candles(price), min_size=n, max_size=n)] * 2))


def parts(one, other):
    a, b = (chart_rows(*columns([window])) for window in (one, other))
    return pixel_part(a, b)[0], edge_part(a, b)[0]


@pytest.mark.slow
@given(pairs)
def test_counts_are_those_of_the_drawn_charts(pair):
    one, other = (render_charts(*columns([window]))[0].tolist() for window in pair)
    assert parts(*pair) == (naive.equal_pixels(one, other), naive.equal_edges(one, other))
    assert parts(*pair) == parts(*pair[::-1])
    assert parts(pair[0], pair[0]) == (1.0, 1.0)


def test_a_falling_bar_in_the_place_of_a_rising_one_shares_its_edges_and_its_wick_alone():
    rising, falling = [(2.0, 16.0, 0.25, 9.0)], [(9.0, 16.0, 0.25, 2.0)]
    pixels, edges = parts(rising, falling)
    rows = chart_rows(*columns([rising]))
    body = int((rows.top - rows.bottom + 1).sum())
    assert edges == 1.0
    assert pixels == (64 - body) / (64 + 2 * body)


def test_an_edge_may_be_one_row_away_and_no_more():
    def bar(top):
        # 63 quarters of the range: one row each.
        return [(0.25, 16.0, 0.25, 0.25 + top / 4)]

    assert parts(bar(20), bar(21))[1] == 1.0
    # The upper edge of the two outer columns, of six edges in all.
    assert parts(bar(20), bar(22))[1] == pytest.approx(4 / 6)


def test_charts_are_compared_one_by_one():
    rng = np.random.default_rng(0)
    prices = np.sort(rng.uniform(1, 9, (4, 12, 20)), axis=0)[[1, 3, 0, 2]]
    rows = chart_rows(*prices)
    a, b = rows.take(np.arange(6)), rows.take(np.arange(6, 12))
    for part in (pixel_part, edge_part):
        alone = [part(a.take(np.array([at])), b.take(np.array([at])))[0] for at in range(6)]
        assert part(a, b).tolist() == alone
