"""A folder of Qlib with values and bars: read again by this project's own reader, byte by byte, and written again."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import kline_core as kl
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.errors import InputError
from kline_core.factor.qlib_folder import qlib_name, write_qlib
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.homes import make_home, market

SYMBOLS = ["600519.SH", "AAPL", "BRK.B", "CON", "NaN", "RDS/A", "^GSPC", "nan"]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    bars = market(len(SYMBOLS), 12)
    bars["symbol"] = np.repeat(SYMBOLS, 12)
    # A split, a day that is suspended, and one that comes later than those of others.
    bars.loc[bars.index[6:12], "adj_factor"] = 2.0
    bars.loc[bars.index[3], ["suspended", "volume"]] = [True, 0.0]
    bars = bars.drop(bars.index[12:14])
    home = make_home(tmp_path_factory.mktemp("qlib") / "home", bars)
    days = sorted(set(bars["date"]))
    rows = [
        {"fingerprint": "f", "run_id": "r", "symbol": symbol, "date": pd.Timestamp(days[at]).date(), "value": value}
        | {"status": "ok" if value is not None else "failed", "matches": 5, "history": 1}
        for symbol in SYMBOLS
        for at, value in ((4, 0.25), (7, None), (11, 0.1 + 0.2))
    ]
    home.append("factors", pa.Table.from_pylist(rows, table_schema("factors")))
    return home


def feature(folder, name):
    numbers = np.fromfile(folder / f"{name}.day.bin", dtype="<f4")
    return int(numbers[0]), numbers[1:]


@pytest.mark.slow
def test_what_qlib_reads_is_what_is_stored(home, tmp_path):
    folder = tmp_path / "qlib"
    report = write_qlib(home, folder)
    assert (report.rows, report.instruments, report.days) == (18, 6, 12)
    assert report.left_out == [
        "RDS/A: its name cannot be that of a folder",
        "nan: Qlib, which ignores letter case, takes it for NaN",
    ]
    days = (folder / "calendars" / "day.txt").read_text().splitlines()
    lines = (folder / "instruments" / "all.txt").read_text().splitlines()
    assert lines[0] == f"SH600519\t{days[0]}\t{days[-1]}"
    assert [line.split("\t")[0] for line in lines] == ["SH600519", "AAPL", "BRK.B", "CON", "NaN", "^GSPC"]
    names = {"600519.SH": "sh600519", "AAPL": "aapl", "BRK.B": "brk.b", "CON": "_qlib_con", "^GSPC": "^gspc"}
    frames = bars_by_symbol(home.read("bars"))
    for symbol, name in names.items():
        place, bars = folder / "features" / name, frames[symbol]
        for column in ("open", "high", "low", "close"):
            first, numbers = feature(place, column)
            there = ~np.isnan(numbers)
            assert [days[first + at] for at in np.flatnonzero(there)] == bars.dates.astype(str).tolist()
            np.testing.assert_array_equal(numbers[there], getattr(bars, column).astype(np.float32))
        first, values = feature(place, "kline_factor")
        found = {days[first + at]: values[at] for at in np.flatnonzero(~np.isnan(values))}
        assert found == {days[4]: np.float32(0.25), days[11]: np.float32(0.3)}
    assert feature(folder / "features" / "aapl", "close")[0] == 2


@pytest.mark.slow
def test_the_projects_own_reader_takes_it(home, tmp_path):
    write_qlib(home, tmp_path / "qlib")
    back = kl.Home(tmp_path / "back", create=True)
    report = kl.ingest(back, tmp_path / "qlib")
    assert (report.rejected, report.errors) == (0, [])
    ours, theirs = bars_by_symbol(home.read("bars")), bars_by_symbol(back.read("bars"))
    assert set(theirs) == set(SYMBOLS) - {"RDS/A", "nan"}
    for symbol, bars in theirs.items():
        assert bars.dates.tolist() == ours[symbol].dates.tolist()
        np.testing.assert_allclose(bars.close, ours[symbol].close, rtol=1e-6)
        np.testing.assert_allclose(bars.volume, ours[symbol].volume, rtol=1e-6)


@pytest.mark.slow
def test_an_earlier_export_is_replaced_and_nothing_else(home, tmp_path):
    folder = tmp_path / "qlib"
    write_qlib(home, folder)
    (folder / "features" / "left over").mkdir()
    write_qlib(home, folder)
    assert not (folder / "features" / "left over").exists()
    assert [place.name for place in tmp_path.iterdir()] == ["qlib"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for place in (mine, mine / "notes.txt"):
        with pytest.raises(InputError, match="holds other things than an earlier export"):
            write_qlib(home, place)
    assert (mine / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="there is no folder"):
        write_qlib(home, tmp_path / "nowhere" / "qlib")


@pytest.mark.slow
def test_values_of_days_without_a_bar_are_counted(tmp_path):
    home = make_home(tmp_path / "home", market(1, 5))
    row = {
        "fingerprint": "f",
        "run_id": "r",
        "symbol": "S00000",
        "date": pd.Timestamp("2019-01-02").date(),
        "value": 1.0,
    }
    row |= {"status": "ok", "matches": 5, "history": 1}
    gone = row | {"symbol": "GONE"}
    home.append("factors", pa.Table.from_pylist([row, gone], table_schema("factors")))
    report = write_qlib(home, tmp_path / "qlib")
    assert report.rows == 0
    assert report.left_out == [
        "GONE: the home has no bars of it any more",
        "S00000: 1 values of days that have no bar any more",
    ]


def test_names():
    found = [qlib_name(symbol) for symbol in ("600519.SH", "000001.SZ", "0700.HK", "sh600519", "BRK.B", "AAPL")]
    assert found == ["SH600519", "SZ000001", "0700.HK", "SH600519", "BRK.B", "AAPL"]
