import os
import shutil

import numpy as np
import pytest

from kline_core.store import array_folder as module
from kline_core.store.array_folder import (
    DamagedArraysError,
    array_folders,
    read_arrays,
    read_description,
    remove_arrays,
    remove_superseded,
    remove_unused,
    write_arrays,
)

ARRAYS = {
    "vectors": np.arange(12, dtype=np.float32).reshape(3, 4),
    "days": np.array(["2020-01-06", "NaT", "1969-12-31"], "datetime64[D]"),
    "hashes": np.array([0, 2**64 - 1], np.uint64),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 4), np.float32),
    "numbers": np.array([np.nan, -0.0, np.inf]),
}


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    assert write_arrays(tmp_path / "one", {"of": [1, "é"]}, ARRAYS)
    return tmp_path / "one"


def test_arrays_come_back_bit_for_bit_mapped_and_read_only(folder):
    assert read_description(folder) == {"of": [1, "é"]}
    found = read_arrays(folder)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert not found[name].flags.writeable
        assert not found[name].flags.owndata


def test_any_byte_that_differs_is_noticed(folder):
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for at in range(0, len(whole), 3):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            with pytest.raises(DamagedArraysError):
                read_arrays(folder)
        for damaged in (b"", whole[:-1], whole + b"\0", whole[::-1]):
            file.write_bytes(damaged)
            with pytest.raises(DamagedArraysError):
                read_arrays(folder)
        file.write_bytes(whole)
    read_arrays(folder)


def test_a_file_that_is_gone_is_no_damage(folder):
    (folder / "flags.npy").unlink()
    with pytest.raises(FileNotFoundError):
        read_arrays(folder)


def test_what_is_there_is_never_replaced(folder, tmp_path):
    assert not write_arrays(folder, {"of": "another"}, {"vectors": np.zeros(2)})
    assert read_description(folder) == {"of": [1, "é"]}
    assert names(tmp_path) == ["one"]


def test_what_is_mapped_stays_readable_after_it_was_removed_and_made_again(folder):
    found = read_arrays(folder)["vectors"]
    remove_arrays(folder)
    write_arrays(folder, {}, {"vectors": np.zeros((3, 4), np.float32)})
    np.testing.assert_array_equal(found, ARRAYS["vectors"])
    remove_arrays(folder)
    remove_arrays(folder)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    real = module._write

    def full(path, array, room):
        if path.name == "days.npy":
            raise OSError(28, "No space left on device")
        return real(path, array, room)

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        write_arrays(tmp_path / "one", {}, ARRAYS)
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        write_arrays(tmp_path / "gone" / "one", {}, ARRAYS)
    assert names(tmp_path) == []


def test_a_writer_that_was_killed_leaves_no_folder_of_that_name(folder, tmp_path):
    cut_off = tmp_path / f"{module._WAITING}1"
    shutil.copytree(folder, cut_off)
    assert array_folders(tmp_path) == ["one"]
    remove_unused(tmp_path, 0.0)
    assert cut_off.is_dir(), "its writer may be at work"
    os.utime(cut_off, (0, 0))
    remove_unused(tmp_path, 0.0)
    assert names(tmp_path) == ["one"]
    remove_unused(tmp_path, folder.stat().st_mtime + 1)
    assert array_folders(tmp_path) == []
    assert array_folders(tmp_path / "gone") == []
    remove_unused(tmp_path / "gone", 1.0)


def test_the_last_ones_written_of_a_kind_stay(tmp_path):
    for age, name in enumerate(("a-3", "a-1", "b-1", "a-2")):
        write_arrays(tmp_path / name, {}, {})
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    remove_superseded(tmp_path, "a-")
    assert array_folders(tmp_path) == ["a-1", "a-3", "b-1"]
