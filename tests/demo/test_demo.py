"""The demo's bars, and what it says of a run; the demo as a whole is tested with the flows."""

import sys

import numpy as np
import pytest

from kline_core.bars.ingest import ingest
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.demo.demo import FOLDER, LAST_DAY, write_bars
from kline_core.demo.stocks import SYMBOLS, load_us_stocks
from kline_core.errors import HomeError, InputError
from kline_core.store.home import Home


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    home, folder = write_bars(tmp_path_factory.mktemp("demo") / "home")
    report = ingest([folder], home)
    assert report.read == report.stored_new == 12_154
    return bars_by_symbol(home.read("bars"))


@pytest.mark.slow
def test_all_symbols_end_on_the_same_day(frames):
    assert tuple(frames) == SYMBOLS
    assert {str(bars.dates[-1]) for bars in frames.values()} == {LAST_DAY}


@pytest.mark.parametrize(("symbol", "day"), [("AAPL", "2000-06-21"), ("AAPL", "2005-02-28"), ("MSFT", "2003-02-18")])
def test_splits_leave_no_jump(frames, symbol, day):
    bars = frames[symbol]
    at = int(np.searchsorted(bars.dates, np.datetime64(day)))
    assert bars.dates[at] == np.datetime64(day)
    stocks = load_us_stocks()
    raw = stocks.loc[stocks["symbol"] == symbol, "close"].to_numpy()
    assert raw[at] / raw[at - 1] < 0.6
    assert abs(bars.close[at] / bars.close[at - 1] - 1) < 0.1
    assert abs(bars.open[at] / bars.close[at - 1] - 1) < 0.1


def test_the_fall_that_was_none_of_them_stays(frames):
    bars = frames["AAPL"]
    at = int(np.searchsorted(bars.dates, np.datetime64("2000-09-29")))
    assert bars.close[at] / bars.close[at - 1] - 1 == pytest.approx(-0.519, abs=0.001)


def test_factors_move_on_few_days_only():
    ex_days = {"AAPL": 5, "FB": 0, "GOOG": 0, "IBM": 52, "MSFT": 38}
    for symbol, frame in load_us_stocks().groupby("symbol"):
        factor = frame["adj_factor"].to_numpy()
        step = np.abs(np.diff(np.log(factor)))
        assert factor[0] == 1.0
        assert int((step > 1e-12).sum()) == ex_days[symbol]


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh_sampledata", None)
    with pytest.raises(InputError, match=r"pip install 'kline-factor\[demo\]'"):
        write_bars(tmp_path / "home")
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_home_of_other_bars_is_refused(tmp_path):
    (tmp_path / "bars").mkdir()
    path = tmp_path / "bars" / "OWN.csv"
    path.write_text("date,open,high,low,close,volume\n2020-01-02,1,1,1,1,5\n")
    home = Home(tmp_path / "home", create=True)
    ingest([path], home)
    with pytest.raises(HomeError, match="home of other bars"):
        write_bars(tmp_path / "home")
    assert home.read("bars").num_rows == 1
    assert not (tmp_path / "home" / FOLDER).exists()
