"""Delta's log of a table: whether its files are whole, and which of them no version needs any more.

The log holds a JSON file per commit. Delta takes an empty one for a commit that changed nothing, and one that
was cut off between two lines for a commit that changed less: all rows of the table can vanish without an error. A crash
or a power cut leaves such files, and always the newest.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

FOLDER = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_OF_VERSION = re.compile(r"(\d{20})\.(json|crc|checkpoint\..*parquet)")
_CHECKPOINT = "{:020}.checkpoint.parquet"

# Delta's names, by operation, for the numbers of data files that a commit added and removed. A merge that brings new
# columns counts their action as a file.
_COUNTED = (
    ("num_added_files", "num_removed_files"),
    ("num_target_files_added", "num_target_files_removed"),
    ("numFilesAdded", "numFilesRemoved"),
)


class DamagedLogError(OSError):
    """A file of the log is not whole, or gone."""

    def __init__(self, name: str, fault: str, before: int | None) -> None:
        super().__init__(f"its log file {FOLDER}/{name} {fault}")
        self.name = name
        self.before = before
        """Version that the table has without the file that the message names last; None if it has none, or if the file
        is not of the newest version."""


def commits(storage: pafs.FileSystem) -> dict[int, pafs.FileInfo]:
    """Log files of the commits by version, in order."""
    listed = storage.get_file_info(pafs.FileSelector(FOLDER, allow_not_found=True))
    found = ((_COMMIT.fullmatch(info.base_name), info) for info in listed)
    return dict(sorted((int(match[1]), info) for match, info in found if match))


def actions(storage: pafs.FileSystem, version: int) -> list[dict[str, Any]]:
    """Actions of a commit. Raises ValueError if its file is not whole, and FileNotFoundError if it is gone."""
    with storage.open_input_stream(f"{FOLDER}/{version:020}.json") as stream:
        lines = stream.read().splitlines()
    try:
        found = [json.loads(line) for line in lines]
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    if not found or not all(isinstance(action, dict) for action in found):
        raise ValueError("no actions")
    commit: dict[str, Any] = next((action["commitInfo"] for action in found if "commitInfo" in action), {})
    try:
        metrics = commit.get("operationMetrics") or {}
        said = max(sum(int(metrics.get(name, 0)) for name in names) for names in _COUNTED)
    except (AttributeError, TypeError, OverflowError) as error:
        raise ValueError("what it says of its files is no number") from error
    if said > sum("commitInfo" not in action and "protocol" not in action for action in found):
        raise ValueError(f"it should add and remove {said} files")
    return found


def check_log(storage: pafs.FileSystem, known: str | None = None, every: bool = False) -> str | None:
    """Check that no log file is empty, and that the newest is whole, or `every` one.

    Returns the state of the newest file, None without commits; where it is the `known` one, it is not read again.

    Raises `DamagedLogError`.
    """
    listed = commits(storage)
    newest = max(listed, default=None)
    state = None if newest is None else f"{newest} {listed[newest].size} {listed[newest].mtime_ns}"
    for version, info in listed.items():
        fault = None
        if info.size == 0:
            fault = "is empty"
        elif every or (version == newest and state != known):
            try:
                actions(storage, version)
            except FileNotFoundError:
                # Removed since it was listed, since no version needs it any more.
                continue
            except ValueError as error:
                fault = f"is not whole ({error})"
        if fault is not None:
            earlier = version - 1 if version == newest and version - 1 in listed else None
            raise DamagedLogError(info.base_name, fault, earlier)
    return state


def check_end(storage: pafs.FileSystem, noted: int, note: str) -> None:
    """Check that the log does not end before a version that was noted when it was written, in the file `note`.

    Raises `DamagedLogError`.
    """
    # Listed after the note was read: others may write meanwhile.
    newest = max(commits(storage), default=None)
    if newest is not None and newest < noted:
        fault = f"is gone, though version {noted} was written, as {note} says"
        raise DamagedLogError(f"{noted:020}.json", fault, newest)


def files_until(storage: pafs.FileSystem, version: int) -> dict[int, list[str]]:
    """Paths of the files of the log, by the version that they belong to, from this version down."""
    found: dict[int, list[str]] = {}
    for number, path in sorted(_files(storage), reverse=True):
        if number <= version:
            found.setdefault(number, []).append(path)
    return found


def first_readable(paths: Iterable[str]) -> int | None:
    """The oldest version that can be read from these files of a log, which lack none between; None for no version."""
    named = (_OF_VERSION.fullmatch(path.rpartition("/")[2]) for path in paths)
    starts = [int(m[1]) for m in named if m and (m[2].startswith("checkpoint") or m[0] == f"{0:020}.json")]
    return min(starts, default=None)


def _files(storage: pafs.FileSystem) -> list[tuple[int, str]]:
    listed = storage.get_file_info(pafs.FileSelector(FOLDER, allow_not_found=True))
    named = ((_OF_VERSION.fullmatch(info.base_name), info) for info in listed)
    return sorted((int(match[1]), info.path) for match, info in named if match)


def forget_before(storage: pafs.FileSystem, version: int) -> int:
    """Remove log files that only versions before this one need; return the number of files that were removed.

    The newest checkpoint of this version or an earlier one, and all that follows it, stay. Oldest files go first, so
    that what is left has no gap if this is cut off.
    """
    files = _files(storage)
    have = {path.rpartition("/")[2] for _, path in files}
    start = next((v for v in range(version, 0, -1) if _CHECKPOINT.format(v) in have), None)
    if start is None or not _whole(storage, f"{FOLDER}/{_CHECKPOINT.format(start)}"):
        return 0
    old = [path for number, path in files if number < start]
    for path in old:
        # Another clean-up may have removed it.
        with suppress(FileNotFoundError):
            storage.delete_file(path)
    return len(old)


def _whole(storage: pafs.FileSystem, checkpoint: str) -> bool:
    """Whether a checkpoint can be read and says what the table is."""
    try:
        with storage.open_input_file(checkpoint) as stream:
            found = pq.read_table(stream, columns=["protocol", "metaData"])
    except (OSError, pa.ArrowException):
        return False
    return all(found[name].null_count < found.num_rows for name in ("protocol", "metaData"))
