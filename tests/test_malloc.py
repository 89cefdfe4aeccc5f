"""The allocator of a worker that a nanny of Dask's started."""

import sys

import dask
import distributed  # noqa: F401  its settings
import pytest

from kline_core import _malloc
from tests.support.processes import output_of

CODE = """
import resource
import numpy as np
from kline_core._malloc import undo_trimming
print(undo_trimming())
for _ in range(9):
    np.ones(1 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    np.ones(1 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_the_number_is_dasks():
    assert str(dask.config.get("distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_")) == _malloc._DASKS


def pages_taken(monkeypatch, value):
    """Whether a process undoes a setting, and the new pages that it takes for arrays that come again and again."""
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", value)
    undone, pages = output_of(CODE).split()
    return undone == "True", int(pages)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_only_dasks_own_setting_is_undone(monkeypatch):
    undone, few = pages_taken(monkeypatch, "65536")
    users, many = pages_taken(monkeypatch, "65537")
    assert undone
    assert not users
    assert few < many / 4
