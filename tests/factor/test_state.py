import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kline_core import _cache
from kline_core._cache import STATES
from kline_core._cache import loaded as loaded_key
from kline_core._logging import listening
from kline_core.bars.bars_cache import BarsKey
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import EncoderError, FingerprintError, HomeError, StaleError
from kline_core.factor import state as module
from kline_core.factor.state import _vectors, load_state, loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.patterns import Patterns
from kline_core.patterns.update import update_patterns
from kline_core.patterns.verified import PatternsKey
from kline_core.search.ivf_index import IvfIndex
from kline_core.store.home import Home
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import SMALL, add_bars, make_home, market, replace_bars, write_encoder

pytestmark = pytest.mark.usefixtures("nothing_loaded")


def with_encoder(key, **changed):
    return replace(key, encoder=replace(key.encoder, **changed))


def assert_like_the_table(loaded, home, version):
    table = home.read("patterns", version=version)
    patterns = loaded.patterns
    found = {}
    for row in range(len(patterns)):
        name, end = patterns.symbols[patterns.code[row]], patterns.end[row]
        assert loaded.frames[name].dates[patterns.bar[row]] == end
        found[name, end.item()] = row
    assert len(found) == table.num_rows
    for stored in table.to_pylist():
        row = found[stored["symbol"], stored["end"]]
        assert patterns.known_on[row] == np.datetime64(stored["known_on"])
        np.testing.assert_array_equal(patterns.returns[row], np.float32([stored["r1"], stored["r3"]]))
        assert patterns.barrier[row] == stored["barrier"]
        assert patterns.content[row] == np.int64(stored["content"]).view(np.uint64)
        assert patterns.vectors[row].tobytes() == stored["vector"]


def test_patterns_in_memory_are_those_of_the_table(home, extend, newest):
    extend(home)
    loaded = load_state(newest(home))
    assert_like_the_table(loaded, home, None)
    assert (np.diff(loaded.patterns.known_on.astype(int)) >= 0).all()
    assert len(loaded.index) == len(loaded.patterns) == 63
    assert np.shares_memory(loaded.patterns.vectors, loaded.index.rows)
    assert not loaded.patterns.vectors.flags.writeable
    assert loaded.encoder.fingerprint == loaded.key.encoder.fingerprint
    assert set(loaded.seconds) == {"encoder", "bars", "patterns", "index"}


def test_patterns_of_several_commits_and_a_restated_symbol(tmp_path, extend, newest):
    frame = market()
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[frame["date"] < last])
    extend(home)
    add_bars(home, frame[frame["date"] == last])
    extend(home)
    frame.loc[frame["symbol"] == "S00001", "adj_factor"] = 2.0
    replace_bars(home, frame, "S00001")
    assert extend(home).removed == 21
    loaded = load_state(newest(home))
    assert_like_the_table(loaded, home, None)

    whole = make_home(tmp_path / "whole", frame)
    extend(whole)
    same = load_state(newest(whole))
    np.testing.assert_array_equal(loaded.patterns.history, same.patterns.history)
    np.testing.assert_array_equal(loaded.patterns.vectors, same.patterns.vectors)


def test_an_older_state_stays_loadable(tmp_path, extend, newest):
    frame = market()
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[frame["date"] < last])
    extend(home)
    old = newest(home)
    add_bars(home, frame[frame["date"] == last])
    extend(home)
    assert_like_the_table(load_state(old), home, old.patterns_version)
    assert len(load_state(old).patterns) == 60
    assert len(load_state(newest(home)).patterns) == 63


def test_patterns_that_lag_behind_the_bars_are_refused(tmp_path, extend, newest):
    frame = market()
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[frame["date"] < last])
    extend(home)
    add_bars(home, frame[frame["date"] == last])
    with pytest.raises(
        StaleError, match=r"lag behind its bars \(3 windows missing, 0 no longer valid\); run `kline index`"
    ):
        load_state(newest(home))
    extend(home)
    load_state(newest(home))


def test_patterns_of_restated_bars_are_refused(home, extend, newest):
    extend(home)
    frame = market()
    frame.loc[14, "low"] /= 2
    replace_bars(home, frame, "S00000")
    with pytest.raises(StaleError, match="10 windows missing, 10 no longer valid"):
        load_state(newest(home))


def test_bars_without_patterns_are_refused(home, newest):
    with pytest.raises(StaleError, match="has no patterns yet; run `kline index`"):
        load_state(newest(home))


def test_bars_too_few_for_a_pattern_need_none(tmp_path, newest):
    home = make_home(tmp_path / "home", market(2, 9))
    loaded = load_state(newest(home))
    assert len(loaded.patterns) == len(loaded.index) == 0
    assert sorted(loaded.frames) == ["S00000", "S00001"]


def test_another_encoder_on_the_worker_is_refused(home, extend, newest):
    extend(home)
    with pytest.raises(EncoderError, match=r"the run was started with 0123; install the same version"):
        load_state(with_encoder(newest(home), fingerprint="0123"))


def test_threads_that_ask_at_the_same_time_load_once(home, extend, newest, monkeypatch):
    extend(home)
    key, loads, start = newest(home), [], threading.Barrier(6)

    def load(asked):
        loads.append(asked)
        return load_state(asked)

    monkeypatch.setattr(module, "load_state", load)

    def ask(_):
        start.wait()
        # An equal key, as it comes out of a pickle, names the same state.
        return loaded_state(replace(key))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    assert loads == [key.loads]
    assert all(each.patterns is found[0].patterns for each in found)
    assert loaded_state(key).index is found[0].index


def test_other_factor_settings_share_what_is_loaded(home, extend, newest, monkeypatch):
    extend(home)
    key = newest(home)
    first = loaded_state(key)
    monkeypatch.setattr(module, "load_state", lambda asked: pytest.fail(f"{asked} was loaded again"))
    few = replace(key.settings.factor, top_k=3, min_matches=1)
    other = replace(key, settings=replace(key.settings, factor=few))
    assert loaded_state(other).index is first.index
    assert loaded_state(other).key == other
    assert loaded_state(key).key == key


def test_the_newest_states_stay_loaded(monkeypatch, newest, home, extend):
    extend(home)
    key, loads = newest(home), []
    loaded = load_state(key)
    monkeypatch.setattr(module, "load_state", lambda asked: loads.append(asked.encoder.device) or loaded)
    for device in ("a", "b", "a", "c", "a", "b"):
        loaded_state(with_encoder(key, device=device))
    assert loads == ["a", "b", "c", "b"], "c pushed out b, which was asked for longest ago"
    assert len(_cache._caches[StateKey]) == STATES


def test_loading_that_failed_is_tried_again(home, extend, newest):
    for _ in range(2):
        with pytest.raises(StaleError):
            loaded_state(newest(home))
    extend(home)
    assert len(loaded_state(newest(home)).patterns) == 63


def test_a_version_that_is_gone_is_named(home, extend, newest):
    extend(home)
    with pytest.raises(HomeError, match="has no version 99"):
        load_state(replace(newest(home), patterns_version=99))


def test_vectors_out_of_any_chunks():
    raw = np.random.default_rng(0).normal(size=(9, 3)).astype("<f4")
    whole = pa.array([row.tobytes() for row in raw], pa.binary())
    column = pa.chunked_array([whole.slice(2, 3), whole.slice(0, 0), whole.slice(5)], pa.binary())
    np.testing.assert_array_equal(_vectors(column, 3), raw[2:])
    assert _vectors(pa.chunked_array([], pa.binary()), 3).shape == (0, 3)
    with pytest.raises(StaleError, match="is not 4 numbers long"):
        _vectors(column, 4)


def test_patterns_rebuilt_for_another_encoder_in_between_are_refused(home, extend, newest):
    extend(home)
    key = newest(home)
    other = write_encoder(home.folder.parent / "other.safetensors", seed=5)
    update_patterns(home, key.settings.patterns, LocalWindowEncoder(Encoder.load(other, "cpu")), rebuild=True)
    made = home.identity("patterns")
    overtaken = replace(key, patterns_version=home.version("patterns"), patterns_identity=made)
    with pytest.raises(FingerprintError, match="encoder"):
        load_state(overtaken)


# --- states that go on from loaded ones ---


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


@pytest.mark.slow
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
    assert extend(home).added == added
    state = loaded_state(newest(home))
    assert "read" in [name for name, _ in reads]
    assert_as_if_read_anew(state, home, monkeypatch)


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


def test_patterns_that_lag_behind_are_refused_by_a_process_that_knows_the_others(tmp_path, extend, newest):
    home = make_home(tmp_path / "home", FRAME[FRAME["date"] < DAYS[29]])
    extend(home)
    loaded_state(newest(home))
    add_bars(home, FRAME[FRAME["date"] == DAYS[29]])
    with pytest.raises(StaleError, match=r"\(3 windows missing, 0 no longer valid\)"):
        loaded_state(newest(home))


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


# --- what states share ---


def counted(monkeypatch, kind):
    calls, real = [], kind.load
    monkeypatch.setattr(kind, "load", lambda key: calls.append(key) or real(key))
    return calls


def test_states_that_differ_in_their_patterns_share_bars_and_encoder(home, extend, newest, monkeypatch, encode_again):
    bars, encoders = counted(monkeypatch, BarsKey), counted(monkeypatch, EncoderKey)
    extend(home)
    first = loaded_state(newest(home))
    encode_again(home)
    second = loaded_state(newest(home))
    assert second.key.patterns_version > first.key.patterns_version
    assert second.patterns is not first.patterns
    assert second.frames is first.frames
    assert second.encoder is first.encoder
    assert (bars, encoders) == ([first.key.bars], [first.key.encoder])


@pytest.fixture
def encode_again(small_weights):
    encoding = LocalWindowEncoder(Encoder.load(small_weights, "cpu"))

    def again(home):
        home.delete("patterns", ["S00001"])
        update_patterns(home, SMALL, encoding)

    return again


def test_new_bars_are_loaded_with_the_old_encoder(home, extend, newest):
    extend(home)
    first = loaded_state(newest(home))
    add_bars(home, market(1, 20, prefix="T"))
    extend(home)
    second = loaded_state(newest(home))
    assert second.encoder is first.encoder
    assert sorted(second.frames) == [*sorted(first.frames), "T00000"]
    assert sorted(first.frames) == ["S00000", "S00001", "S00002"]
    assert loaded_state(first.key).frames is first.frames


def test_bars_that_windows_were_encoded_from_serve_the_state_too(home, extend, newest):
    frames = newest(home).bars.frames()
    encoder = loaded_key(newest(home).encoder)
    extend(home)
    loaded = loaded_state(newest(home))
    assert loaded.frames is frames
    assert loaded.encoder is encoder


def test_loading_says_what_was_loaded_and_how_long_it_took(home, extend, newest):
    extend(home)
    said = []
    with listening(lambda level, message: said.append((level, message))):
        for _ in range(2):
            loaded_state(newest(home))
    ((level, message),) = said
    assert level == logging.INFO
    number = r"\d+\.\d s"
    took = ", ".join(f"{part} {number}" for part in ("encoder", "bars", "patterns", "index"))
    assert re.fullmatch(f"loaded 3 symbols, 63 patterns of {home.uri}: {took}", message)
