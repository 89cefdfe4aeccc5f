"""Readers of bar files, one module per kind of file; what their columns mean is a matter of the layouts.

A reader turns the contents of a file into `RawRows`, whose cells are still unchecked; `kline_core.bars.row_checks`
defines a sound row for all layouts alike. To add a layout, see `kline_core.bars.readers.layouts`; to add a kind of
file, write a module like `parquet_file` and name it in `READERS`; for a folder that is one source, one like
`qlib_folder` in `FOLDER_READERS`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from kline_core.bars.readers import parquet_file, qlib_folder, tdx_day_file, text_file
from kline_core.bars.readers.contents import MAX_FILE_BYTES, PACKED, read_contents
from kline_core.bars.readers.raw_rows import RawRows
from kline_core.errors import InputError
from kline_core.store.folder import is_folder


class Reader(Protocol):
    """A module that reads one kind of file."""

    SUFFIXES: tuple[str, ...]
    """Endings, in lower case, of the files that may be of the kind; others in a folder are passed over."""

    def recognises(self, data: bytes, path: Path) -> bool:
        """Whether a file with these contents is of the kind; the name counts only where contents cannot tell."""

    def read(self, data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None) -> RawRows:
        """The file's rows. Raises `InputError` if it cannot be used as a whole, or holds more than `max_bytes`.

        `mapping`: meaning to column name, by hand; None to tell the layout by the columns.
        """


class FolderReader(Protocol):
    """A module that reads one kind of folder, all of whose files are one source."""

    def recognises(self, folder: Path) -> bool:
        """Whether a folder is of the kind."""

    def read(self, folder: Path, max_bytes: int, mapping: Mapping[str, str] | None) -> RawRows:
        """The folder's rows, as `Reader.read`."""


READERS: Final[tuple[Reader, ...]] = (parquet_file, tdx_day_file, text_file)
"""All readers: the first that recognises a file reads it. The last takes every file for text."""

FOLDER_READERS: Final[tuple[FolderReader, ...]] = (qlib_folder,)
"""All readers of folders."""


def suffixes() -> tuple[str, ...]:
    """Endings of the files that some reader may recognise, packed or not."""
    kinds = [suffix for reader in READERS for suffix in reader.SUFFIXES]
    return tuple(dict.fromkeys([*kinds, *(kind + packed for packed in PACKED for kind in kinds)]))


def may_read(path: Path) -> bool:
    """Whether some reader may recognise a file, by the ending of its name in any letter case."""
    return path.name.lower().endswith(suffixes())


def is_one_source(folder: Path) -> bool:
    """Whether some reader takes a folder as a whole; its files then are no sources of their own."""
    return is_folder(folder) and any(reader.recognises(folder) for reader in FOLDER_READERS)


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES, mapping: Mapping[str, str] | None = None) -> RawRows:
    """A file's rows, by the reader of its kind, or those of a folder that is one source.

    Args:
        path: A regular file, or a folder that `is_one_source`.
        max_bytes: Bytes that it may hold, unpacked.
        mapping: Meaning to column name, by hand; None to tell the layout by the columns.

    Raises `InputError` if it cannot be read or used, is of no known layout, or holds more than `max_bytes`.
    """
    if is_one_source(path):
        folder_reader = next(each for each in FOLDER_READERS if each.recognises(path))
        try:
            return folder_reader.read(path, max_bytes, mapping)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}", source=str(path)) from error
    if not may_read(path):
        known = ", ".join(suffix for reader in READERS for suffix in reader.SUFFIXES)
        raise InputError(f"{path}: its type is not known; give {known}", source=str(path))
    try:
        data = read_contents(path, max_bytes)
        reader = next(reader for reader in READERS if reader.recognises(data, path))
        return reader.read(data, path, max_bytes, mapping)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}", source=str(path)) from error
