"""States that are advanced from loaded ones."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pyarrow.compute as pc
import pytest

from kline_core import _cache
from kline_core.errors import StaleError
from kline_core.factor.state import load_state, loaded_state
from kline_core.patterns.patterns import Patterns
from kline_core.patterns.verified import PatternsKey
from kline_core.search.ivf_index import IvfIndex
from kline_core.store.home import Home
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import add_bars, make_home, market, replace_bars
from tests.support.states import assert_like_the_table

pytestmark = pytest.mark.usefixtures("nothing_loaded")


@pytest.fixture
def reads(monkeypatch):
    """Rows of `patterns` that were read, by call: all of them, or those that came to what was there."""
    counts = []
    for name in ("read", "appended"):
        real = getattr(Home, name)

        def counted(home, table, *args, real=real, name=name, **kwargs):
            rows = real(home, table, *args, **kwargs)
            if table == "patterns":
                counts.append((name, None if rows is None else rows.num_rows))
            return rows

        monkeypatch.setattr(Home, name, counted)
    return counts


FRAME = market(3, 30)
DAYS = FRAME["date"].unique()


def assert_as_if_read_anew(state, home, monkeypatch):
    assert_like_the_table(state, home, state.key.patterns_version)
    with monkeypatch.context() as context:
        context.setattr(_cache, "_caches", {})
        anew = load_state(state.key)
    for field in fields(Patterns):
        assert np.array_equal(getattr(state.patterns, field.name), getattr(anew.patterns, field.name)), field.name
    assert np.shares_memory(state.patterns.vectors, state.index.rows)
    assert np.array_equal(state.index.rows, anew.index.rows)
    assert np.array_equal(state.verified.windows.bar, state.patterns.bar)
    assert np.array_equal(state.verified.windows.content, state.patterns.content)
    assert (state.index.scan is None) == (anew.index.scan is None)
    assert sorted(state.frames) == sorted(anew.frames)


@pytest.mark.slow
def test_day_by_day_only_what_came_is_read(tmp_path, extend, newest, reads, monkeypatch):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] <= DAYS[19]])
    extend(home)
    first = loaded_state(newest(home))
    vectors = first.patterns.vectors.copy()
    for day in range(20, 24):
        add_bars(home, FRAME[FRAME["date"] == DAYS[day]])
        del reads[:]
        assert extend(home).added == 3
        state = loaded_state(newest(home))
        assert reads == [("appended", 0), ("appended", 3)]
        assert_as_if_read_anew(state, home, monkeypatch)
    assert np.array_equal(first.patterns.vectors, vectors)
    assert len(first.patterns) == len(first.index) == 33


@pytest.mark.slow
def test_bars_that_make_no_pattern_yet_leave_the_index(tmp_path, extend, newest, reads, monkeypatch):
    home = make_home(tmp_path / "home", FRAME)
    extend(home)
    first = loaded_state(newest(home))
    add_bars(home, market(1, 6, seed=5, start="2021-01-04", prefix="A"))
    assert extend(home).added == 0
    state = loaded_state(newest(home))
    assert reads[-1] == ("appended", 0)
    assert state.index.rows is first.index.rows
    assert_as_if_read_anew(state, home, monkeypatch)


@pytest.mark.slow
def test_a_symbol_that_is_listed_later_takes_its_place(tmp_path, extend, newest, reads, monkeypatch):
    home = make_home(tmp_path / "home", FRAME)
    extend(home)
    loaded_state(newest(home))
    add_bars(home, market(1, 12, seed=5, start="2021-01-04", prefix="A"))
    assert extend(home).added == 3
    state = loaded_state(newest(home))
    assert reads[-1] == ("appended", 3)
    assert state.patterns.symbols == ["A00000", "S00000", "S00001", "S00002"]
    assert_as_if_read_anew(state, home, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("first", [["S00000"], ["S00002"], ["S00001"], ["S00000", "S00002"], ["S00001", "S00002"]])
def test_deliveries_of_one_day_come_one_by_one(tmp_path, extend, newest, monkeypatch, first):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] <= DAYS[20]])
    extend(home)
    loaded_state(newest(home))
    day = FRAME[FRAME["date"] == DAYS[21]]
    early = day["symbol"].isin(first)
    for rows in (day[early], day[~early], FRAME[FRAME["date"] == DAYS[22]]):
        add_bars(home, rows)
        assert extend(home).added == len(rows)
        assert_as_if_read_anew(loaded_state(newest(home)), home, monkeypatch)


@pytest.mark.slow
def test_the_same_patterns_of_other_bars_are_others(tmp_path, extend, newest, monkeypatch):
    """A bar long before a symbol's first makes no window, and gives every later bar of it another ordinal."""
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] <= DAYS[27]])
    extend(home)
    before = newest(home)
    states = [loaded_state(before)]
    early = FRAME[:1].assign(date=DAYS[0] - np.timedelta64(60, "D"))
    add_bars(home, early)
    assert extend(home).version == before.patterns_version
    states.append(loaded_state(newest(home)))
    assert (states[0].patterns.bar != states[1].patterns.bar).any()
    for state in states:
        assert_as_if_read_anew(state, home, monkeypatch)
    for day in (28, 29):
        replace_bars(home, FRAME[FRAME["date"] <= DAYS[day]], "S00000")
        add_bars(home, FRAME[(FRAME["date"] == DAYS[day]) & (FRAME["symbol"] != "S00000")])
        assert extend(home).added == 3
        assert_as_if_read_anew(loaded_state(newest(home)), home, monkeypatch)


@pytest.mark.slow
def test_bars_that_were_restated_beyond_all_known_windows(tmp_path, extend, newest, reads, monkeypatch):
    home = make_home(tmp_path / "home", FRAME)
    extend(home)
    loaded_state(newest(home))
    later = market(1, 6, seed=5, start="2021-01-04", prefix="A")
    add_bars(home, later)
    extend(home)
    loaded_state(newest(home))
    replace_bars(home, later.assign(close=later["high"]), "A00000")
    del reads[:]
    assert extend(home).added == 0
    assert_as_if_read_anew(loaded_state(newest(home)), home, monkeypatch)
    assert reads[:2] == [("appended", 0), ("appended", 0)]


@pytest.mark.slow
def test_older_and_newer_states_asked_for_in_turn(tmp_path, extend, newest, monkeypatch):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] <= DAYS[20]])
    keys = []
    for day in range(21, 26):
        extend(home)
        keys.append(newest(home))
        add_bars(home, FRAME[FRAME["date"] == DAYS[day]])
    for at in (1, 3, 0, 4, 2, 1):
        assert_as_if_read_anew(loaded_state(keys[at]), home, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        for key, state in zip(keys, pool.map(loaded_state, keys), strict=True):
            assert state.key == key
            assert_as_if_read_anew(state, home, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["restated", "gone", "compacted", "made again", "twice"])
def test_what_did_not_only_grow_is_read_with_everything(tmp_path, extend, newest, reads, monkeypatch, what):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] < DAYS[28]])
    for day in (28, 29):
        extend(home)
        add_bars(home, FRAME[FRAME["date"] == DAYS[day]])
    extend(home)
    loaded_state(newest(home))
    added = 0
    if what == "restated":
        replace_bars(home, FRAME.assign(close=FRAME["high"]), "S00001")
        added = 21
    elif what == "gone":
        home.delete("bars", ["S00002"])
    elif what == "compacted":
        home.compact("patterns", 1_000_000)
    elif what == "made again":
        home.delete("patterns", ["S00001"])
        added = 21
    else:
        home.append("patterns", home.read("patterns").slice(0, 1))
        added = 21
    del reads[:]
    assert extend(home, max_removed_share=1.0).added == added
    state = loaded_state(newest(home))
    assert "read" in [name for name, _ in reads]
    assert_as_if_read_anew(state, home, monkeypatch)


@pytest.mark.slow
def test_patterns_that_another_process_added_are_looked_at(tmp_path, extend, newest, reads, monkeypatch):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] < DAYS[29]])
    extend(home)
    loaded_state(newest(home))
    add_bars(home, FRAME[FRAME["date"] == DAYS[29]])
    with monkeypatch.context() as context:
        context.delitem(_cache._caches, PatternsKey)
        extend(home)
    del reads[:]
    assert extend(home).added == 0
    assert_as_if_read_anew(loaded_state(newest(home)), home, monkeypatch)
    assert reads[:2] == [("appended", 3), ("appended", 3)]


@pytest.mark.slow
def test_patterns_that_lag_behind_are_refused_by_a_process_that_knows_the_others(tmp_path, extend, newest):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] < DAYS[29]])
    extend(home)
    loaded_state(newest(home))
    add_bars(home, FRAME[FRAME["date"] == DAYS[29]])
    with pytest.raises(StaleError, match=r"\(3 windows missing, 0 no longer valid\)"):
        loaded_state(newest(home))


@pytest.mark.slow
def test_a_later_pattern_of_other_bars_is_refused(tmp_path, extend, newest):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] < DAYS[29]])
    extend(home)
    loaded_state(newest(home))
    add_bars(home, FRAME[FRAME["date"] == DAYS[29]])
    extend(home)
    rows = home.read("patterns", symbols=["S00001"])
    other = rows.set_column(rows.column_names.index("content"), "content", pc.add(rows["content"], 1))
    home.replace("patterns", other, ["S00001"])
    with pytest.raises(StaleError, match="21 no longer valid"):
        loaded_state(newest(home))


@pytest.mark.slow
def test_an_approximate_index_goes_on_likewise(tmp_path, extend, newest, monkeypatch):
    monkeypatch.setattr("kline_core.search.ivf_index.LISTS", 4)
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] < DAYS[29]])
    extend(home)
    settings = replace(SMALL_SETTINGS, factor=replace(SMALL_SETTINGS.factor, index="ivf", probes=4))
    loaded_state(replace(newest(home), settings=settings))
    add_bars(home, FRAME[FRAME["date"] == DAYS[29]])
    extend(home)
    state = loaded_state(replace(newest(home), settings=settings))
    assert isinstance(state.index, IvfIndex)
    assert_as_if_read_anew(state, home, monkeypatch)
