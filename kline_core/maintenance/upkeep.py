"""Upkeep of the tables of a home: compaction for quick reads, vacuum for space. Neither changes a row.

`compact` joins small files into large ones. The small ones stay, since older versions of the table consist of them.

`vacuum` removes a file only if

1. it belongs to no version that was the newest one at some moment of the days to keep,
2. it belongs to no version that a run of these days recorded: by the clock of another machine, or where a run was long
   at work, such a version may have been superseded before them, and
3. it is older than these days, so that no writer at work has yet to commit it.

Of the index cache, what was written before the days to keep of the values goes: the next load writes it again.

Files of Delta's log go if only versions before these days need them, and a checkpoint stands in for them. Records of
runs go if they began before the days to keep of the inputs: what they name is no longer kept, and each day adds some.

So every version of these days stays readable, and older ones do not: `factors` and `matches` are values, which a run
computes again on request; `bars` and `patterns` are the inputs whose versions runs record for a replay
(`kline_core.compute.replay`).

Delta's own vacuum differs: its lite mode forgets files whose removal the last checkpoints no longer record, its full
mode also takes files that a writer has not committed yet, and both add two versions to the table, for which every
worker would load it again.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.fs as pafs

from kline_core._text import table
from kline_core.bars.bars_cache import files_hash
from kline_core.errors import SettingError
from kline_core.store.array_folder import INDEX_CACHE, remove_unused
from kline_core.store.checksums import CHECKED, forget
from kline_core.store.home import Home
from kline_core.store.log import actions, commits, forget_before
from kline_core.store.run_records import RunRecord, forget_records, records_since
from kline_core.store.schemas import kind_of

INPUTS = ("bars", "patterns")
"""Tables whose versions a run records; the others hold values."""
MIN_KEEP_DAYS = 7
"""Fewest days to keep: no writer works on a commit for longer, and no reader on a version."""
TARGET_BYTES = 64 * 2**20
MANY_FILES = 16
"""Fewest small files that are worth joining: each new version makes every worker load the table again, and its files
stay as long as the old ones do.
"""


@dataclass(frozen=True, slots=True)
class TableUpkeep:
    """Files of one table, before and after."""

    table: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int

    @property
    def removed(self) -> int:
        """Files before minus files after."""
        return self.files_before - self.files_after


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Result of `compact`, which counts the files of the newest version, or of `vacuum`, which counts all files."""

    action: str
    """compact or vacuum"""
    tables: list[TableUpkeep]
    kept_days: dict[str, int]
    """Days for which the versions of each table stay readable; empty for `compact`."""
    records_removed: int = 0
    """Records of runs from before the days to keep of the inputs; 0 for `compact`."""

    @property
    def headline(self) -> str:
        """The result in one line."""
        removed = sum(part.removed for part in self.tables)
        if self.action == "compact":
            joined = [f"{p.table} {p.files_before} files to {p.files_after}" for p in self.tables if p.removed]
            return f"compacted {', '.join(joined)}" if joined else "nothing to compact"
        freed = sum(part.bytes_before - part.bytes_after for part in self.tables)
        files = f"removed {removed} old files, {_megabytes(freed)} MB" if removed else "no old files to remove"
        return f"{files}; removed {self.records_removed} records of old runs" if self.records_removed else files

    def text(self) -> str:
        """The result as text for a terminal: the headline, and a line per table."""
        header = ["table", "files before", "files after", "MB before", "MB after"]
        rows = [
            [p.table, p.files_before, p.files_after, _megabytes(p.bytes_before), _megabytes(p.bytes_after)]
            for p in self.tables
        ]
        lines = [self.headline, table(header, rows)]
        if self.kept_days:
            kept = ", ".join(f"{name} {days}" for name, days in self.kept_days.items())
            lines.append(f"days for which older versions stay readable: {kept}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        parts = [asdict(part) | {"removed": part.removed} for part in self.tables]
        return {
            "action": self.action,
            "headline": self.headline,
            "tables": parts,
            "kept_days": self.kept_days,
            "records_removed": self.records_removed,
        }


def compact(home: Home) -> Upkeep:
    """Join the small files of each table that has at least `MANY_FILES` of them.

    Runs may read and write meanwhile; a commit that loses a race is retried. Raises `TableChangedError` if it loses too
    many in a row, and what `Home` raises.
    """
    done = []
    for name in _there(home):
        before = home.files(name)
        if sum(size < TARGET_BYTES for size in before.values()) >= MANY_FILES:
            home.compact(name, TARGET_BYTES)
        after = home.files(name)
        done.append(TableUpkeep(name, len(before), len(after), sum(before.values()), sum(after.values())))
    return Upkeep("compact", done, {})


def vacuum(home: Home, values_keep_days: int = 30, inputs_keep_days: int = 365, now: datetime | None = None) -> Upkeep:
    """Remove the files that belong to no version of the days to keep, and the records of runs from before these.

    Args:
        home: Home of the tables.
        values_keep_days: Days for which the versions of `factors` and `matches` stay readable.
        inputs_keep_days: Days for which the versions of `bars` and `patterns`, which runs record, stay readable; and
            for which the records stay.
        now: Moment from which the days count back, with a time zone; None for the present.

    Raises:
        SettingError: Fewer days than `MIN_KEEP_DAYS`.
        HomeError: The home cannot be read or written, or the record of a run cannot be read; nothing is removed then.
    """
    for parameter, days in (("values_keep_days", values_keep_days), ("inputs_keep_days", inputs_keep_days)):
        if days < MIN_KEEP_DAYS:
            raise SettingError(
                f"{parameter} is {days}; it must be at least {MIN_KEEP_DAYS}, "
                "since a writer or a reader may be at work",
                parameter=parameter,
                value=days,
                bound=f"at least {MIN_KEEP_DAYS}",
            )
    now = datetime.now(UTC) if now is None else now
    kept_days = {name: inputs_keep_days if kind_of(name) in INPUTS else values_keep_days for name in _there(home)}
    # All of them first, so that a record that cannot be read stops the vacuum before it removes what that run read.
    since = now - timedelta(days=inputs_keep_days)
    runs = records_since(home, since)
    done = []
    for name, days in kept_days.items():
        with home.explained(name, "write"):
            recorded = _recorded(home, name, runs) if kind_of(name) in INPUTS else {}
            done.append(_vacuum(home, name, now - timedelta(days=days), recorded))
    if home.folder is not None:
        with home.explained("bars", "write"):
            remove_unused(home.folder / INDEX_CACHE, (now - timedelta(days=values_keep_days)).timestamp())
    # Last, so that a vacuum that is cut off leaves a record too many, not one too few.
    return Upkeep("vacuum", done, kept_days, forget_records(home, since, runs))


def _recorded(home: Home, name: str, runs: Iterable[RunRecord]) -> dict[int, set[str]]:
    """Paths of the files of each version that runs recorded, of this table and not of one that it replaced."""
    files: dict[int, set[str]] = {}
    newest = home.version(name)
    kind = kind_of(name)
    parts = [part for run in runs for _, part in run.of_years()]
    for state in {part.tables[kind] for part in parts if kind in part.tables and part.table_of(kind) == name}:
        if state.version is None or newest is None or state.version > newest:
            continue
        there = home.files(name, state.version)
        if files_hash(there) == state.files:
            files[state.version] = set(there)
    return files


def _vacuum(home: Home, name: str, since: datetime, recorded: dict[int, set[str]]) -> TableUpkeep:
    storage = home.storage(name)
    # Listed first, so that files written from here on are in no danger.
    files = [file for file in storage.get_file_info(pafs.FileSelector("")) if file.base_name.endswith(".parquet")]
    needed, first = _needed(home, name, storage, since)
    needed = needed.union(*recorded.values())
    old = [file for file in files if file.path not in needed and file.mtime < since]
    # First, so that where they cannot be removed nothing is, and the next vacuum finds all as it was.
    if kind_of(name) in CHECKED:
        forget(storage, [file.path for file in old])
    for file in old:
        # Another vacuum may have removed it.
        with suppress(FileNotFoundError):
            storage.delete_file(file.path)
    forget_before(storage, min([first, *recorded]))
    total, freed = (sum(file.size for file in some) for some in (files, old))
    return TableUpkeep(name, len(files), len(files) - len(old), total, total - freed)


def _needed(home: Home, name: str, storage: pafs.FileSystem, since: datetime) -> tuple[set[str], int]:
    """Paths of the files of versions that were the newest at some moment from `since` on; the first of these."""
    needed: set[str] = set()
    have = commits(storage)
    version = home.version(name) or 0
    while version:
        commit = actions(storage, version)
        # Versions before the oldest commit that is left were given up by an earlier vacuum.
        if _moment(commit) < since or version - 1 not in have:
            break
        needed |= {action["add"]["path"] for action in commit if "add" in action}
        version -= 1
    return needed | home.files(name, version).keys(), version


def _moment(commit: list[dict[str, Any]]) -> datetime:
    stamp = next(action["commitInfo"]["timestamp"] for action in commit if "commitInfo" in action)
    return datetime.fromtimestamp(stamp / 1000, UTC)


def _there(home: Home) -> list[str]:
    home.check_there()
    return [name for name in home.tables() if home.version(name) is not None]


def _megabytes(size: int) -> float:
    return round(size / 1e6, 1)
