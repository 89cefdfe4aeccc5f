"""Values joined with what followed them, equal to a plain loop."""

import numpy as np
import pyarrow as pa
import pytest

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.evaluation.forward_returns import forward_returns
from kline_core.evaluation.information_coefficient import time_series_rank_ic
from kline_core.settings import Settings
from tests.support.homes import market


def test_equal_to_a_loop():
    frame = market(2, 80, seed=1)
    bars = bars_by_symbol(frame)["S00001"]
    rng = np.random.default_rng(0)
    at = np.sort(rng.choice(80, 40, replace=False))
    values = rng.random(40)
    values[3] = np.nan
    order = rng.permutation(40)
    holiday = {"symbol": ["S00001"], "date": np.array(["2020-01-11"], "datetime64[D]"), "value": [0.5]}
    mine = {"symbol": ["S00001"] * 40, "date": bars.dates[at][order], "value": values[order]}
    table = pa.concat_tables([pa.table(part) for part in (mine, holiday)])

    joined = forward_returns(table, bars, Settings())
    assert joined.dates.tolist() == bars.dates[at].tolist()
    assert joined.bars.tolist() == at.tolist()
    np.testing.assert_array_equal(joined.values, values)
    for bar, value in zip(at, joined.returns, strict=True):
        if bar + 6 < 80:
            assert value == pytest.approx(bars.close[bar + 6] / bars.close[bar + 1] - 1, rel=1e-5)
        else:
            assert np.isnan(value)
    for column, horizon in enumerate((1, 5, 10, 20)):
        for bar, value in zip(at, joined.forward[:, column], strict=True):
            known = bar + 1 + horizon < 80
            expected = bars.close[bar + 1 + horizon] / bars.close[bar + 1] - 1 if known else np.nan
            assert value == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert joined.rank_ic() == time_series_rank_ic(at, values, joined.returns, 6)
    assert joined.without_bar == 1


def test_rows_of_another_symbol_are_refused():
    frame = market(2, 30)
    bars = bars_by_symbol(frame)["S00001"]
    rows = pa.table({"symbol": ["S00001", "S00000"], "date": bars.dates[:2], "value": [0.5, 0.5]})
    with pytest.raises(ValueError, match="rows of S00000 among those of S00001"):
        forward_returns(rows, bars, Settings())


def test_nothing_stored():
    bars = bars_by_symbol(market(1, 30))["S00000"]
    empty = pa.table(
        {"symbol": pa.array([], pa.string()), "date": pa.array([], pa.date32()), "value": pa.array([], pa.float64())}
    )
    joined = forward_returns(empty, bars, Settings())
    assert len(joined.dates) == 0
    assert np.isnan(joined.rank_ic().value)
