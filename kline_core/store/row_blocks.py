"""Blocks of rows of an array in a folder (`kline_core.store.array_folder`), for a reader that needs no others.

A checksum of the whole file would have all of it read. So a second array holds the CRC-32 of each block, and what is
read is compared with these.
"""

import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from kline_core._growing import with_spare
from kline_core._logging import one_line
from kline_core.store.array_folder import DamagedArraysError, Parts, array_path, parts_of
from kline_core.store.mapping import release


def block_checksums(array: Parts, block: int) -> NDArray[np.uint32]:
    """CRC-32 of each block of so many rows of an array, of which the last may be shorter: uint32 (blocks,)."""
    parts = parts_of(array)
    count = sum(map(len, parts))
    found = np.zeros(-(-count // block), dtype=np.uint32)
    start = 0
    for part in parts:
        # A block may begin in one part and end in the next.
        for number in range(start // block, -(-(start + len(part)) // block)):
            rows = part[max(0, number * block - start) : (number + 1) * block - start]
            found[number] = zlib.crc32(np.ascontiguousarray(rows).view(np.uint8).data, int(found[number]))
        release(part)
        start += len(part)
    return found


def shape_of(folder: Path, name: str) -> tuple[int, ...]:
    """Shape of an array. Raises OSError, and `DamagedArraysError` if its file is none of an array of that size."""
    with array_path(folder, name).open("rb") as stream:
        return _header(stream)[0]


def read_blocks(
    folder: Path, name: str, checksums: NDArray[np.uint32], block: int, numbers: Sequence[int], out: NDArray[Any]
) -> None:
    """Read the blocks with these numbers of an array, one after the other, into `out`.

    Args:
        folder: Folder of the array.
        name: Its name.
        checksums: Those of `block_checksums`.
        block: Rows of a block.
        numbers: Numbers of the blocks, ascending.
        out: C-contiguous, with the rows of these blocks and the type of the array.

    Raises `DamagedArraysError` if a block is not what was written, ValueError if the array is of another form, and
    OSError.
    """
    with array_path(folder, name).open("rb", buffering=0) as stream:
        shape, dtype = _header(stream)
        begin = stream.tell()
        if dtype != out.dtype or shape[1:] != out.shape[1:] or len(checksums) != -(-shape[0] // block):
            raise ValueError(f"{name} is {dtype} {shape}, which is not what was asked for")
        if hasattr(os, "posix_fadvise"):
            # Otherwise the system reads ahead, which is what lies between.
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        width, at = out[:1].nbytes, 0
        for number in numbers:
            count = min(block, shape[0] - number * block)
            room = out[at : at + count].view(np.uint8).reshape(-1).data
            stream.seek(begin + number * block * width)
            if _fill(stream, room) < len(room) or zlib.crc32(room) != checksums[number]:
                raise DamagedArraysError(f"{array_path(folder, name)} is not what was written")
            at += count
        if at != len(out):
            raise ValueError(f"{at} rows of {name} were read, not {len(out)}")


def _fill(stream: Any, room: memoryview) -> int:
    """Read until the room is full, or nothing is left; the bytes that were read."""
    done = 0
    while done < len(room) and (more := stream.readinto(room[done:])):
        done += more
    return done


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """What NumPy reads of an array before its rows, which no checksum covers."""
    try:
        npy.read_magic(stream)
        shape, _, dtype = npy.read_array_header_1_0(stream)
    except OSError:
        raise
    except Exception as error:
        # It is a piece of Python, and whatever is wrong with it has an error of its own.
        raise DamagedArraysError(f"{stream.name} is none of an array ({one_line(error)})") from error
    size, content = os.fstat(stream.fileno()).st_size, stream.tell() + math.prod(shape) * dtype.itemsize
    if size not in (content, with_spare(content)):
        raise DamagedArraysError(f"{stream.name} has {size} bytes, which are no rows of {dtype} {shape}")
    return shape, dtype
