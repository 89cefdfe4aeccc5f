"""The index cache: the state is the same with and without it, whatever is wrong with it."""

import errno
import math
import os
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.lib import format as npy

from kline_core import _cache, _growing
from kline_core._growing import memory_of
from kline_core._logging import listening
from kline_core._memory import VECTORS
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.compute import tasks
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import HomeError, StaleError
from kline_core.factor import index_cache, state
from kline_core.factor.scoring import plan_dates, score_batch
from kline_core.factor.state import load_state
from kline_core.maintenance.upkeep import vacuum
from kline_core.maintenance.verify import verify
from kline_core.patterns.catalogue import Catalogue, CatalogueKey
from kline_core.patterns.mapped_vectors import MappedVectors
from kline_core.patterns.patterns import Patterns
from kline_core.patterns.verified import PatternsKey
from kline_core.search import flat_index
from kline_core.search.disk_index import DiskIndex
from kline_core.search.flat_index import FlatIndex
from kline_core.search.quantised_scan import QuantisedScan
from kline_core.search.rounded_heads import RoundedHeads
from kline_core.store import array_folder
from kline_core.store.array_folder import INDEX_CACHE, array_folders
from tests.support.bench import SMALL_SETTINGS, Bench, batch_of
from tests.support.homes import add_bars, market, replace_bars, write_encoder

pytestmark = pytest.mark.usefixtures("nothing_loaded", "small_homes_cached")

ROUND = QuantisedScan.of
DAYS = 24
FRAME = market(3, 30)
LAST = FRAME["date"].drop_duplicates().iloc[DAYS]


@pytest.fixture
def bench(tmp_path, small_weights):
    return Bench.of(tmp_path / "home", FRAME[FRAME["date"] < LAST], SMALL_SETTINGS, small_weights)


def fresh(key):
    """The state as a fresh process loads it."""
    _cache._caches.clear()
    return load_state(key)


def entries(bench, kind="state"):
    return [name for name in array_folders(bench.home.folder / INDEX_CACHE) if name.startswith(kind)]


def entry(bench):
    return bench.home.folder / INDEX_CACHE / entries(bench)[-1]


def mapped(loaded):
    return "patterns" not in loaded.seconds


def without_cache(key, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(state, "cached_state", lambda *_: None)
        patch.setattr(state, "keep_state", lambda *_: None)
        return fresh(key)


def columns(thing, kind):
    for field in fields(kind):
        value = getattr(thing, field.name)
        value = value[:] if isinstance(value, MappedVectors) else value
        yield field.name, value if isinstance(value, list | str) else (value.dtype, value.shape, value.tobytes())


def assert_same(one, other):
    assert dict(columns(one.patterns, Patterns)) == dict(columns(other.patterns, Patterns))
    assert list(one.frames) == list(other.frames)
    for symbol, bars in one.frames.items():
        assert dict(columns(bars, SymbolBars)) == dict(columns(other.frames[symbol], SymbolBars))
    assert dict(columns(one.verified.windows, Catalogue)) == dict(columns(other.verified.windows, Catalogue))
    assert one.verified.files == other.verified.files
    assert one.index.rows[:].tobytes() == other.index.rows[:].tobytes()
    for symbol in one.frames:
        dates = plan_dates(one, symbol, 30, None)
        np.testing.assert_array_equal(dates, plan_dates(other, symbol, 30, None))
        scored = [score_batch(each, batch_of(symbol, dates)) for each in (one, other)]
        assert scored[0].factors.equals(scored[1].factors)
        assert scored[0].matches.equals(scored[1].matches)


def test_a_fresh_process_maps_what_another_loaded(bench, monkeypatch):
    first = fresh(bench.key)
    assert not mapped(first)
    again = fresh(bench.key)
    assert mapped(again)
    assert not again.patterns.returns.flags.owndata
    assert_same(first, again)
    assert_same(again, without_cache(bench.key, monkeypatch))


def test_the_scan_of_the_index_is_mapped_too(bench, monkeypatch):
    monkeypatch.setattr(flat_index, "_DIVIDED_FROM", 1)
    first = fresh(bench.key)
    again = fresh(bench.key)
    assert mapped(again)
    for field in fields(RoundedHeads):
        one, other = (getattr(state.index.heads, field.name) for state in (first, again))
        assert one.tobytes() == other.tobytes()
        assert other.flags.c_contiguous
        assert not other.flags.owndata
    assert_same(again, first)


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.setenv(VECTORS, "disk")


def test_vectors_on_disk_give_the_same_state(bench, monkeypatch):
    held = without_cache(bench.key, monkeypatch)
    assert isinstance(held.index, FlatIndex)
    monkeypatch.setenv(VECTORS, "disk")
    first = fresh(bench.key)
    assert isinstance(first.index, DiskIndex)
    again = fresh(bench.key)
    assert mapped(again)
    for part in (again.index.rows.mapped, again.index.scan.heads, again.index.scan.tails):
        assert not part.flags.owndata
    assert_same(first, again)
    assert_same(again, held)


@pytest.mark.usefixtures("disk")
def test_later_vectors_stand_beside_those_on_disk_until_a_new_entry_is_written(bench, monkeypatch):
    monkeypatch.setattr(state, "NEW_SHARE", 0.5)
    before = fresh(bench.key)
    bench.add(FRAME[FRAME["date"] == LAST])
    advanced = fresh(bench.key)
    assert len(advanced.index.rows.mapped) == len(before.patterns) < len(advanced.patterns)
    assert_same(advanced, without_cache(bench.key, monkeypatch))
    monkeypatch.setattr(state, "NEW_SHARE", 0)
    fresh(bench.key)
    assert len(fresh(bench.key).index.rows.mapped) == len(advanced.patterns)
    assert_same(fresh(bench.key), advanced)


def test_an_entry_made_with_vectors_in_memory_serves_those_on_disk_and_the_other_way_round(bench, monkeypatch):
    held = fresh(bench.key)
    rounded = []
    monkeypatch.setattr(QuantisedScan, "of", lambda vectors: rounded.append(len(vectors)) or ROUND(vectors))
    monkeypatch.setenv(VECTORS, "disk")
    for _ in range(2):
        again = fresh(bench.key)
        assert mapped(again)
        assert isinstance(again.index, DiskIndex)
    # What has to be rounded is written beside the rest.
    assert rounded == [len(held.patterns)]
    assert_same(again, held)
    monkeypatch.delenv(VECTORS)
    assert isinstance(fresh(bench.key).index, FlatIndex)


@pytest.mark.usefixtures("disk")
def test_vectors_on_disk_of_a_home_that_takes_no_file(bench, monkeypatch, tmp_path):
    held = fresh(bench.key)
    asked = []
    real = state.scratch

    def refuse(folder, size):
        asked.append(folder)
        if folder.name == INDEX_CACHE:
            raise OSError("read-only file system")
        return real(folder, size)

    monkeypatch.setattr(state, "scratch", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert_same(without_cache(bench.key, monkeypatch), held)
    assert asked == [bench.home.folder / INDEX_CACHE, tmp_path]

    def none(folder, size):
        raise OSError(f"no space left in {folder.name} for {size}")

    monkeypatch.setattr(state, "scratch", none)
    with pytest.raises(HomeError, match=r"no space left in .*; make room, .*TMPDIR, or set KLINE_VECTORS=memory"):
        without_cache(bench.key, monkeypatch)


@pytest.mark.usefixtures("disk")
def test_an_approximate_index_holds_its_vectors(bench, monkeypatch):
    settings = bench.key.settings
    approximate = replace(settings.factor, index="ivf", min_recall=0)
    key = replace(bench.key, settings=replace(settings, factor=approximate))
    assert isinstance(without_cache(key, monkeypatch).index, FlatIndex)


def test_added_days_are_read_and_the_rest_is_mapped(bench, monkeypatch):
    fresh(bench.key)
    added = FRAME[FRAME["date"] == LAST]
    bench.add(added)
    reads = []
    real = state._load_patterns
    monkeypatch.setattr(state, "_load_patterns", lambda *args: reads.append(args) or real(*args))
    advanced = fresh(bench.key)
    assert not reads
    assert_same(advanced, without_cache(bench.key, monkeypatch))
    # One of ten is more than an entry may lack.
    assert len(entries(bench)) == 2
    assert mapped(fresh(bench.key))


@pytest.mark.parametrize("damaged", [False, True])
def test_a_fresh_process_extends_patterns_from_what_is_mapped(bench, monkeypatch, damaged):
    fresh(bench.key)
    whole = Bench.of(bench.home.folder.parent / "whole", FRAME[FRAME["date"] <= LAST], SMALL_SETTINGS, bench.weights)
    if damaged:
        (entry(bench) / "bars.close.npy").write_bytes(b"no array")
    reads = []
    for kind in (BarsKey, CatalogueKey, PatternsKey):
        real = kind.load
        monkeypatch.setattr(kind, "load", lambda key, kind=kind, real=real: reads.append(kind.__name__) or real(key))
    add_bars(bench.home, FRAME[FRAME["date"] == LAST])
    _cache._caches.clear()
    settings = bench.settings.patterns
    update = tasks.update(BarsKey.newest(bench.home), settings, EncoderKey.of(bench.weights, "cpu"), 100, 1)
    assert update.added == 3
    assert sorted(reads) == (["BarsKey", "CatalogueKey", "PatternsKey"] if damaged else [])
    keys = [("symbol", "ascending"), ("end", "ascending")]
    assert bench.home.read("patterns").sort_by(keys).equals(whole.home.read("patterns").sort_by(keys))


@pytest.mark.parametrize("what", ["settings", "encoder"])
def test_a_fresh_process_makes_patterns_beside_others(bench, tmp_path, what):
    fresh(bench.key)
    _cache._caches.clear()
    settings = replace(SMALL_SETTINGS.patterns, barrier_up=0.2) if what == "settings" else SMALL_SETTINGS.patterns
    weights = write_encoder(tmp_path / "other", seed=5) if what == "encoder" else bench.weights
    update = tasks.update(BarsKey.newest(bench.home), settings, EncoderKey.of(weights, "cpu"), 1_000, 1)
    assert update.added == len(bench.key.catalogue.windows())
    assert update.table != "patterns"


@pytest.mark.slow
@pytest.mark.long
def test_few_added_patterns_are_read_again_each_time(bench, monkeypatch):
    monkeypatch.setattr(state, "NEW_SHARE", 0.5)
    fresh(bench.key)
    bench.add(FRAME[FRAME["date"] == LAST])
    for _ in range(2):
        assert_same(fresh(bench.key), without_cache(bench.key, monkeypatch))
    assert len(entries(bench)) == 1


def test_an_older_version_is_mapped_from_no_newer_entry(bench, monkeypatch):
    old = bench.key
    bench.add(FRAME[FRAME["date"] == LAST])
    fresh(bench.key)
    assert_same(fresh(old), without_cache(old, monkeypatch))
    assert len(fresh(old).patterns) < len(fresh(bench.key).patterns)


@pytest.mark.slow
@pytest.mark.long
def test_restated_bars_and_compacted_files_are_read_in_full(bench, monkeypatch):
    fresh(bench.key)
    frame = FRAME[FRAME["date"] < LAST].copy()
    frame.loc[frame.index[3], "low"] /= 2
    replace_bars(bench.home, frame, "S00000")
    bench.extend()
    assert_same(fresh(bench.key), without_cache(bench.key, monkeypatch))
    bench.add(FRAME[FRAME["date"] == LAST])
    fresh(bench.key)
    for table in ("bars", "patterns"):
        bench.home.compact(table, 2**26)
    assert_same(fresh(bench.key), without_cache(bench.key, monkeypatch))
    assert mapped(fresh(bench.key))


@pytest.mark.parametrize("table", ["bars", "patterns"])
def test_a_data_file_that_was_touched_is_read_and_its_damage_found(bench, table):
    fresh(bench.key)
    name = next(iter(bench.home.files(table)))
    file = bench.home.folder / table / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(HomeError, match="is not what was written"):
        fresh(bench.key)
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert not mapped(fresh(bench.key))
    assert mapped(fresh(bench.key))


def content_size(file):
    """Bytes of an array's file without the room behind it."""
    with file.open("rb") as stream:
        npy.read_magic(stream)
        shape, _, dtype = npy.read_array_header_1_0(stream)
        return stream.tell() + math.prod(shape) * dtype.itemsize


def assert_noticed(bench, file, at, expected):
    """That a bit which differs is noticed, changes nothing, and is put right."""
    content = file.read_bytes()
    damaged = bytearray(content)
    damaged[at] ^= 1 << (at % 8)
    file.write_bytes(damaged)
    said = []
    with listening(lambda _, text: said.append(text)):
        found = fresh(bench.key)
    assert not mapped(found)
    assert any("is damaged, and removed" in text for text in said)
    assert_same(found, expected)
    assert file.read_bytes() == content


def test_a_byte_that_differs_changes_no_value(bench, monkeypatch):
    expected = without_cache(bench.key, monkeypatch)
    fresh(bench.key)
    for name in ("patterns.vectors.npy", "arrays.json"):
        assert_noticed(bench, entry(bench) / name, 200, expected)


@pytest.mark.slow
@pytest.mark.long
def test_no_byte_of_any_file_changes_a_value(bench, monkeypatch):
    expected = without_cache(bench.key, monkeypatch)
    fresh(bench.key)
    for file in sorted(entry(bench).iterdir()):
        size = content_size(file) if file.suffix == ".npy" else file.stat().st_size
        for at in np.random.default_rng(size).choice(size, 3, replace=False).tolist():
            assert_noticed(bench, file, at, expected)


def test_what_lies_in_the_room_behind_an_array_changes_no_value(bench, monkeypatch):
    fresh(bench.key)
    for file in sorted(entry(bench).glob("*.npy")):
        content, size = bytearray(file.read_bytes()), content_size(file)
        content[size:] = b"\x7f" * (len(content) - size)
        stamps = file.stat()
        file.write_bytes(content)
        os.utime(file, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    file = entry(bench) / "patterns.vectors.npy"
    assert file.stat().st_size > content_size(file)
    bench.add(FRAME[FRAME["date"] == LAST])
    found = fresh(bench.key)
    bars = _cache.loaded(bench.key.bars)
    assert bars.base is not None
    assert {memory_of(frame.close) for frame in bars.frames.values()} == {memory_of(bars.room.columns["close"])}
    assert_same(found, without_cache(bench.key, monkeypatch))


def test_where_a_process_may_not_have_so_much_the_cache_is_mapped_without_room(bench, monkeypatch):
    fresh(bench.key)

    def refused(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(_growing.Memory, "__init__", refused)
        again = fresh(bench.key)
        assert mapped(again)
        assert _cache.loaded(bench.key.bars).room is None
        bench.add(FRAME[FRAME["date"] == LAST])
        assert_same(load_state(bench.key), without_cache(bench.key, monkeypatch))


def test_a_description_that_fits_its_checksum_and_nothing_else_is_not_trusted(bench, monkeypatch):
    expected = without_cache(bench.key, monkeypatch)
    fresh(bench.key)
    text = (entry(bench) / "arrays.json").read_bytes().rpartition(b"\n")[0].replace(b"patterns.returns", b"patterns.r")
    (entry(bench) / "arrays.json").write_bytes(text + f"\n{zlib.crc32(text):08x}".encode())
    assert_same(fresh(bench.key), expected)


@pytest.mark.parametrize("what", ["code", "identity", "settings", "calendars"])
def test_what_others_made_is_left_alone(bench, monkeypatch, what):
    fresh(bench.key)
    key = bench.key
    if what == "code":
        monkeypatch.setattr(index_cache, "CODE", "0" * 16)
    elif what == "identity":
        monkeypatch.setattr(index_cache, "_origin", lambda _: {"bars_identity": "another"})
    elif what == "calendars":
        monkeypatch.setattr(index_cache, "version", lambda _: "0.0")
    else:
        monkeypatch.setattr(index_cache, "pattern_fingerprint", lambda *_: "1" * 16)
    assert not mapped(fresh(key))
    assert mapped(fresh(key))


def test_an_entry_of_other_released_jumps_is_not_used(bench, monkeypatch):
    """A home that was restored from a copy may have the same files, and other notes."""
    fresh(bench.key)
    assert mapped(fresh(bench.key))
    monkeypatch.setattr(index_cache, "released", lambda _: {"S00000": {"2020-01-09": {"why": "real"}}})
    assert not mapped(fresh(bench.key))


def test_a_home_that_moved_or_was_copied_is_read_again(bench, tmp_path, monkeypatch):
    fresh(bench.key)
    shutil.copytree(bench.home.folder, tmp_path / "copy")
    copy = Bench(type(bench.home)(tmp_path / "copy"), bench.settings, bench.weights)
    found = fresh(copy.key)
    assert not mapped(found), "a copy's files are others, whatever their names"
    assert_same(found, without_cache(bench.key, monkeypatch))


def test_a_home_without_room_or_that_cannot_be_written_is_loaded_as_before(bench, monkeypatch):
    said = []

    def full(*_):
        raise OSError("no space left: the disk has 0.0 MB free")

    monkeypatch.setattr(array_folder, "check_space", full)
    with listening(lambda _, text: said.append(text)):
        assert len(fresh(bench.key).patterns)
    assert any("was not written (no space left" in text for text in said)
    assert entries(bench) == []
    monkeypatch.undo()
    monkeypatch.setattr(index_cache, "LEAST_CACHED", 1)
    shutil.rmtree(bench.home.folder / INDEX_CACHE)
    (bench.home.folder / INDEX_CACHE).write_text("a file in its place")
    assert len(fresh(bench.key).patterns)
    assert len(fresh(bench.key).patterns)


def test_processes_that_write_at_once_leave_one(bench):
    loaded = fresh(bench.key)
    bars, stamps = bench.key.bars.load(), index_cache.file_stamps(bench.home, bench.key)
    shutil.rmtree(bench.home.folder / INDEX_CACHE)
    with ThreadPoolExecutor(4) as pool:
        written = [
            pool.submit(index_cache.keep_state, bench.home, bench.key, bars, loaded.patterns, loaded.index, stamps)
            for _ in range(12)
        ]
        for each in written:
            each.result()
    assert len(entries(bench)) == 1
    assert mapped(fresh(bench.key))


def test_a_file_that_changed_while_it_was_read_is_not_vouched_for(bench):
    loaded = fresh(bench.key)
    stamps = index_cache.file_stamps(bench.home, bench.key)
    shutil.rmtree(bench.home.folder / INDEX_CACHE)
    os.utime(bench.home.folder / "patterns" / next(iter(bench.home.files("patterns"))))
    index_cache.keep_state(bench.home, bench.key, bench.key.bars.load(), loaded.patterns, loaded.index, stamps)
    assert entries(bench) == []


def test_it_is_bounded_removed_in_time_and_known_to_verify(bench):
    for day in FRAME["date"].drop_duplicates().iloc[DAYS:]:
        fresh(bench.key)
        bench.add(FRAME[FRAME["date"] == day])
    assert len(entries(bench)) == 2
    assert verify(bench.home, bench.settings, bench.weights).notes == []
    file = entry(bench) / "patterns.vectors.npy"
    content = bytearray(file.read_bytes())
    content[content_size(file) - 1] ^= 1
    file.write_bytes(content)
    report = verify(bench.home, bench.settings, bench.weights)
    assert report.ok
    assert [f"{INDEX_CACHE}/{entry(bench).name} is damaged" in note for note in report.notes] == [True]
    for name in array_folders(bench.home.folder / INDEX_CACHE):
        os.utime(bench.home.folder / INDEX_CACHE / name, (0, 0))
    vacuum(bench.home)
    assert array_folders(bench.home.folder / INDEX_CACHE) == []


def test_small_homes_have_none(bench, monkeypatch):
    monkeypatch.setattr(index_cache, "LEAST_CACHED", 20_000)
    fresh(bench.key)
    assert entries(bench) == []
    key = replace(bench.key, patterns_version=None)
    assert index_cache.file_stamps(bench.home, key) is None


def test_bars_come_without_patterns_of_theirs(bench):
    """An entry of an earlier version is no reason to accept patterns that lag behind."""
    fresh(bench.key)
    add_bars(bench.home, FRAME[FRAME["date"] == LAST])
    with pytest.raises(StaleError, match="lag behind its bars"):
        fresh(bench.key)
