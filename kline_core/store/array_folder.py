"""Arrays in a folder: written whole under a name of their own, never changed, and read through memory maps.

Each array is a `.npy` file, and `arrays.json` describes all of them, with the CRC-32 of each file. The folder is filled
under another name and renamed, so that a reader sees all of it or none; whatever is cut off leaves no folder of that
name. What is mapped stays readable after the folder was removed, since nothing is ever written in place.

A reader compares every byte with the checksums before it uses one, which takes as long as reading from memory. CRC-32
tells every change of up to 32 bits in a row for certain; it is no protection against someone who means to deceive.

An array may have room behind it, which takes no disk: mapped, it can be gone on with (`kline_core._growing`).
"""

import hashlib
import io
import json
import shutil
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from kline_core._growing import with_spare
from kline_core.store.folder import check_space
from kline_core.store.mapping import map_file, map_with_room, release

INDEX_CACHE: Final = "index-cache"
"""Folder of a home that holds folders of arrays: what its tables give again, and may be removed at any moment."""
_DESCRIPTION: Final = "arrays.json"
_WAITING: Final = ".waiting-"
_ABANDONED_SECONDS: Final = 3600.0
"""Age from which on a folder that was never renamed is taken for one whose writer is gone."""
_HEADER_BYTES: Final = 1024
_PIECE: Final = 1 << 26
"""Bytes that are compared at a time."""
Parts: TypeAlias = NDArray[Any] | Sequence[NDArray[Any]]
"""An array, or one in parts along its first axis, which are never joined in memory."""
KEPT: Final = 2
"""Folders of one kind that are kept, as a process keeps states: runs on the version before may still read theirs."""


class DamagedArraysError(Exception):
    """A folder of arrays is not what was written."""


def write_arrays(
    folder: Path, described: Mapping[str, Any], arrays: Mapping[str, Parts], room: Collection[str] = ()
) -> bool:
    """Write a folder of arrays with a description of JSON values, unless there is one of that name.

    `room`: names of the arrays that have room behind them.

    Returns whether it was written: False if another writer was faster. Its parent must be there. Raises OSError if it
    cannot be written; nothing is left then.
    """
    waiting = folder.with_name(f"{_WAITING}{uuid4().hex}")
    waiting.mkdir()
    try:
        written = {name: _write(array_path(waiting, name), array, name in room) for name, array in arrays.items()}
        checksums, sizes = ({name: each[part] for name, each in written.items()} for part in range(2))
        text = json.dumps({"described": described, "crc32": checksums, "sizes": sizes}, sort_keys=True)
        (waiting / _DESCRIPTION).write_text(f"{text}\n{zlib.crc32(text.encode()):08x}", "utf-8")
        try:
            waiting.rename(folder)
        except OSError:
            # A folder with something in it is never replaced.
            if folder.is_dir():
                return False
            raise
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return True


def put_arrays(
    folder: Path, described: Mapping[str, Any], arrays: Mapping[str, Parts], kind: str, room: Collection[str] = ()
) -> None:
    """Write a folder of arrays in the place of one that is there, and leave the `KEPT` last written of its kind.

    `kind`: how the names of all folders of the kind begin. `room`: as of `write_arrays`. Raises OSError, also if there
    is too little space.
    """
    parent = folder.parent
    parent.mkdir(exist_ok=True)
    remove_abandoned(parent)
    check_space(parent, 2 * sum(part.nbytes for array in arrays.values() for part in parts_of(array)))
    if folder.is_dir():
        # It did not fit, or it would have been read.
        remove_arrays(folder)
    write_arrays(folder, described, arrays, room)
    remove_superseded(parent, kind)


def digest_of(origin: Mapping[str, Any]) -> str:
    """Digest of what made a folder of arrays, JSON values, for its name."""
    return hashlib.blake2b(json.dumps(origin, sort_keys=True).encode(), digest_size=8).hexdigest()


def array_path(folder: Path, name: str) -> Path:
    """File of an array of a folder."""
    return folder / f"{name}.npy"


def parts_of(array: Parts) -> Sequence[NDArray[Any]]:
    """The parts of an array, one after the other."""
    return [array] if isinstance(array, np.ndarray) else array


def read_description(folder: Path) -> dict[str, Any]:
    """The description of a folder of arrays. Raises `DamagedArraysError`, and OSError if there is none."""
    described: dict[str, Any] = _read_json(folder)["described"]
    return described


def read_arrays(
    folder: Path, wanted: Callable[[str], bool] | None = None, room: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """The arrays of a folder, each compared with its checksum: read-only, and mapped.

    Args:
        folder: The folder.
        wanted: Says of an array's name whether it is read; None for all of them.
        room: Names of the arrays that are to be gone on with, in memory of this process.

    Raises `DamagedArraysError`, and OSError if there is none.
    """
    found = _read_json(folder)
    sizes = found.get("sizes", {})
    return {
        name: _read(array_path(folder, name), checksum, sizes.get(name), name in room)
        for name, checksum in found["crc32"].items()
        if wanted is None or wanted(name)
    }


def array_folders(parent: Path) -> list[str]:
    """Names of the folders of arrays in a folder, sorted; none if it is not there. Raises OSError."""
    with suppress(FileNotFoundError):
        return sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    return []


def remove_arrays(folder: Path) -> None:
    """Remove a folder of arrays, under another name, so that no reader finds a part of it. Raises OSError."""
    removed = folder.with_name(f"{_WAITING}{uuid4().hex}")
    # Another process may have removed it.
    with suppress(FileNotFoundError):
        folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def remove_superseded(parent: Path, prefix: str) -> None:
    """Of the folders whose names begin with a prefix, leave the `KEPT` last written. Raises OSError."""
    written: dict[str, int] = {}
    for name in array_folders(parent):
        # Another process may have removed it.
        with suppress(FileNotFoundError):
            if name.startswith(prefix):
                written[name] = (parent / name).stat().st_mtime_ns
    for name in sorted(written, key=lambda name: written[name], reverse=True)[KEPT:]:
        remove_arrays(parent / name)


def remove_unused(parent: Path, before: float) -> None:
    """Remove the folders of arrays that were written before a moment (Unix time), and what was cut off.

    Raises OSError.
    """
    for name in array_folders(parent):
        with suppress(FileNotFoundError):
            if (parent / name).stat().st_mtime < before:
                remove_arrays(parent / name)
    remove_abandoned(parent)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of writers that were cut off. Raises OSError."""
    for waiting in _abandoned(parent):
        shutil.rmtree(waiting, ignore_errors=True)


def _abandoned(parent: Path) -> Iterator[Path]:
    for entry in parent.glob(f"{_WAITING}*"):
        with suppress(FileNotFoundError):
            if time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
                yield entry


class _Summed:
    """A binary stream whose CRC-32 is taken of what is written, not of what arrives on the disk."""

    def __init__(self, stream: io.BufferedWriter) -> None:
        self._stream, self.checksum, self.size = stream, 0, 0

    def write(self, data: Any) -> int:
        self.checksum = zlib.crc32(data, self.checksum)
        self.size += memoryview(data).nbytes
        return self._stream.write(data)


def _write(path: Path, array: Parts, room: bool) -> tuple[int, int]:
    """Write an array; its checksum, and the bytes that this is of."""
    parts = parts_of(array)
    first = parts[0]
    shape = (sum(map(len, parts)), *first.shape[1:])
    with path.open("wb") as stream:
        summed = _Summed(stream)
        description = {"descr": npy.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(summed, description)
        for part in parts:
            rows = max(1, _PIECE * len(part) // max(1, part.nbytes))
            for start in range(0, len(part), rows):
                summed.write(np.ascontiguousarray(part[start : start + rows]).view(np.uint8).data)
                # What is copied from another file is not kept in memory.
                release(part)
        if room:
            stream.truncate(with_spare(summed.size))
    return summed.checksum, summed.size


def _read_json(folder: Path) -> dict[str, Any]:
    text, _, checksum = (folder / _DESCRIPTION).read_bytes().rpartition(b"\n")
    if f"{zlib.crc32(text):08x}".encode() != checksum:
        raise DamagedArraysError(f"{folder / _DESCRIPTION} is not what was written")
    found: dict[str, Any] = json.loads(text)
    return found


def _read(path: Path, checksum: int, size: int | None, room: bool) -> NDArray[Any]:
    there = path.stat().st_size
    size = there if size is None else size
    if there == 0 or there not in (size, with_spare(size)):
        raise DamagedArraysError(f"{path} has {there} bytes, not those that were written")
    mapped, found = map_with_room(path, size) if room else map_file(path)[:size], 0
    for start in range(0, len(mapped), _PIECE):
        found = zlib.crc32(mapped[start : start + _PIECE].data, found)
        # What was only compared is no memory that this process needs.
        release(mapped)
    if found != checksum:
        raise DamagedArraysError(f"{path} is not what was written")
    # From the bytes that were compared, since the name may belong to another file by now.
    header = io.BytesIO(mapped[:_HEADER_BYTES].tobytes())
    npy.read_magic(header)
    shape, _, dtype = npy.read_array_header_1_0(header)
    array: NDArray[Any] = mapped[header.tell() :].view(dtype).reshape(shape)
    return array
