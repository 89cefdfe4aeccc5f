"""Arrays that grow without being copied: memory with room behind what is held.

What a process holds of a home never changes, and the state of the next day begins with that of the day before. So the
next rows are written behind the held ones, where no earlier array reaches, and both share the memory. Only one array
can go on in the same place: who comes second copies.
"""

import mmap
import os
import threading
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SPARE: Final = 1 / 8
"""Room behind an array, as a share of it. What is never written takes no memory, and no disk."""
_LEAST: Final = 1 << 20
"""Bytes from which on an array has room: smaller ones are copied as quickly."""


CLAIMING: Final = threading.Lock()
"""Held while room is given away, not while it is written."""
if hasattr(os, "register_at_fork"):
    # A child has but the thread that forked: it would wait for one that holds the lock for ever.
    os.register_at_fork(before=CLAIMING.acquire, after_in_parent=CLAIMING.release, after_in_child=CLAIMING.release)


class Memory(mmap.mmap):
    """Memory of this process alone, of which the first `taken` bytes have been given away.

    `written`: whether it holds, or is about to hold, what no file holds.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        self.address = np.frombuffer(self, np.uint8).ctypes.data
        self.taken = len(self)
        self.written = False

    @classmethod
    def of(cls, size: int) -> "Memory":
        """New memory, all zeros. Raises MemoryError."""
        try:
            memory = cls(-1, size, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise MemoryError(f"there are no {size} bytes of memory for an array") from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            # A hint, which systems without such pages refuse.
            with suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return memory

    def claim(self, start: int, size: int) -> bool:
        """Whether so many bytes from `start` on were nobody's; they are the caller's then."""
        with CLAIMING:
            mine = self.taken == start and start + size <= len(self)
            if mine:
                self.taken += size
                self.written = True
        return mine

    def release(self) -> None:
        """Let go of the pages of a mapped file, unless what was written would go with them."""
        with CLAIMING:
            if not self.written and hasattr(mmap, "MADV_DONTNEED"):
                self.madvise(mmap.MADV_DONTNEED)

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...], start: int) -> NDArray[Any]:
        """A part as an array that can be written."""
        return np.frombuffer(self, np.uint8)[start : start + _bytes(dtype, shape)].view(dtype).reshape(shape)


def with_room(dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of zeros to be written, of which `followed_by` makes longer ones without a copy."""
    kind = np.dtype(dtype)
    size = _bytes(kind, shape)
    if size < _LEAST:
        return np.zeros(shape, kind)
    memory = Memory.of(with_spare(size))
    memory.taken, memory.written = size, True
    return memory.array(kind, shape, 0)


def with_spare(size: int) -> int:
    """Bytes of an array of so many bytes with the room behind it."""
    return size + int(size * SPARE)


def followed_by(held: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
    """Rows and then others, read-only: as `numpy.concatenate`, but behind those rows where there is room for others."""
    shape = (len(held) + len(more), *held.shape[1:])
    memory = memory_of(held)
    alike = held.dtype == more.dtype and held.shape[1:] == more.shape[1:]
    if memory is not None and alike and held.flags.c_contiguous and held.nbytes:
        first = held.ctypes.data - memory.address
        end = first + held.nbytes
        if memory.claim(end, more.nbytes):
            memory.array(held.dtype, more.shape, end)[...] = more
            return read_only(memory.array(held.dtype, shape, first))
    both = with_room(np.result_type(held, more), shape)
    np.concatenate([held, more], out=both)
    return read_only(both)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written."""
    view = array.view()
    view.flags.writeable = False
    return view


def memory_of(array: NDArray[Any]) -> Memory | None:
    """The memory that an array is a part of, None if it is of another kind."""
    owner = owner_of(array)
    return owner if isinstance(owner, Memory) else None


def owner_of(array: NDArray[Any]) -> Any:
    """What the memory of an array belongs to, beneath all arrays."""
    owner: Any = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return owner


def _bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return int(dtype.itemsize * np.prod(shape, dtype=np.int64))
