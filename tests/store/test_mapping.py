import mmap
from pathlib import Path

import numpy as np
import pytest

from kline_core.store import mapping
from kline_core.store.mapping import map_file, release, scratch

MANY = 8 << 20


def resident(name="RssFile"):
    """Bytes of mapped files that are in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def test_a_file_is_mapped_read_only(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    found = map_file(tmp_path / "file")
    assert found.tobytes() == b"abc"
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system knows no such advice")
def test_what_was_read_is_let_go_and_read_again(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * MANY)
    part = map_file(tmp_path / "file")[7:].view("S1")
    before = resident()
    assert (part == b"x").all()
    assert resident() > before + MANY / 2
    release(part)
    assert resident() < before + MANY / 2
    assert (part == b"x").all()


def test_what_is_in_memory_stays_as_it_is():
    array = np.arange(5)
    release(array[1:])
    assert array.tolist() == [0, 1, 2, 3, 4]


def test_a_scratch_file_keeps_what_is_written_and_is_gone_with_its_array(tmp_path):
    made = scratch(tmp_path, MANY)
    assert list(tmp_path.iterdir()) == []
    made[:] = 7
    release(made)
    assert (made == 7).all()


def test_a_scratch_file_that_no_disk_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(mapping, "check_space", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        scratch(tmp_path, MANY)
