"""The tables of a home: any version can be read, and every write is an atomic commit.

A home is a folder, or an object-store URL, that holds up to four Delta tables: `bars`, from which everything else can
be rebuilt, and `patterns`, `factors` and `matches`. `bars` is made with the home, the others with their first rows.
Beside them lie the records of runs (`kline_core.store.run_records`).
Every write is one commit: a reader sees all of it or none of it, and older versions stay readable.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.fs import DeltaStorageHandler
from pyarrow.dataset import FileSystemDataset

from kline_core._text import quoted
from kline_core.errors import HomeError
from kline_core.store import checksums
from kline_core.store.checksums import CHECKED
from kline_core.store.conditional import refuses_to_overwrite
from kline_core.store.delta import (
    KEEP_LOGS,
    METADATA_KEY,
    WRITER,
    UnreachableError,
    cause_of,
    commit_properties,
    explained,
    file_sizes,
    read_rows,
    same_rows,
    stored_schema,
    symbols_predicate,
    text_column,
)
from kline_core.store.folder import check_place, check_room, check_space, home_gone, home_uri, why_no_home
from kline_core.store.log import check_log
from kline_core.store.schemas import (
    DEFAULT_HORIZONS,
    LATER_COLUMNS,
    TABLES,
    conform,
    foreign_columns,
    horizons_of,
    table_schema,
    with_later_columns,
)

Mode = Literal["error", "ignore", "overwrite"]
TOMBSTONE = "deleted"
"""Boolean column that the rows of `Home.upsert` may carry: a stored row with a marked row's keys is removed."""

# A commit that loses a race is tried again on the new version; sixteen losses in a row mean that something else fails.
_ATTEMPTS = 16
# Writers in one process queue here instead of losing races against each other.
_LOCKS: dict[tuple[str, str], threading.Lock] = {}
_LOCKS_GUARD = threading.Lock()
# Seconds for which a write waits for an object store that does not answer; Delta itself tries a request ten times.
_AWAY_SECONDS = 300.0
_AWAY_PAUSES = (1.0, 30.0)
# Object stores that this process has tried, and newest log files that it has found whole.
_CONDITIONAL: set[str] = set()
_WHOLE_LOGS: dict[str, str] = {}

# Delta reads a path as a URL, in which these characters are decoded or name another folder.
_UNSAFE = frozenset("%[]\\?*")


class TableChangedError(HomeError):
    """The table has a newer version than the one that a write was derived from; derive it again."""


class Home:
    """The tables of a home: any version can be read, and every write is an atomic commit.

    Holds no open files or connections, so it may be pickled and shared between threads.
    """

    def __init__(self, uri: str | Path, create: bool = False) -> None:
        """Open a home.

        Args:
            uri: A folder, or an object-store URL such as ``s3://bucket/home``.
            create: Make the home if there is none.

        Raises:
            HomeError: The home is missing (and `create` is false), half made, damaged, or cannot be made there, or the
                URL carries credentials.
        """
        check_place(str(uri))
        self.uri = home_uri(uri)
        if self.folder is not None and (odd := sorted(set(self.uri) & _UNSAFE)):
            raise HomeError(
                f"home {self.uri} has {odd[0]!r} in its path, which Delta reads otherwise; name another folder",
                home=self.uri,
            )
        if self._open_or_none("bars") is not None:
            return
        if not create:
            raise HomeError(why_no_home(self.uri, self.folder), home=self.uri)
        check_room(self.uri, self.folder)
        self._make("bars", table_schema("bars"), {}, mode="ignore")

    def __repr__(self) -> str:
        """The call that opens it."""
        return f"Home({self.uri!r})"

    @property
    def folder(self) -> Path | None:
        """The home's folder, or None if it lies in an object store."""
        return None if "://" in self.uri else Path(self.uri)

    def check_there(self) -> None:
        """Raise `HomeError` if the home is gone; asked before anything is made in it, so that no half a home comes.

        Only opening a home with `create` makes its bars table.
        """
        with self.explained("bars", "read"):
            there = DeltaTable.is_deltatable(self._path("bars"))
        if not there:
            raise home_gone(self.uri)

    def version(self, table: str) -> int | None:
        """Newest version of a table, or None if it was never made."""
        delta = self._open_or_none(table)
        return None if delta is None else int(delta.version())

    def identity(self, table: str, version: int | None = None) -> str | None:
        """Identity of a table, which a table that replaces it does not share; None if it was never made.

        `version`: the version that is asked about, since a table that replaces another may go on with its versions;
        the newest by default. Raises `HomeError` if there is no such version.
        """
        delta = self._open_or_none(table) if version is None else self._open(table, version)
        return None if delta is None else str(delta.metadata().id)

    def description(self, table: str, version: int | None = None) -> dict[str, Any]:
        """Description that a table was made with; empty if it has none, or if there is no table."""
        delta = self._open_or_none(table) if version is None else self._open(table, version)
        text = None if delta is None else delta.metadata().description
        return self._own(table, text, "a description") if text else {}

    def _own(self, table: str, text: object, what: str) -> dict[str, Any]:
        """A JSON object that kline wrote beside a table. Raises `HomeError` if somebody else did."""
        try:
            found = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise HomeError(
                f"table {table} of home {self.uri} has {what} that kline did not write ({quoted(text, 40)}); "
                "restore the table from a copy, or make a new home and ingest again",
                home=self.uri,
                table=table,
            )
        return found

    def history(self, table: str, limit: int | None = None) -> list[dict[str, Any]]:
        """Commits of a table, newest first: version, timestamp (Unix time in ms), operation and the writer's metadata.

        `limit`: commits wanted; all by default.
        """
        delta = self._open_or_none(table)
        with self.explained(table, "read"):
            entries = [] if delta is None else delta.history(limit)
        return [
            {key: entry.get(key) for key in ("version", "timestamp", "operation")}
            | {"metadata": self._own(table, entry.get(METADATA_KEY, "{}"), "a commit with metadata")}
            for entry in entries
        ]

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        symbols: Sequence[str] | None = None,
        fingerprint: str | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Rows of a table, in no set order.

        Skips files and row groups whose statistics rule out every row: for the newest dates of a table that grew day by
        day, that is most of it.

        Args:
            table: Name of the table. A table that was never made reads as empty; `bars` is made with the home.
            columns: Columns to read; all by default.
            version: Version to read; the newest by default.
            symbols: Return only rows with these symbols.
            fingerprint: Return only rows with this fingerprint.
            where: Return only rows for which this holds; see `since`.

        Raises:
            HomeError: The table is damaged, for instance a file of `bars` or `patterns` is not what was written
                (`kline_core.store.checksums`), or it has no such version.
        """
        delta = self._open_or_none(table) if version is None else self._open(table, version)
        if delta is None:
            self.check_there()
            empty = table_schema(table).empty_table()
            return empty if columns is None else empty.select(list(columns))
        conditions = [] if where is None else [where]
        if fingerprint is not None:
            conditions.append(text_column("fingerprint") == fingerprint)
        if symbols is not None:
            conditions.append(text_column("symbol").isin(pa.array(symbols, pa.string())))
        condition = reduce(and_, conditions) if conditions else None
        with self.explained(table, self._reading(table, version)):
            dataset = delta.to_pyarrow_dataset()
            lacking = set(LATER_COLUMNS.get(table, ())).difference(dataset.schema.names)
            asked = None if columns is None else [name for name in columns if name not in lacking]
            if table in CHECKED:
                rows = checksums.read_checked(dataset, self.storage(table), asked, condition)
            else:
                rows = read_rows(dataset, asked, condition)
        return with_later_columns(rows, columns, table) if lacking else rows

    def appended(self, table: str, columns: Sequence[str], old: Collection[str], version: int) -> pa.Table | None:
        """Rows that a version has beyond the data files `old`, or None if it lacks any of these.

        The files of an older version (`files`) tell whether all its rows remain: a file never changes, and no two have
        the same name. Compacted files are replaced, so a compaction in between gives None too.

        Raises:
            HomeError: The table is damaged, for instance one of the old files, which are not read, is gone.
        """
        new = self.files(table, version)
        if not set(old) <= new.keys():
            return None
        self.check_files(table, version, old)
        with self.explained(table, self._reading(table, version)):
            dataset = self._open(table, version).to_pyarrow_dataset()
            added = [part for part in dataset.get_fragments() if part.path not in old]
            if len(added) != len(new) - len(old):
                return None
            part = FileSystemDataset(added, dataset.schema, dataset.format, dataset.filesystem)
            if table in CHECKED:
                return checksums.read_checked(part, self.storage(table), columns, None)
            return read_rows(part, columns, None)

    def create(
        self,
        table: str,
        description: Mapping[str, Any],
        horizons: Sequence[int] = DEFAULT_HORIZONS,
        replace: bool = False,
    ) -> int:
        """Make a table without rows, with a lasting description, and return its version.

        Raises:
            TableChangedError: Another writer made the table in the same moment.
            HomeError: The table exists and `replace` is false, or the home is gone or cannot be
                written.
        """
        if not replace and self.version(table) is not None:
            raise HomeError(
                f"home {self.uri} already has a table {table}; replace it on purpose or keep it",
                home=self.uri,
                table=table,
            )
        self.check_there()
        schema = table_schema(table, horizons)
        if replace:
            return self._make(table, schema, description, mode="overwrite")
        try:
            return self._make(table, schema, description, mode="error")
        except HomeError as error:
            if self.version(table) is None:
                raise
            raise TableChangedError(
                f"table {table} of home {self.uri} was made by another writer in the same moment; run again",
                home=self.uri,
                table=table,
            ) from error

    def append(
        self,
        table: str,
        rows: pa.Table,
        metadata: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Add rows in one commit and return the new version.

        Args:
            table: Name of the table; a missing table is made, without a description.
            rows: Columns of `table_schema`; missing nullable columns are filled with nulls.
            metadata: JSON values kept with the commit, which `history` returns.
            expected_version: Write only if this is still the newest version, apart from compactions, which change no
                row.

        Raises:
            TableChangedError: `expected_version` is no longer the newest.
            HomeError: The home is gone or cannot be written.
        """

        def write(delta: DeltaTable) -> None:
            # Without Delta's own retries, which would overlook a version that appears in between.
            properties = commit_properties(metadata, retries=None if expected_version is None else 0)
            data, wider = conform(rows, stored_schema(delta), table)
            write_deltalake(
                delta,
                data,
                mode="append",
                schema_mode="merge" if wider else None,
                writer_properties=WRITER,
                commit_properties=properties,
            )

        return self._write(table, rows, write, expected_version, appends=True)

    def upsert(
        self,
        table: str,
        rows: pa.Table,
        keys: Sequence[str],
        metadata: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Update the rows whose keys are stored and add the others, in one commit; return the new version.

        `rows` may carry a boolean column `deleted`: a stored row with the keys of a marked row is removed, and the
        marked row itself is never stored. Keys must be unique within `rows`. A commit that loses a race against another
        writer is derived again; the other arguments and the errors are those of `append`.
        """

        def write(delta: DeltaTable) -> None:
            properties = commit_properties(metadata, retries=None if expected_version is None else 0)
            marked = TOMBSTONE in rows.column_names
            data, wider = conform(rows.drop_columns([TOMBSTONE]) if marked else rows, stored_schema(delta), table)
            values = {name: f"s.{name}" for name in data.column_names}
            if marked:
                data = data.append_column(pa.field(TOMBSTONE, pa.bool_(), nullable=False), rows[TOMBSTONE])
            # Only an unstreamed merge prunes the target by the source's statistics: 3,000 rows into 300,000 took 0.05 s
            # instead of 0.17 s in 50 files, and 0.6 s instead of 1.5 s in one file.
            merger = delta.merge(
                data,
                " AND ".join(f"t.{key} = s.{key}" for key in keys),
                source_alias="s",
                target_alias="t",
                merge_schema=wider,
                streamed_exec=False,
                writer_properties=WRITER,
                commit_properties=properties,
            )
            if marked:
                merger = merger.when_matched_delete(f"s.{TOMBSTONE}")
            merger = merger.when_matched_update(values)
            merger.when_not_matched_insert(values, f"NOT s.{TOMBSTONE}" if marked else None).execute()

        return self._write(table, rows, write, expected_version)

    def replace(
        self, table: str, rows: pa.Table, symbols: Sequence[str], metadata: Mapping[str, Any] | None = None
    ) -> int:
        """Replace all rows of `symbols` by `rows`, which are of these symbols only, in one commit.

        Returns the new version; the other arguments and the errors are those of `append`.
        """
        predicate = symbols_predicate(symbols)

        def write(delta: DeltaTable) -> None:
            data, _ = conform(rows, stored_schema(delta), table)
            write_deltalake(
                delta,
                data,
                mode="overwrite",
                predicate=predicate,
                writer_properties=WRITER,
                commit_properties=commit_properties(metadata),
            )

        return self._write(table, rows, write, None)

    def delete(
        self,
        table: str,
        symbols: Sequence[str],
        metadata: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Remove all rows of `symbols` in one commit; the other arguments, result and errors are those of `append`."""
        predicate = symbols_predicate(symbols)

        def write(delta: DeltaTable) -> None:
            delta.delete(
                predicate, commit_properties=commit_properties(metadata, None if expected_version is None else 0)
            )

        return self._write(table, None, write, expected_version)

    def compact(self, table: str, target_bytes: int) -> int:
        """Join small files into files of about `target_bytes`, in one commit; return the new version.

        No row changes, and the old files stay for old versions. Commits nothing if there is nothing to join. A commit
        that loses a race against another writer is derived again; the errors are those of `append`.
        """

        def write(delta: DeltaTable) -> None:
            delta.optimize.compact(target_size=target_bytes, writer_properties=WRITER)

        return self._write(table, None, write, None)

    def files(self, table: str, version: int | None = None) -> dict[str, int]:
        """Size in bytes of each data file of a version (the newest by default), by the file's name within the table."""
        with self.explained(table, "read"):
            return file_sizes(self._open(table, version))

    def unchecked(self, table: str, version: int | None = None) -> list[str]:
        """Data files of a version that should have a checksum and have none, sorted.

        They were written by an earlier release, or by a writer that was cut off; the next write to the table gives them
        one.
        """
        if table not in CHECKED:
            return []
        with self.explained(table, "read"):
            return sorted(self.files(table, version).keys() - checksums.recorded(self.storage(table)).keys())

    def row_count(self, table: str, version: int | None = None) -> int:
        """Number of rows of a version (the newest by default), as the log has it."""
        with self.explained(table, "read"):
            return int(self._open(table, version).count())

    def check_files(self, table: str, version: int, files: Collection[str]) -> None:
        """Raise `HomeError` if one of these data files of a version is gone."""
        with self.explained(table, self._reading(table, version)):
            listed = {file.path for file in self.storage(table).get_file_info(pafs.FileSelector(""))}
            if gone := set(files) - listed:
                raise FileNotFoundError(f"its file {min(gone)} is gone")

    def storage(self, table: str) -> pafs.FileSystem:
        """File system of a table: the files of all versions, and the log."""
        return pafs.PyFileSystem(DeltaStorageHandler(self._path(table)))

    def root(self) -> pafs.FileSystem:
        """File system of the home itself, for what lies beside the tables."""
        return pafs.PyFileSystem(DeltaStorageHandler(self.uri))

    def _path(self, table: str) -> str:
        if table not in TABLES:
            raise ValueError(f"no table is called {table!r}; there are {', '.join(TABLES)}")
        return f"{self.uri.rstrip('/')}/{table}"

    def _open_or_none(self, table: str) -> DeltaTable | None:
        path = self._path(table)
        with self.explained(table, "read"):
            if not DeltaTable.is_deltatable(path):
                return None
            self._check_log(table, path)
            try:
                delta = DeltaTable(path)
            except DeltaError:
                check_log(self.storage(table), every=True)
                raise
        if fault := foreign_columns(table, stored_schema(delta)):
            raise HomeError(
                f"table {table} of home {self.uri} was not written by kline, or by another version: {fault}; "
                "name another home, or restore this one from a copy",
                home=self.uri,
                table=table,
            )
        return delta

    def _open(self, table: str, version: int | None = None) -> DeltaTable:
        delta = self._open_or_none(table)
        if delta is None:
            self.check_there()
            raise HomeError(f"home {self.uri} has no table {table}", home=self.uri, table=table)
        if version is None or version == delta.version():
            return delta
        if not 0 <= version < delta.version():
            raise HomeError(
                f"table {table} of home {self.uri} has no version {version}; the newest is {delta.version()}",
                home=self.uri,
                table=table,
            )
        with self.explained(table, "read an old version of"):
            return DeltaTable(self._path(table), version=version)

    def _reading(self, table: str, version: int | None) -> str:
        return "read" if version in (None, self.version(table)) else "read an old version of"

    def _make(self, table: str, schema: pa.Schema, description: Mapping[str, Any], mode: Mode) -> int:
        self._check_conditional(table)
        with self._lock(table), self.explained(table, "make"):
            text = json.dumps(dict(description), sort_keys=True)
            delta = DeltaTable.create(
                self._path(table), schema, mode=mode, name=table, description=text, configuration=KEEP_LOGS
            )
            return int(delta.version())

    def _write(
        self,
        table: str,
        rows: pa.Table | None,
        write: Callable[[DeltaTable], object],
        expected: int | None,
        appends: bool = False,
    ) -> int:
        """Commit; while the object store does not answer, try for some minutes.

        An append that expects no version is not tried again: its commit may have arrived without an answer.
        """
        deadline, pause = time.monotonic() + _AWAY_SECONDS, _AWAY_PAUSES[0]
        while True:
            try:
                return self._write_once(table, rows, write, expected, appends)
            except UnreachableError:
                if (appends and expected is None) or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _AWAY_PAUSES[1])

    def _write_once(
        self,
        table: str,
        rows: pa.Table | None,
        write: Callable[[DeltaTable], object],
        expected: int | None,
        appends: bool,
    ) -> int:
        self.check_there()
        self._check_conditional(table)
        if rows is not None and self._open_or_none(table) is None:
            self._make(table, table_schema(table, horizons_of(rows) or DEFAULT_HORIZONS), {}, mode="ignore")
        with self._lock(table):
            for attempt in range(_ATTEMPTS):
                delta = self._open(table)
                if expected is not None and not same_rows(delta, expected):
                    break
                try:
                    with self.explained(table, "write", let_through=CommitFailedError):
                        rewritten = {} if appends else file_sizes(delta)
                        if table in CHECKED:
                            # What a damaged file holds would be written anew, under a checksum that fits it.
                            checksums.check(self.storage(table), rewritten)
                        check_space(
                            self.folder, (0 if rows is None else rows.nbytes) + max(rewritten.values(), default=0)
                        )
                        write(delta)
                    # Delta makes the folders of a table again if they were removed just before the commit.
                    self.check_there()
                    self._record_checksums(table, delta)
                    return int(delta.version())
                except CommitFailedError:
                    time.sleep(random.uniform(0, 0.02 * (attempt + 1)))
        raise TableChangedError(
            f"table {table} of home {self.uri} is being changed by another writer; try again",
            home=self.uri,
            table=table,
        )

    def _record_checksums(self, table: str, delta: DeltaTable) -> None:
        if table not in CHECKED:
            return
        try:
            checksums.record(self.storage(table), file_sizes(delta))
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise HomeError(
                f"table {table} of home {self.uri} holds what was written, as version {delta.version()}, but the "
                f"checksums of its files could not be written: {cause_of(error)}; the next write makes them",
                home=self.uri,
                table=table,
            ) from error

    def _check_conditional(self, table: str) -> None:
        """Refuse an object store that loses commits; each is tried once in a process."""
        if self.folder is not None or self.uri in _CONDITIONAL:
            return
        with self.explained(table, "write"):
            sound = refuses_to_overwrite(self.uri)
        if not sound:
            raise HomeError(
                f"the object store of home {self.uri} overwrites where it is told not to (it ignores If-None-Match), "
                "so that commits of two writers would be lost; take a store with conditional writes, or set "
                "AWS_S3_LOCKING_PROVIDER=dynamodb",
                home=self.uri,
                table=table,
            )
        _CONDITIONAL.add(self.uri)

    def _check_log(self, table: str, path: str) -> None:
        state = check_log(self.storage(table), _WHOLE_LOGS.get(path))
        if state is not None:
            _WHOLE_LOGS[path] = state

    @contextmanager
    def _lock(self, table: str) -> Iterator[None]:
        with _LOCKS_GUARD:
            lock = _LOCKS.setdefault((self.uri, table), threading.Lock())
        with lock:
            yield

    def explained(
        self, table: str, action: str, let_through: type[Exception] | None = None
    ) -> AbstractContextManager[None]:
        """Turn the storage's errors into a `HomeError` that says what to do.

        `action` is "read", "make", "write" or "read an old version of"; errors of type `let_through` pass unchanged.
        """
        return explained(self.uri, table, action, let_through)


def of_run(run_id: str) -> pc.Expression:
    """Filter for rows that a run stored, for `Home.read`."""
    return text_column("run_id") == run_id


def since(day: np.datetime64) -> pc.Expression:
    """Filter for rows of a day (datetime64[D]) and later ones, for `Home.read`."""
    return pc.field("date") >= pa.scalar(day.astype("datetime64[D]").astype(object), pa.date32())
