"""Contents of a file from outside: all of it, from a regular file and no more than a bound.

A file is read once and as a whole, so that everything that is said of it is said of the same bytes, even while its
vendor writes it. What is packed is told by its first bytes, whatever the file is called, and the bound is on what it
holds unpacked: ten megabytes of gzip can hold ten gigabytes.
"""

import errno
import gzip
import io
import stat
import zlib
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from kline_core._text import refusal
from kline_core.errors import InputError

MAX_FILE_BYTES: Final = 2 * 2**30
"""Bytes that a file may hold, unpacked, if the caller gives no other bound."""

PACKED: Final = (".gz", ".zst")
"""Endings, behind that of their kind, of files that are packed."""

GZIP, ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
"""How packed contents begin."""
_MOST_LAYERS = 3
"""Times that contents may be packed one inside the other."""
_PIECE = 2**20

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


_REMEDIES = {
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ENOENT: "name one that is there",
    errno.ELOOP: "name the file itself",
}


class FileTooLargeError(InputError):
    """A file holds more bytes, unpacked, than it may."""


def read_contents(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Bytes of a regular file, unpacked if they are gzip or Zstandard.

    Raises `InputError` if it is no regular file, cannot be read, is damaged, or holds more than `max_bytes`.
    """
    try:
        # Asked before it is opened: opening a pipe waits for a writer.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
            raise InputError(f"{path}: is {kind}, no regular file; copy its contents into a file", source=str(path))
        if status.st_size > max_bytes:
            raise too_large(path, max_bytes)
        with path.open("rb", buffering=0) as stream:
            data = read_bounded(stream, max_bytes, status.st_size + 1)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if len(data) > max_bytes:
        raise too_large(path, max_bytes)
    return unpacked(data, path, max_bytes)


def unpacked(data: bytes, path: Path, max_bytes: int) -> bytes:
    """Contents without their packing, of which there may be several layers.

    Raises `InputError` if they are damaged, hold more than `max_bytes`, or are packed too often.
    """
    for layer in range(_MOST_LAYERS + 1):
        if not data.startswith((GZIP, ZSTD)):
            return data
        if layer == _MOST_LAYERS:
            break
        try:
            with _unpacking(data) as stream:
                data = read_bounded(stream, max_bytes)
        except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException) as error:
            raise unreadable(path, error) from error
        if len(data) > max_bytes:
            raise too_large(path, max_bytes)
    raise InputError(f"{path}: is packed more than {_MOST_LAYERS} times over; unpack it first", source=str(path))


def _unpacking(data: bytes) -> Any:
    if data.startswith(GZIP):
        return gzip.GzipFile(fileobj=io.BytesIO(data))
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd")


def read_bounded(stream: Any, max_bytes: int, expected: int = _PIECE) -> bytes:
    """Bytes of a stream, in pieces, up to one more than `max_bytes`; `expected` is a guess of their number.

    A stream takes memory for as many bytes as it is asked for, even if it holds few.
    """
    pieces: list[bytes] = []
    left, ask = max_bytes + 1, expected
    while left > 0 and (piece := stream.read(min(ask, left))):
        pieces.append(piece)
        left -= len(piece)
        ask = _PIECE
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def stem_of(path: Path, suffixes: tuple[str, ...]) -> str:
    """The file's name without the ending of its kind, one of `suffixes`, and that of its packing."""
    name = path.name
    for endings in (PACKED, suffixes):
        name = next((name[: -len(ending)] for ending in endings if name.lower().endswith(ending)), name)
    return name


def too_large(path: Path, max_bytes: int) -> FileTooLargeError:
    """Error for a file that holds more than `max_bytes`."""
    return FileTooLargeError(
        f"{path}: holds more than {max_bytes} bytes, unpacked; divide it, or raise --max-file-bytes (max_file_bytes)",
        source=str(path),
        value=max_bytes,
    )


def unreadable(path: Path, error: Exception) -> InputError:
    """Error for a file that cannot be read, or is damaged."""
    remedy = _REMEDIES.get(getattr(error, "errno", None) or 0, "deliver it again, whole")
    return InputError(f"{path}: cannot be read: {reason(error)}; {remedy}", source=str(path))


def reason(error: Exception) -> str:
    """What another library says, in one line."""
    return " ".join(refusal(error).split()) or type(error).__name__
