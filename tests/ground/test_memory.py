"""What this process may have, and where vectors are then."""

from collections import namedtuple

import psutil
import pytest

from kline_core import _memory
from kline_core._memory import VECTORS, container_limit, grant, memory_limit, on_disk
from kline_core.errors import SettingError

GB = 10**9
Machine = namedtuple("Machine", "total")


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine of 16 GB, on which neither container nor cluster sets a limit."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Machine(16 * GB))
    monkeypatch.setattr(_memory, "_CGROUPS", (tmp_path / "new", tmp_path / "old"))
    monkeypatch.setattr(_memory, "_granted", [])
    return tmp_path


def test_the_least_of_machine_container_and_cluster(machine):
    assert memory_limit() == 16 * GB
    (machine / "old").write_text("9000000000\n")
    assert container_limit() == memory_limit() == 9 * GB
    (machine / "new").write_text("max\n")
    assert memory_limit() == 9 * GB
    (machine / "new").write_text("8000000000\n")
    assert memory_limit() == 8 * GB
    grant(3 * GB)
    assert memory_limit() == 3 * GB
    grant(None)
    assert memory_limit() == 8 * GB


def test_vectors_that_take_too_large_a_share_are_on_disk(monkeypatch):
    assert not on_disk(2 * GB)
    assert on_disk(2 * GB + 1)
    assert on_disk(2 * GB, limit=15 * GB)
    monkeypatch.setenv(VECTORS, "memory")
    assert not on_disk(100 * GB)
    monkeypatch.setenv(VECTORS, " disk ")
    assert on_disk(1)


def test_a_place_that_nobody_knows(monkeypatch):
    monkeypatch.setenv(VECTORS, "tape")
    with pytest.raises(SettingError, match="KLINE_VECTORS is 'tape'; set it to memory or disk, or unset it") as raised:
        on_disk(1)
    assert (raised.value.parameter, raised.value.value) == (VECTORS, "tape")
