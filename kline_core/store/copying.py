"""A copy of a table up to a version, taken while others write.

Neither data files nor those of the log change once they are written, so that a version is copied file by file: its log
up to there, and the data files that this log names. Files of later commits, and those that no commit names, stay
behind. Older versions come along as far as they are kept: what can be read of the table can be read of the copy.

1. The log, from the version downwards: another clean-up removes the oldest first, and leaves no gap then. Delta's
   pointer to its last checkpoint, which may be of a later version, stays behind; without it, readers list the log.
2. The data files of the version, each compared with its checksum or, without one, with the size that the log says; and
   those of older versions that are still there.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake.exceptions import DeltaError

from kline_core.store import checksums
from kline_core.store.checksums import DamagedFileError, checked_content, checksum_file, content_of
from kline_core.store.delta import cause_of
from kline_core.store.folder import check_space
from kline_core.store.home import Home
from kline_core.store.log import actions, check_log, files_until, first_readable
from kline_core.store.table import StoredTable


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """What was copied of a table."""

    table: str
    version: int
    files: int
    """Data files, of all versions."""
    bytes: int


def copy_table(home: Home, name: str, version: int, place: Path) -> CopiedTable:
    """Copy a table up to a version, into the folder `place` of the home that the copy is to be.

    Raises:
        HomeError: The log is damaged, or a data file of the version is gone or not what was written.
        OSError: The folder cannot be written, or has a name that Delta cannot read; its other content is left as it is.
    """
    copy = StoredTable(str(place), name)
    with home.explained(name, "read"):
        source = home.storage(name)
        check_log(source, every=True)
    first = _copy_log(home, name, version, source, place / name)
    try:
        written = copy.storage
    except DeltaError as error:
        # Delta takes some names of folders for none, such as one with a line break.
        raise OSError(cause_of(error)) from error
    older = {
        action["add"]["path"]
        for number in range(first + 1, version + 1)
        for action in actions(written, number)
        if "add" in action
    }
    needed = copy.files(version)
    with home.explained(name, "read"):
        there = {file.path: file.size for file in source.get_file_info(pafs.FileSelector("")) if file.is_file}
        have = checksums.recorded(source)
    named = older | copy.files(first).keys() | needed.keys()
    check_space(place, sum(there.get(file, 0) for file in named))
    count = size = 0
    for file in sorted(named):
        with home.explained(name, "read"):
            content = _content(source, file, have, needed)
        if content is None:
            continue
        _write(place / name / file, content)
        if file in have:
            path, line = checksum_file(file, have[file])
            _write(place / name / path, line)
        count, size = count + 1, size + len(content)
    # Of the data files none: what has no checksum may have changed since it was written.
    checksums.record(written, (), version)
    return CopiedTable(name, version, count, size)


def _copy_log(home: Home, name: str, version: int, source: pafs.FileSystem, place: Path) -> int:
    """Copy the log up to a version, and return the oldest one that can be read from the copy."""
    copied: list[str] = []
    with home.explained(name, "read"):
        listed = files_until(source, version)
    for paths in listed.values():
        with home.explained(name, "read"):
            try:
                contents = [content_of(source, path) for path in paths]
            except FileNotFoundError:
                # A clean-up removes those that no version needs any more.
                break
        for path, content in zip(paths, contents, strict=True):
            _write(place / path, content)
        copied += paths
    first = first_readable(copied)
    if first is None:
        with home.explained(name, "read"):
            raise FileNotFoundError(f"its log has no beginning before version {version}")
    return first


def _content(source: pafs.FileSystem, file: str, have: dict[str, str], needed: dict[str, int]) -> pa.Buffer | None:
    """Content of a data file; None if it is gone and only older versions needed it."""
    try:
        content = checked_content(source, file, have)
    except FileNotFoundError:
        if file in needed:
            raise
        return None
    if file in needed and len(content) != needed[file]:
        raise DamagedFileError(
            f"its file {file} is not what was written: it has {len(content)} bytes, and had {needed[file]}"
        )
    return content


def _write(path: Path, content: pa.Buffer | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(memoryview(content))
