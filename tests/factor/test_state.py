import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
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
from kline_core.factor.state import load_state, loaded_state, vectors_of
from kline_core.factor.state_key import StateKey
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from tests.support.homes import SMALL, add_bars, make_home, market, replace_bars, write_encoder
from tests.support.states import assert_like_the_table

pytestmark = pytest.mark.usefixtures("nothing_loaded")


def with_encoder(key, **changed):
    return replace(key, encoder=replace(key.encoder, **changed))


@pytest.mark.slow
def test_patterns_in_memory_are_those_of_the_table(home, extend, newest):
    extend(home)
    loaded = load_state(newest(home))
    assert_like_the_table(loaded, home, None)
    assert (np.diff(loaded.patterns.known_on.astype(int)) >= 0).all()
    assert len(loaded.index) == len(loaded.patterns) == 63
    assert np.shares_memory(loaded.patterns.vectors, loaded.index.rows)
    assert not loaded.patterns.vectors.flags.writeable
    assert loaded.encoder.fingerprint == loaded.key.encoder.fingerprint
    assert set(loaded.seconds) == {"encoder", "cache", "bars", "patterns", "index"}


@pytest.mark.slow
def test_patterns_of_several_commits_and_a_restated_symbol(tmp_path, extend, newest):
    frame = market()
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[frame["date"] < last])
    extend(home)
    add_bars(home, frame[frame["date"] == last])
    extend(home)
    later = frame["date"] > frame["date"].iloc[14]
    frame.loc[(frame["symbol"] == "S00001") & later, "adj_factor"] = 2.0
    replace_bars(home, frame, "S00001")
    assert extend(home).removed == 21
    loaded = load_state(newest(home))
    assert_like_the_table(loaded, home, None)

    whole = make_home(tmp_path / "whole", frame)
    extend(whole)
    same = load_state(newest(whole))
    np.testing.assert_array_equal(loaded.patterns.history, same.patterns.history)
    np.testing.assert_array_equal(loaded.patterns.vectors, same.patterns.vectors)


@pytest.mark.slow
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


@pytest.mark.slow
def test_patterns_that_lag_behind_the_bars_are_refused(tmp_path, extend, newest):
    frame = market()
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[frame["date"] < last])
    extend(home)
    add_bars(home, frame[frame["date"] == last])
    with pytest.raises(
        StaleError,
        match=r"lag behind its bars \(3 windows missing, 0 no longer valid\); run `kline index --window-bars 5",
    ):
        load_state(newest(home))
    extend(home)
    load_state(newest(home))


@pytest.mark.slow
def test_patterns_of_restated_bars_are_refused(home, extend, newest):
    extend(home)
    frame = market()
    frame.loc[14, "low"] /= 2
    replace_bars(home, frame, "S00000")
    with pytest.raises(StaleError, match="10 windows missing, 10 no longer valid"):
        load_state(newest(home))


def test_bars_without_patterns_are_refused(home, newest):
    with pytest.raises(StaleError, match="has no patterns yet; run `kline index --window-bars 5 --horizons 1,3"):
        load_state(newest(home))


def test_bars_too_few_for_a_pattern_need_none(tmp_path, newest):
    home = make_home(tmp_path / "home", market(2, 9))
    loaded = load_state(newest(home))
    assert len(loaded.patterns) == len(loaded.index) == 0
    assert sorted(loaded.frames) == ["S00000", "S00001"]


@pytest.mark.slow
def test_another_encoder_on_the_worker_is_refused(home, extend, newest):
    extend(home)
    with pytest.raises(EncoderError, match=r"the run was started with 0123; install the same version"):
        load_state(with_encoder(newest(home), fingerprint="0123"))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_newest_states_stay_loaded(monkeypatch, newest, home, extend):
    extend(home)
    key, loads = newest(home), []
    loaded = load_state(key)
    monkeypatch.setattr(module, "load_state", lambda asked: loads.append(asked.encoder.device) or loaded)
    for device in ("a", "b", "a", "c", "a", "b"):
        loaded_state(with_encoder(key, device=device))
    assert loads == ["a", "b", "c", "b"], "c pushed out b, which was asked for longest ago"
    assert len(_cache._caches[StateKey]) == STATES


@pytest.mark.slow
def test_loading_that_failed_is_tried_again(home, extend, newest):
    for _ in range(2):
        with pytest.raises(StaleError):
            loaded_state(newest(home))
    extend(home)
    assert len(loaded_state(newest(home)).patterns) == 63


@pytest.mark.slow
def test_a_version_that_is_gone_is_named(home, extend, newest):
    extend(home)
    with pytest.raises(HomeError, match="has no version 99"):
        load_state(replace(newest(home), patterns_version=99))


def test_vectors_out_of_any_chunks():
    raw = np.random.default_rng(0).normal(size=(9, 3)).astype("<f4")
    whole = pa.array([row.tobytes() for row in raw], pa.binary())
    column = pa.chunked_array([whole.slice(2, 3), whole.slice(0, 0), whole.slice(5)], pa.binary())
    np.testing.assert_array_equal(vectors_of(column, 3), raw[2:])
    assert vectors_of(pa.chunked_array([], pa.binary()), 3).shape == (0, 3)
    with pytest.raises(StaleError, match="is not 4 numbers long"):
        vectors_of(column, 4)


@pytest.mark.slow
def test_patterns_rebuilt_for_another_encoder_in_between_are_refused(home, extend, newest):
    extend(home)
    key = newest(home)
    other = write_encoder(home.folder.parent / "other.safetensors", seed=5)
    update_patterns(home, key.settings.patterns, LocalWindowEncoder(Encoder.load(other, "cpu")), rebuild=True)
    made = home.identity("patterns")
    overtaken = replace(key, patterns_version=home.version("patterns"), patterns_identity=made)
    with pytest.raises(FingerprintError, match="encoder"):
        load_state(overtaken)


def counted(monkeypatch, kind):
    calls, real = [], kind.load
    monkeypatch.setattr(kind, "load", lambda key: calls.append(key) or real(key))
    return calls


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_bars_that_windows_were_encoded_from_serve_the_state_too(home, extend, newest):
    frames = newest(home).bars.frames()
    encoder = loaded_key(newest(home).encoder)
    extend(home)
    loaded = loaded_state(newest(home))
    assert loaded.frames is frames
    assert loaded.encoder is encoder


@pytest.mark.slow
def test_loading_says_what_was_loaded_and_how_long_it_took(home, extend, newest):
    extend(home)
    said = []
    with listening(lambda level, message: said.append((level, message))):
        for _ in range(2):
            loaded_state(newest(home))
    ((level, message),) = said
    assert level == logging.INFO
    number = r"\d+\.\d s"
    took = ", ".join(f"{part} {number}" for part in ("encoder", "cache", "bars", "patterns", "index"))
    assert re.fullmatch(f"loaded 3 symbols, 63 patterns of {home.uri}: {took}", message)
