"""Readers of bar files, one module per kind of file; what their columns mean is a matter of the layouts.

A reader turns the contents of a file into `RawRows`, whose cells are still unchecked; `kline_core.bars.row_checks`
defines a sound row for all layouts alike. To add a layout, see `kline_core.bars.readers.layouts`; to add a kind of
file, write a module like `parquet_file` and name it in `READERS`; for a folder that is one source, one like
`qlib_folder` in `FOLDER_READERS`.

A file may hold several tables: an archive has one for each of its files, and a workbook one for each sheet with bars.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from kline_core.bars.readers import archive, excel_file, parquet_file, qlib_folder, tdx_day_file, text_file
from kline_core.bars.readers.contents import MAX_FILE_BYTES, PACKED, read_contents, unreadable
from kline_core.bars.readers.foreign import foreign_kind
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


READERS: Final[tuple[Reader, ...]] = (parquet_file, excel_file, tdx_day_file, text_file)
"""All readers: the first that recognises a file reads it. The last takes every file for text."""

FOLDER_READERS: Final[tuple[FolderReader, ...]] = (qlib_folder,)
"""All readers of folders."""

ARCHIVES: Final = (".zip",)
"""Endings of archives."""

Table = tuple[Path, Callable[[], RawRows] | None]
"""Name of a table, and how to read it; None for a file in an archive that no reader knows by its name."""


def suffixes() -> tuple[str, ...]:
    """Endings of the files that some reader may recognise, packed or not."""
    kinds = tuple(dict.fromkeys(suffix for reader in READERS for suffix in reader.SUFFIXES))
    return (*kinds, *(kind + packed for packed in PACKED for kind in kinds), *ARCHIVES)


def may_read(path: Path) -> bool:
    """Whether some reader may recognise a file, by the ending of its name in any letter case."""
    return path.name.lower().endswith(_SUFFIXES)


def is_one_source(folder: Path) -> bool:
    """Whether some reader takes a folder as a whole; its files then are no sources of their own."""
    return is_folder(folder) and any(reader.recognises(folder) for reader in FOLDER_READERS)


def tables(path: Path, max_bytes: int = MAX_FILE_BYTES, mapping: Mapping[str, str] | None = None) -> Iterator[Table]:
    """Every table in a file, each to be read before the next one is asked for.

    Args:
        path: A regular file, or a folder that `is_one_source`.
        max_bytes: Bytes that it may hold, unpacked; those of an archive are counted together.
        mapping: Meaning to column name, by hand; None to tell the layout by the columns.

    Raises `InputError`, and so does the reading of a table, if it cannot be read or used, is of no known layout, or
    holds more than `max_bytes`.
    """
    if is_one_source(path):
        folder_reader = next(each for each in FOLDER_READERS if each.recognises(path))
        yield path, partial(_read, path, partial(folder_reader.read, path, max_bytes, mapping))
        return
    if not may_read(path):
        known = ", ".join(dict.fromkeys((*(suffix for reader in READERS for suffix in reader.SUFFIXES), *ARCHIVES)))
        raise InputError(f"{path}: its type is not known; give {known}", source=str(path))
    data = read_contents(path, max_bytes)
    if not data.startswith(archive.ZIP) or archive.is_workbook(data):
        yield from _tables(data, path, max_bytes, mapping)
        return
    members = archive.members(data, path, max_bytes)
    if not any(may_read(member.path) for member in members):
        raise InputError(f"{path}: holds no file that may be bars, by its name", source=str(path))
    for member in members:
        if not may_read(member.path):
            yield member.path, None
            continue
        try:
            held = member.contents()
            yield from _tables(held, member.path, max_bytes, mapping)
        except InputError as error:
            yield member.path, partial(_refuse, error)


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES, mapping: Mapping[str, str] | None = None) -> RawRows:
    """Rows of a file that holds one table; the arguments and errors are those of `tables`."""
    found = [(name, read) for name, read in tables(path, max_bytes, mapping) if read is not None]
    if len(found) > 1:
        raise InputError(f"{path}: holds {len(found)} tables, where one is wanted", source=str(path))
    return found[0][1]()


def _tables(data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None) -> list[Table]:
    if (foreign := foreign_kind(data)) is not None:
        kind, remedy = foreign
        raise InputError(f"{path}: is {kind}; {remedy}", source=str(path))
    reader = next(reader for reader in READERS if reader.recognises(data, path))
    if reader is excel_file:
        return [*excel_file.sheets(data, path, max_bytes, mapping)]
    return [(path, partial(_read, path, partial(reader.read, data, path, max_bytes, mapping)))]


def _read(path: Path, read: Callable[[], RawRows]) -> RawRows:
    try:
        return read()
    except OSError as error:
        raise unreadable(path, error) from error


def _refuse(error: InputError) -> RawRows:
    raise error


_SUFFIXES: Final = suffixes()
