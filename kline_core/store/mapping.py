"""Files mapped into memory, and the letting go of what was read of them."""

import errno
import mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kline_core._growing import Memory, owner_of, read_only
from kline_core.store.folder import check_space
from kline_core.typing import Pixels


def map_file(path: Path) -> Pixels:
    """The bytes of a file that is not empty, uint8 (n,), read-only; mapped as long as there is a view of them."""
    with path.open("rb") as stream:
        return np.frombuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def map_with_room(path: Path, taken: int) -> Pixels:
    """The first `taken` bytes of a file, uint8 (n,), read-only; `kline_core._growing.followed_by` goes on behind them.

    What it writes there is memory of this process, and never gets into the file. Where the process may not have so much
    (its limit of data, or a system that promises no more memory than it has), they are mapped without room.
    """
    with path.open("rb") as stream:
        try:
            memory = Memory(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            return map_file(path)[:taken]
    memory.taken = min(taken, len(memory))
    return read_only(np.frombuffer(memory, np.uint8, memory.taken))


def scratch(folder: Path, size: int) -> Pixels:
    """A new file of so many bytes, more than none, mapped to be written: uint8 (size,). It is gone with the mapping.

    Raises OSError.
    """
    check_space(folder, size)
    with TemporaryFile(dir=folder) as stream:
        stream.truncate(size)
        return np.frombuffer(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_WRITE), np.uint8)


def release(array: NDArray[Any]) -> None:
    """Let go of the pages that this process has of a mapped file, of which an array is a part.

    They are read again where they are needed, most likely from the system's own memory, which it takes back when others
    need it. Does nothing to other arrays, and on systems that know no such thing.
    """
    mapping = owner_of(array)
    if isinstance(mapping, Memory):
        mapping.release()
    elif isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
