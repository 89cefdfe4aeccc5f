"""Arrays that grow without a copy: whatever is gone on with, and how often, no array that was there changes."""

import errno
import mmap
import os
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core import _growing
from kline_core._growing import followed_by, memory_of, read_only, with_room
from kline_core.store.mapping import map_with_room, release
from tests.support.examples import examples

KINDS = ["<f4", "<f8", "u1", "M8[D]", "?"]


@pytest.fixture(autouse=True)
def always_with_room(monkeypatch):
    monkeypatch.setattr(_growing, "_LEAST", 1)


def some(rng, kind, shape):
    return rng.integers(0, 2, shape).astype(bool) if kind == "?" else rng.integers(0, 99, shape).astype(kind)


@settings(max_examples=examples(100))
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.sampled_from([(), (1,), (3,)]),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=25),
)
def test_every_array_is_what_a_copy_would_be(seed, kind, rest, steps):
    rng = np.random.default_rng(seed)
    first = with_room(kind, (rng.integers(0, 40), *rest))
    first[...] = some(rng, kind, first.shape)
    arrays, copies = [read_only(first)], [first.copy()]
    for which, count in steps:
        at, more = which % len(arrays), some(rng, kind, (count, *rest))
        arrays.append(followed_by(arrays[at], more))
        copies.append(np.concatenate([copies[at], more]))
    for array, copy in zip(arrays, copies, strict=True):
        assert array.dtype == copy.dtype
        assert array.shape == copy.shape
        assert array.tobytes() == copy.tobytes()
        assert array.flags.c_contiguous
        assert not array.flags.writeable


def test_the_next_rows_are_written_behind_the_held_ones_until_there_is_no_room():
    held = read_only(with_room("<f4", (800, 3)))
    one = followed_by(held, np.ones((60, 3), "<f4"))
    two = followed_by(one, np.ones((40, 3), "<f4"))
    assert {each.ctypes.data for each in (one, two)} == {held.ctypes.data}
    beyond = followed_by(two, np.ones((1, 3), "<f4"))
    assert beyond.ctypes.data != held.ctypes.data
    assert beyond[800:].min() == 1
    assert followed_by(beyond, beyond[:5]).ctypes.data == beyond.ctypes.data


def test_only_one_array_goes_on_in_the_same_place():
    held = read_only(with_room("<i8", (800,)))
    one, other = (followed_by(held, np.full(9, value)) for value in (1, 2))
    assert one.ctypes.data == held.ctypes.data
    assert other.ctypes.data != held.ctypes.data
    assert (one[800:] == 1).all()
    assert (other[800:] == 2).all()


def test_parts_and_other_kinds_of_arrays_are_copied():
    held = read_only(with_room("<f4", (800, 4)))
    for array in (held[:700], held[::2], held[:, :2], np.zeros((9, 4), "<f4")):
        more = np.ones((3, array.shape[1]), "<f4")
        found = followed_by(array, more)
        assert not np.shares_memory(found, held)
        assert np.array_equal(found, np.concatenate([array, more]))
    wider = followed_by(held, np.ones((3, 4)))
    assert wider.dtype == np.float64
    assert followed_by(held, np.ones((3, 4), "<f4")).ctypes.data == held.ctypes.data


def test_small_arrays_are_ordinary_ones(monkeypatch):
    monkeypatch.setattr(_growing, "_LEAST", 1 << 20)
    assert memory_of(with_room("<f4", (100,))) is None
    assert memory_of(followed_by(np.zeros(5), np.zeros(2))) is None


def test_threads_that_go_on_from_the_same_array_do_not_meet():
    held = read_only(with_room("<i8", (4000,)))
    start = threading.Barrier(8)

    def go(value):
        start.wait()
        return followed_by(held, np.full(50, value))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(go, range(1, 9)))
    for value, array in enumerate(found, 1):
        assert (array[:4000] == 0).all()
        assert (array[4000:] == value).all()
    assert sum(array.ctypes.data == held.ctypes.data for array in found) == 1


def test_a_file_is_gone_on_with_in_memory_and_stays_as_it_is(tmp_path):
    file = tmp_path / "rows"
    file.write_bytes(bytes(range(100)) + b"\x7f" * 20)
    held = map_with_room(file, 100)
    assert not held.flags.writeable
    release(held)
    assert held.tobytes() == bytes(range(100))
    more = followed_by(held, np.full(15, 9, "u1"))
    assert more.ctypes.data == held.ctypes.data
    release(more)
    assert more.tobytes() == bytes(range(100)) + b"\x09" * 15, "what was written is nowhere else"
    assert file.read_bytes() == bytes(range(100)) + b"\x7f" * 20
    assert followed_by(more, held[:6]).ctypes.data != held.ctypes.data


def test_rows_of_another_shape_are_refused_as_by_a_copy():
    held = read_only(with_room("<f4", (100, 8)))
    with pytest.raises(ValueError, match="must match exactly"):
        followed_by(held, np.ones((4, 6), "<f4"))
    assert followed_by(held, np.ones((4, 8), "<f4")).ctypes.data == held.ctypes.data


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no such pages")
def test_a_system_without_large_pages_does_without_them(monkeypatch):
    def refused(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(_growing.Memory, "madvise", refused, raising=False)
    assert followed_by(with_room("<f4", (100,)), np.ones(5, "<f4"))[100:].tolist() == [1] * 5


def test_no_memory_is_a_memory_error_and_a_file_is_then_mapped_without_room(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    (tmp_path / "rows").write_bytes(bytes(range(120)))
    monkeypatch.setattr(_growing.Memory, "__init__", refused)
    with pytest.raises(MemoryError, match="no 112 bytes"):
        with_room("u1", (100,))
    held = map_with_room(tmp_path / "rows", 100)
    assert held.tobytes() == bytes(range(100))
    assert memory_of(held) is None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_that_is_forked_while_room_is_given_away_does_not_wait_for_ever():
    held, holding = read_only(with_room("<i8", (800,))), threading.Event()
    done = threading.Event()

    def hold():
        with _growing.CLAIMING:
            holding.set()
            done.wait(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(60)
    with warnings.catch_warnings():
        # Of threads beside the one that forks, which is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if len(followed_by(held, np.ones(3, "<i8"))) == 803 else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
