"""Contents of a file from outside: all of it, from a regular file and no more than a bound.

A file is read once and as a whole, so that everything that is said of it is said of the same bytes, even while its
vendor writes it. The bound is on what it holds unpacked: ten megabytes of gzip can hold ten gigabytes.
"""

import errno
import gzip
import stat
import zlib
from pathlib import Path
from typing import Final

from kline_core._text import refusal
from kline_core.errors import InputError

MAX_FILE_BYTES: Final = 2 * 2**30
"""Bytes that a file may hold, unpacked, if the caller gives no other bound."""

PACKED: Final = (".gz",)
"""Endings, behind that of their kind, of files that are packed."""

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


def read_contents(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Bytes of a regular file, unpacked if its name ends in .gz.

    Raises `InputError` if it is no regular file, cannot be read, is damaged, or holds more than `max_bytes`.
    """
    packed = path.name.lower().endswith(".gz")
    try:
        # Asked before it is opened: opening a pipe waits for a writer.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
            raise InputError(f"{path}: is {kind}, no regular file; copy its contents into a file", source=str(path))
        if status.st_size > max_bytes:
            raise too_large(path, max_bytes)
        with gzip.open(path) if packed else path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        remedy = _REMEDIES.get(getattr(error, "errno", 0), "deliver it again, whole")
        raise InputError(f"{path}: cannot be read: {reason(error)}; {remedy}", source=str(path)) from error
    if len(data) > max_bytes:
        raise too_large(path, max_bytes)
    return data


def stem_of(path: Path, suffixes: tuple[str, ...]) -> str:
    """The file's name without the ending of its kind, one of `suffixes`, and that of its packing."""
    name = path.name
    for endings in (PACKED, suffixes):
        name = next((name[: -len(ending)] for ending in endings if name.lower().endswith(ending)), name)
    return name


def too_large(path: Path, max_bytes: int) -> InputError:
    """Error for a file that holds more than `max_bytes`."""
    return InputError(
        f"{path}: holds more than {max_bytes} bytes, unpacked; divide it, or raise --max-file-bytes (max_file_bytes)",
        source=str(path),
        value=max_bytes,
    )


def reason(error: Exception) -> str:
    """What another library says, in one line."""
    return " ".join(refusal(error).split()) or type(error).__name__
