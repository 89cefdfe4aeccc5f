"""The demo on its real bars, with fewer samples than it takes by default."""

import json
import sys

import numpy as np
import pytest

from kline_core.bars import frame_cache
from kline_core.cli import main
from kline_core.demo import FOLDER, SYMBOLS, _read_stocks, demo
from kline_core.errors import HomeError, InputError, SettingError
from kline_core.ingest import ingest
from kline_core.tables import Home

SAMPLES = 40


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def first(place):
    return demo(place, threads=2, samples=SAMPLES)


@pytest.fixture(scope="module")
def frames(first):
    return frame_cache(Home(first.home).read("bars"))


def test_every_bar_and_sample_is_accounted_for(first):
    assert first.ingested.read == first.ingested.stored_new == 12_154
    assert first.patterns.added == first.patterns.total > 11_000
    assert tuple(line.result.symbol for line in first.symbols) == SYMBOLS
    for line in first.symbols:
        result = line.result
        assert result.samples == SAMPLES == result.done + result.failed
        assert str(line.latest) == "2013-03-01"
        assert 0 <= line.value <= 1
        assert abs(line.ic.value) < 4 * line.ic.se
    assert set(first.seconds) == {"bars", "patterns", "load", "run", "evaluate", "picture", "total"}
    assert first.picture.read_bytes().startswith(b"\x89PNG")


def test_what_it_says(first):
    text = first.text()
    for symbol in SYMBOLS:
        assert f"\n{symbol} " in text
    assert str(first.picture) in text
    assert f"kline --home {first.home} match AAPL" in text
    document = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert [line["symbol"] for line in document["symbols"]] == list(SYMBOLS)


def test_a_second_time_everything_is_used_again(first, place):
    again = demo(place, threads=1, samples=SAMPLES)
    assert (again.ingested.stored_new, again.ingested.unchanged, again.ingested.updated) == (0, 12_154, 0)
    assert (again.patterns.added, again.patterns.total) == (0, first.patterns.total)
    assert again.run.count("done") == 0
    assert [line.value for line in again.symbols] == [line.value for line in first.symbols]
    assert [line.ic for line in again.symbols] == [line.ic for line in first.symbols]
    assert again.picture.read_bytes() == first.picture.read_bytes()
    home = Home(place)
    assert home.read("factors").num_rows == SAMPLES * len(SYMBOLS)
    pairs = home.read("matches", ["symbol", "date", "rank"]).to_pandas()
    assert not pairs.duplicated().any()


def test_commands_that_it_names_work(first, capsys):
    command = next(line for line in first.commands if " match " in line)
    words = command.split()[1 : command.split().index("--png")]
    assert main(words) == 0
    assert "AAPL 2008-10-10: value" in capsys.readouterr().out


@pytest.mark.parametrize(("symbol", "day"), [("AAPL", "2000-06-21"), ("AAPL", "2005-02-28"), ("MSFT", "2003-02-18")])
def test_splits_leave_no_jump(frames, symbol, day):
    bars = frames[symbol]
    at = int(np.searchsorted(bars.dates, np.datetime64(day)))
    assert bars.dates[at] == np.datetime64(day)
    raw = _read_stocks()[symbol]["close"].to_numpy()
    assert raw[at] / raw[at - 1] < 0.6
    assert abs(bars.close[at] / bars.close[at - 1] - 1) < 0.1
    assert abs(bars.open[at] / bars.close[at - 1] - 1) < 0.1


def test_the_fall_that_was_none_of_them_stays(frames):
    bars = frames["AAPL"]
    at = int(np.searchsorted(bars.dates, np.datetime64("2000-09-29")))
    assert bars.close[at] / bars.close[at - 1] - 1 == pytest.approx(-0.519, abs=0.001)


def test_factors_move_on_few_days_only():
    ex_days = {"AAPL": 5, "FB": 0, "GOOG": 0, "IBM": 52, "MSFT": 38}
    for symbol, frame in _read_stocks().items():
        factor = frame["adj_factor"].to_numpy()
        step = np.abs(np.diff(np.log(factor)))
        assert factor[0] == 1.0
        assert int((step > 1e-12).sum()) == ex_days[symbol]


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh_sampledata", None)
    with pytest.raises(InputError, match=r"pip install 'kline-factor\[demo\]'"):
        demo(tmp_path / "home", threads=1)
    assert not (tmp_path / "home").exists()


def test_home_of_other_bars_is_refused(tmp_path):
    (tmp_path / "bars").mkdir()
    path = tmp_path / "bars" / "OWN.csv"
    path.write_text("date,open,high,low,close,volume\n2020-01-02,1,1,1,1,5\n")
    home = Home(tmp_path / "home", create=True)
    ingest([path], home)
    with pytest.raises(HomeError, match="home of other bars"):
        demo(tmp_path / "home", threads=1)
    assert home.read("bars").num_rows == 1
    assert not (tmp_path / "home" / FOLDER).exists()


def test_the_environment_does_not_name_its_home(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KLINE_HOME", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--samples", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["home"] == str(tmp_path / "kline-demo")
    assert [path.name for path in tmp_path.iterdir()] == ["kline-demo"]


@pytest.mark.parametrize("named", ["s3://bucket/home", ""])
def test_only_a_folder_can_be_its_home(tmp_path, monkeypatch, capsys, named):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--home", named]) == 1
    assert capsys.readouterr().err == f"kline: --home is {named!r}; the demo needs a folder of its own, no URL\n"
    assert not any(tmp_path.iterdir())


def test_numbers_out_of_bounds(tmp_path):
    with pytest.raises(SettingError, match="samples is 0"):
        demo(tmp_path / "home", samples=0)
    with pytest.raises(SettingError, match="threads is 0"):
        demo(tmp_path / "home", threads=0)
    assert not (tmp_path / "home").exists()
