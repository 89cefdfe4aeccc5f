"""A shard holds the vectors of its blocks, however it was loaded."""

import os
from dataclasses import replace

import numpy as np
import pytest

from kline_core import _cache
from kline_core._cache import loaded
from kline_core.errors import StaleError
from kline_core.factor import shard as module
from kline_core.factor.shard import ShardKey, load_shards
from kline_core.factor.state import load_state
from kline_core.search import flat_index
from kline_core.search.shards import Share
from kline_core.store import row_blocks
from kline_core.store.array_folder import INDEX_CACHE, array_folders
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import add_bars, market

FRAME = market(4, 40)
DAYS = FRAME["date"].drop_duplicates()
NUMBER = 3

pytestmark = pytest.mark.usefixtures("nothing_loaded", "small_blocks")


@pytest.fixture
def bench(tmp_path, small_weights):
    return Bench.of(tmp_path / "home", FRAME[FRAME["date"] < DAYS.iloc[30]], SMALL_SETTINGS, small_weights)


def in_shards(bench):
    return replace(bench.key, shards=NUMBER)


def shards_of(bench):
    return [loaded(ShardKey.of(in_shards(bench), number)) for number in range(NUMBER)]


def assert_blocks_of_the_whole(bench, shards):
    whole = load_state(bench.key)
    assert len(whole.patterns) > 20
    for number, shard in enumerate(shards):
        own = Share(number, NUMBER).holds(np.arange(len(whole.patterns)))
        assert np.array_equal(shard.index.rows, whole.patterns.vectors[own])
        assert shard.count == len(whole.patterns)


def test_from_the_tables(bench):
    assert_blocks_of_the_whole(bench, shards_of(bench))


def test_file_by_file(bench, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    for day in (30, 31):
        bench.add(FRAME[FRAME["date"] == DAYS.iloc[day]])
    assert len(bench.home.files("patterns")) > 2
    assert_blocks_of_the_whole(bench, shards_of(bench))


@pytest.mark.usefixtures("small_homes_cached")
def test_from_the_index_cache_and_what_was_added_since(bench, monkeypatch):
    load_state(bench.key)
    read = []
    monkeypatch.setattr(module, "_rows", lambda *_: read.append(1) or iter(()))
    assert_blocks_of_the_whole(bench, shards_of(bench))
    assert len(read) == NUMBER
    monkeypatch.undo()


@pytest.mark.usefixtures("small_homes_cached")
@pytest.mark.parametrize("least", [1, 10**9])
def test_from_an_entry_with_a_scan_and_from_one_without(bench, monkeypatch, least):
    monkeypatch.setattr(flat_index, "_DIVIDED_FROM", least)
    assert (load_state(bench.key).index.heads is None) == (least > 1)
    _cache._caches.clear()
    read = []
    monkeypatch.setattr(module, "_rows", lambda *_: read.append(1) or iter(()))
    assert_blocks_of_the_whole(bench, shards_of(bench))
    assert len(read) == NUMBER


@pytest.mark.usefixtures("small_homes_cached")
def test_of_an_entry_only_the_blocks_of_the_shard_are_read_and_compared(bench, monkeypatch, caplog):
    whole = load_state(bench.key)
    (name,) = [name for name in array_folders(bench.home.folder / INDEX_CACHE) if name.startswith("state")]
    file = bench.home.folder / INDEX_CACHE / name / "patterns.vectors.npy"
    width = whole.patterns.vectors[:1].nbytes
    content = bytearray(file.read_bytes())
    # In the second block, which is that of the second shard.
    with file.open("rb") as stream:
        row_blocks._header(stream)
        content[stream.tell() + 5 * width] ^= 1
    stamps = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    _cache._caches.clear()
    read = []
    real = row_blocks._fill
    monkeypatch.setattr(row_blocks, "_fill", lambda stream, room: read.append(len(room)) or real(stream, room))
    first = loaded(ShardKey.of(in_shards(bench), 0))
    assert sum(read) == first.index.rows.nbytes < whole.patterns.vectors.nbytes / 2
    assert not caplog.records
    assert_blocks_of_the_whole(bench, [first])
    second = loaded(ShardKey.of(in_shards(bench), 1))
    assert "is damaged, and removed" in caplog.text
    assert np.array_equal(
        second.index.rows, whole.patterns.vectors[Share(1, NUMBER).holds(np.arange(len(whole.patterns)))]
    )


@pytest.mark.usefixtures("small_homes_cached")
def test_an_earlier_entry_is_followed_by_what_was_added(bench):
    load_state(bench.key)
    bench.add(FRAME[FRAME["date"] == DAYS.iloc[30]])
    _cache._caches.clear()
    shards = shards_of(bench)
    assert_blocks_of_the_whole(bench, shards)


def test_a_held_shard_goes_on(bench, monkeypatch):
    before = shards_of(bench)
    bench.add(FRAME[FRAME["date"] == DAYS.iloc[30]])
    monkeypatch.setattr(ShardKey, "load", lambda _: pytest.fail("loaded in full"))
    after = shards_of(bench)
    assert_blocks_of_the_whole(bench, after)
    assert sum(len(shard.index) for shard in after) > sum(len(shard.index) for shard in before)


def test_earlier_windows_that_come_late_are_no_continuation(bench):
    shards_of(bench)
    late = market(1, 40, seed=9, prefix="LATE")
    add_bars(bench.home, late[late["date"] < DAYS.iloc[30]])
    bench.extend()
    assert_blocks_of_the_whole(bench, shards_of(bench))


@pytest.mark.usefixtures("small_homes_cached")
def test_a_state_without_vectors_writes_no_index_cache(bench):
    loaded(in_shards(bench))
    assert [name for name in array_folders(bench.home.folder / INDEX_CACHE) if name.startswith("state")] == []


def test_a_process_holds_the_shards_that_it_is_to_hold(bench):
    def held():
        return {kind[1].number for kind in _cache._caches if isinstance(kind, tuple) and kind[0] is ShardKey}

    key = in_shards(bench)
    load_shards(key, [0, 1])
    assert held() == {0, 1}
    load_shards(key, [1, 2])
    assert held() == {1, 2}
    load_shards(replace(key, shards=2), [1])
    assert held() == {1}


@pytest.mark.parametrize("cached", [False, True])
def test_shards_of_a_worker_are_read_together(bench, tmp_path, monkeypatch, request, cached):
    """Each reading is of all vectors, so that one for each shard would be as many times all."""
    if cached:
        request.getfixturevalue("small_homes_cached")
        load_state(bench.key)
        _cache._caches.clear()
    key, read = in_shards(bench), []
    loaded(key)
    for name in ("cached_shares", "_rows"):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *words, name=name, real=real: read.append(name) or real(*words))
    other = Bench.of(tmp_path / "other", market(2, 20), SMALL_SETTINGS, bench.weights)
    load_shards(in_shards(other), range(NUMBER))
    read.clear()
    # Whatever is held of another home.
    load_shards(key, range(NUMBER))
    assert read == ["cached_shares", "_rows"]
    assert_blocks_of_the_whole(bench, shards_of(bench))
    bench.add(FRAME[FRAME["date"] == DAYS.iloc[30]])
    # What is held goes on by itself, and reads what was added alone.
    read.clear()
    load_shards(in_shards(bench), range(NUMBER))
    assert read == ["_rows"] * NUMBER
    assert_blocks_of_the_whole(bench, shards_of(bench))


def test_a_home_without_patterns(tmp_path, small_weights):
    bench = Bench.of(tmp_path / "home", FRAME[FRAME["date"] < DAYS.iloc[3]], SMALL_SETTINGS, small_weights)
    assert [len(shard.index) for shard in shards_of(bench)] == [0, 0, 0]


def test_a_vector_of_another_length_names_its_pattern(bench, monkeypatch):
    real = module.vectors_of

    def longer(column, dim):
        vectors = real(column, dim).copy()
        vectors[:] *= 2
        return vectors

    monkeypatch.setattr(module, "vectors_of", longer)
    with pytest.raises(
        StaleError, match=r"^pattern S\d+ .*its vector is not L2-normalised; run `kline index .*--rebuild`"
    ):
        shards_of(bench)


def test_tables_that_were_made_anew_meanwhile_are_noticed(bench, monkeypatch):
    key = in_shards(bench)
    loaded(key)
    monkeypatch.setattr(module, "_followed", lambda *_: None)
    with pytest.raises(StaleError, match="start the run again"):
        loaded(ShardKey.of(key, 0))
