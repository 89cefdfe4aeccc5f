"""Readers of bar files, one module per layout.

A reader turns a file into `RawRows`, whose cells are still unchecked; `kline_core.bars.row_checks` defines a sound row
for all layouts alike. To add a layout, write a module like `plain` and name it in `READERS`.
"""

from pathlib import Path
from typing import Final, Protocol

from kline_core.bars.readers import plain
from kline_core.bars.readers.contents import MAX_FILE_BYTES
from kline_core.bars.readers.raw_rows import RawRows
from kline_core.errors import InputError


class Reader(Protocol):
    """A module that reads one layout."""

    SUFFIXES: tuple[str, ...]
    """Endings, in lower case, of the files that the reader may recognise; others in a folder are passed over."""

    def recognises(self, path: Path) -> bool:
        """Whether the file is of the layout; judged by its content if another layout could have its name."""

    def read(self, path: Path, max_bytes: int) -> RawRows:
        """The file's rows. Raises `InputError` if it cannot be used as a whole, or holds more than `max_bytes`."""


READERS: Final[tuple[Reader, ...]] = (plain,)
"""All readers, the most particular ones first: the first that recognises a file reads it."""


def suffixes() -> tuple[str, ...]:
    """Endings of the files that some reader may recognise."""
    return tuple(dict.fromkeys(suffix for reader in READERS for suffix in reader.SUFFIXES))


def may_read(path: Path) -> bool:
    """Whether some reader may recognise a file, by the ending of its name in any letter case."""
    return path.name.lower().endswith(suffixes())


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> RawRows:
    """A file's rows, by the reader of its layout.

    Raises `InputError` if no reader knows it, it cannot be used, or it holds more than `max_bytes`, unpacked.
    """
    try:
        for reader in READERS:
            if reader.recognises(path):
                return reader.read(path, max_bytes)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}", source=str(path)) from error
    raise InputError(f"{path}: its type is not known; give {', '.join(suffixes())}", source=str(path))
