import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import SymbolBars, bars_by_symbol
from kline_core.errors import HomeError, InputError, StaleError
from kline_core.store.home import Home
from tests.support.homes import add_bars, make_home, market, replace_bars

pytestmark = pytest.mark.usefixtures("nothing_loaded")

FRAME = market(3, 30)
DAYS = np.unique(FRAME["date"].to_numpy())
ADJUSTED = FRAME.assign(adj_factor=np.linspace(1, 2, len(FRAME)))


@pytest.fixture
def reads(monkeypatch):
    """Rows that were read, by call: all of them, or those that came to what was there."""
    counts = []
    for name in ("read", "appended"):
        real = getattr(Home, name)

        def counted(*args, real=real, name=name, **kwargs):
            rows = real(*args, **kwargs)
            counts.append((name, None if rows is None else rows.num_rows))
            return rows

        monkeypatch.setattr(Home, name, counted)
    return counts


def until(day):
    return ADJUSTED[ADJUSTED["date"] <= DAYS[day]]


def of(day):
    return ADJUSTED[ADJUSTED["date"] == DAYS[day]]


def newest(home):
    return BarsKey.newest(home)


def assert_whole(frames, home, version=None):
    whole = bars_by_symbol(home.read("bars", version=version))
    assert list(frames) == list(whole)
    for symbol, bars in whole.items():
        assert frames[symbol].symbol == symbol
        for field in fields(SymbolBars)[1:]:
            mine, right = getattr(frames[symbol], field.name), getattr(bars, field.name)
            assert mine.dtype == right.dtype
            assert mine.tobytes() == right.tobytes()
            assert not mine.flags.writeable


def test_newer_rows_are_added_to_what_is_loaded(tmp_path, reads):
    home = make_home(tmp_path / "home", until(20))
    first = newest(home).frames()
    old = newest(home)
    add_bars(home, of(21))
    add_bars(home, of(22))
    second = newest(home).frames()
    assert reads == [("read", 63), ("appended", 6)]
    assert_whole(second, home)
    assert_whole(first, home, old.version)
    assert old.frames() is first


@pytest.mark.slow
def test_suspended_days_new_symbols_and_symbols_without_a_bar(tmp_path, reads):
    home = make_home(tmp_path / "home", until(20))
    newest(home).frames()
    rows = of(21)
    rows.loc[rows["symbol"] == "S00001", "suspended"] = True
    rows = rows[rows["symbol"] != "S00002"]
    add_bars(home, rows)
    listed = market(1, 30, seed=5, prefix="A")
    add_bars(home, listed[listed["date"] == DAYS[21]])
    assert_whole(newest(home).frames(), home)
    assert reads[-2:] == [("appended", 3), ("read", 66)]


@pytest.mark.slow
def test_a_day_that_is_not_newer_than_all_is_read_with_everything(tmp_path, reads):
    """A row on the date of a suspended day, which the loaded bars do not show, would be there twice."""
    frame = until(20).copy()
    frame.loc[frame["date"] == DAYS[20], "suspended"] = True
    home = make_home(tmp_path / "home", frame)
    newest(home).frames()
    add_bars(home, of(20)[:1])
    with pytest.raises(InputError, match="hold symbol S00000 twice"):
        newest(home).frames()
    assert [name for name, _ in reads] == ["read", "appended", "read"]


@pytest.mark.slow
def test_a_late_bar_is_read_with_everything(tmp_path):
    frame = until(20)
    late = (frame["symbol"] == "S00001") & (frame["date"] == DAYS[20])
    home = make_home(tmp_path / "home", frame[~late])
    newest(home).frames()
    add_bars(home, frame[late])
    assert_whole(newest(home).frames(), home)


@pytest.mark.parametrize("what", ["restated", "removed", "compacted", "upserted"])
def test_whatever_else_was_done_is_read_with_everything(tmp_path, reads, what):
    home = make_home(tmp_path / "home", until(19))
    add_bars(home, of(20))
    newest(home).frames()
    if what == "restated":
        replace_bars(home, until(20).assign(close=until(20)["high"]), "S00001")
    elif what == "removed":
        home.delete("bars", ["S00002"])
    elif what == "compacted":
        home.compact("bars", 1_000_000)
    else:
        rows = home.read("bars").slice(0, 2)
        home.upsert("bars", rows.set_column(2, rows.schema.field(2), rows["high"]), ["symbol", "date"])
    del reads[:]
    frames = newest(home).frames()
    assert [name for name, _ in reads] == ["appended", "read"]
    assert reads[0][1] is None
    assert_whole(frames, home)


def test_an_older_version_is_not_made_from_a_newer_one(tmp_path, reads):
    home = make_home(tmp_path / "home", until(20))
    old = newest(home)
    add_bars(home, of(21))
    newest(home).frames()
    assert_whole(old.frames(), home, old.version)
    assert [name for name, _ in reads[:2]] == ["read", "read"]


def test_bars_of_other_homes_are_left_alone(tmp_path):
    one, other = make_home(tmp_path / "one", until(20)), make_home(tmp_path / "other", until(22))
    newest(one).frames()
    assert_whole(newest(other).frames(), other)


def test_a_home_made_anew_is_another(tmp_path):
    home = make_home(tmp_path / "home", until(20))
    with pytest.raises(StaleError, match="were made anew after the run was started"):
        replace(newest(home), identity="another").frames()


@pytest.mark.slow
def test_a_file_that_is_gone_is_noticed(tmp_path):
    home = make_home(tmp_path / "home", until(20))
    newest(home).frames()
    (gone,) = (home.folder / "bars").glob("*.parquet")
    add_bars(home, of(21))
    gone.unlink()
    with pytest.raises(HomeError, match=rf"cannot read table bars of home .*: its file {gone.name} is gone"):
        newest(home).frames()


@pytest.mark.slow
def test_a_home_restored_from_a_copy_is_another_state(tmp_path):
    """Its versions are counted a second time: the same number then names other bars."""
    home = make_home(tmp_path / "home", until(20))
    shutil.copytree(home.folder, tmp_path / "copy")
    add_bars(home, of(21))
    before = newest(home)
    before.frames()
    shutil.rmtree(home.folder)
    shutil.copytree(tmp_path / "copy", home.folder)
    add_bars(home, of(21).assign(close=of(21)["high"]))
    after = newest(home)
    assert (after.version, after.identity) == (before.version, before.identity)
    assert after != before
    assert_whole(after.frames(), home)


def test_bars_that_were_restored_after_the_key_was_made_are_refused(tmp_path):
    home = make_home(tmp_path / "home", until(20))
    shutil.copytree(home.folder, tmp_path / "copy")
    add_bars(home, of(21))
    key = newest(home)
    shutil.rmtree(home.folder)
    shutil.copytree(tmp_path / "copy", home.folder)
    add_bars(home, of(21).assign(close=of(21)["high"]))
    with pytest.raises(StaleError, match="were made anew after the run was started"):
        key.frames()
