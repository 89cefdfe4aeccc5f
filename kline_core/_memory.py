"""The memory that this process may have, and whether vectors of patterns are held in it or read from disk.

Where they lie changes speed and memory, and no value.
"""

import os
import sys
from pathlib import Path

import psutil

from kline_core.errors import SettingError

VECTORS = "KLINE_VECTORS"
"""Environment variable that says where vectors of patterns are: `memory` or `disk`; by their size where it is unset."""
PLACES = ("memory", "disk")
SHARE = 1 / 8
"""Share of the memory up to which vectors are held in it: bars, what else a pattern has, another version of all of it,
and other processes have to fit beside them."""
_CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# What a cluster allows the worker that this process is, in bytes.
_granted: list[int] = []


def container_limit() -> int:
    """Memory that a container is granted, in bytes; a huge number if there is no limit."""
    for path in _CGROUPS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            return int(text)
    return sys.maxsize


def grant(limit: int | None) -> None:
    """Note what a cluster allows its worker in this process, in bytes; None for no limit."""
    _granted[:] = [] if limit is None else [limit]


def memory_limit() -> int:
    """Memory that this process may have, in bytes: that of the machine, or less where container or cluster say so."""
    return min(psutil.virtual_memory().total, container_limit(), *_granted)


def on_disk(vector_bytes: int, limit: int | None = None) -> bool:
    """Whether vectors of so many bytes are to be read from disk.

    `limit`: memory of the process that holds them, in bytes; None for this one's. Raises `SettingError` if `VECTORS`
    says something else than `PLACES`.
    """
    said = os.environ.get(VECTORS, "").strip()
    if said and said not in PLACES:
        bound = " or ".join(PLACES)
        text = f"{VECTORS} is {said!r}; set it to {bound}, or unset it"
        raise SettingError(text, parameter=VECTORS, value=said, bound=bound)
    return said == "disk" or (not said and vector_bytes > SHARE * (memory_limit() if limit is None else limit))
