"""One table of a home, opened at any version and read.

A table that lost a file, whose log is not whole, or that another program made, is refused when it is opened.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.dataset import FileSystemDataset

from kline_core._text import quoted
from kline_core.by_year import Fingerprint
from kline_core.errors import HomeError
from kline_core.store import checksums
from kline_core.store.checksums import CHECKED, DamagedFileError
from kline_core.store.delta import (
    METADATA_KEY,
    NOTES_KEY,
    explained,
    file_sizes,
    read_rows,
    same_rows,
    stored_schema,
    text_column,
)
from kline_core.store.folder import home_folder, home_gone
from kline_core.store.log import check_end, check_log
from kline_core.store.remedies import UNREADABLE, remedy_of
from kline_core.store.schemas import LATER_COLUMNS, foreign_columns, kind_of, table_schema, with_later_columns
from kline_core.store.storage import storage_of

# Newest log files that this process has found whole, by the path of the table.
_WHOLE_LOGS: dict[str, str] = {}
# Tables on this machine that were opened for reading, by their path, with the state of the newest log file then. Each
# opening reads the log anew, some twenty times in a small ingest, of which that was a third. Not of object stores:
# their clocks tell seconds, in which a table can be made anew.
_OPENED: dict[str, tuple[str, DeltaTable]] = {}
_MOST_OPENED = 64


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One table of a home, which may not be made yet; see `kline_core.store.home.Home` for what its methods return.

    Raises `ValueError` if no table has this name.
    """

    uri: str
    """The home's."""
    name: str

    def __post_init__(self) -> None:
        kind_of(self.name)

    @property
    def checked(self) -> bool:
        """Whether its files have checksums (`kline_core.store.checksums`)."""
        return kind_of(self.name) in CHECKED

    @property
    def path(self) -> str:
        """Folder or URL of the table."""
        return f"{self.uri.rstrip('/')}/{self.name}"

    @property
    def storage(self) -> pafs.FileSystem:
        """File system of the table: the files of all versions, and the log."""
        return storage_of(self.path)

    def explained(self, action: str, let_through: type[Exception] | None = None) -> AbstractContextManager[None]:
        """Turn the storage's errors into a `HomeError` that says what to do; see `Home.explained`."""
        return explained(self.uri, self.name, action, let_through)

    def open_or_none(self, to_write: bool = False) -> DeltaTable | None:
        """The newest version; None if the table was never made. Raises `HomeError`.

        What is opened `to_write` is nobody else's, since a commit moves it to the version that it makes.
        """
        path = self.path
        with self.explained("read"):
            if not DeltaTable.is_deltatable(path):
                return None
            state = self.check_log()
            held, delta = _OPENED.get(path, (None, None))
            if not to_write and delta is not None and held == state:
                return delta
            try:
                delta = DeltaTable(path)
            except DeltaError:
                check_log(self.storage, every=True)
                raise
        if fault := foreign_columns(self.name, stored_schema(delta)):
            raise HomeError(
                f"table {self.name} of home {self.uri} was not written by kline, or by another version: {fault}; "
                "name another home, or restore this one from a copy",
                home=self.uri,
                table=self.name,
            )
        # Others may have written since the log was looked at.
        if state is not None and not to_write and home_folder(self.uri) and state.startswith(f"{delta.version()} "):
            if len(_OPENED) >= _MOST_OPENED:
                _OPENED.clear()
            _OPENED[path] = state, delta
        return delta

    def open(self, version: int | None = None, to_write: bool = False) -> DeltaTable:
        """A version; the newest by default. Raises `HomeError`, also if there is none, or no such version."""
        delta = self.open_or_none(to_write)
        if delta is None:
            check_there(self.uri)
            raise HomeError(f"home {self.uri} has no table {self.name}", home=self.uri, table=self.name)
        if version is None or version == delta.version():
            return delta
        if not 0 <= version < delta.version():
            raise HomeError(
                f"table {self.name} of home {self.uri} has no version {version}; the newest is {delta.version()}",
                home=self.uri,
                table=self.name,
            )
        with self.explained("read an old version of"):
            return DeltaTable(self.path, version=version)

    def _at(self, version: int | None) -> DeltaTable | None:
        """A version; the newest by default, and None if the table was never made. Raises `HomeError`."""
        return self.open_or_none() if version is None else self.open(version)

    def check_log(self) -> str | None:
        """Check that the log is whole, and ends with the newest version; once for each newest version.

        Returns the state of the newest log file, None if there is none. Raises `DamagedLogError`.
        """
        known = _WHOLE_LOGS.get(self.path)
        state = check_log(self.storage, known)
        if state is None or state == known:
            return state
        if (noted := checksums.newest_version(self.storage)) is not None:
            check_end(self.storage, noted, checksums.version_file(noted))
        _WHOLE_LOGS[self.path] = state
        return state

    def version(self) -> int | None:
        """Newest version; see `Home.version`."""
        delta = self.open_or_none()
        return None if delta is None else int(delta.version())

    def changed_since(self, version: int) -> int | None:
        """Newest version, if it has other rows than an older one; see `Home.changed_since`."""
        delta = self.open_or_none()
        with self.explained("read"):
            return None if delta is None or same_rows(delta, version) else int(delta.version())

    def identity(self, version: int | None = None) -> str | None:
        """Identity of the table; see `Home.identity`."""
        delta = self._at(version)
        return None if delta is None else str(delta.metadata().id)

    def description(self, version: int | None = None) -> dict[str, Any]:
        """Description that the table was made with; see `Home.description`."""
        delta = self._at(version)
        text = None if delta is None else delta.metadata().description
        return self._own(text, "a description") if text else {}

    def notes(self, version: int | None = None) -> dict[str, Any]:
        """Notes of the home that this table, its bars, carries; see `Home.notes`."""
        delta = self._at(version)
        return {} if delta is None else self.notes_of(delta)

    def notes_of(self, delta: DeltaTable) -> dict[str, Any]:
        """Notes that an opened version of this table carries."""
        text = delta.metadata().configuration.get(NOTES_KEY)
        return {} if text is None else self._own(text, "notes")

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Commits, newest first; see `Home.history`."""
        delta = self.open_or_none()
        with self.explained("read"):
            entries = [] if delta is None else delta.history(limit)
        return [
            {key: entry.get(key) for key in ("version", "timestamp", "operation")}
            | {"metadata": self._own(entry.get(METADATA_KEY, "{}"), "a commit with metadata")}
            for entry in entries
        ]

    def _own(self, text: object, what: str) -> dict[str, Any]:
        """A JSON object that kline wrote beside the table. Raises `HomeError` if somebody else did."""
        try:
            found = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise HomeError(
                f"table {self.name} of home {self.uri} has {what} that kline did not write ({quoted(text, 40)}); "
                + remedy_of(UNREADABLE, self.name),
                home=self.uri,
                table=self.name,
            )
        return found

    def read(
        self,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        symbols: Sequence[str] | None = None,
        fingerprint: Fingerprint | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Rows, in no set order; see `Home.read`."""
        delta = self._at(version)
        if delta is None:
            check_there(self.uri)
            empty = table_schema(self.name).empty_table()
            return empty if columns is None else empty.select(list(columns))
        conditions = [] if where is None else [where]
        if fingerprint is not None:
            conditions.append(_stored_under(fingerprint))
        if symbols is not None:
            conditions.append(text_column("symbol").isin(pa.array(symbols, pa.string())))
        condition = reduce(and_, conditions) if conditions else None
        with self.explained(self._reading(version)):
            dataset = delta.to_pyarrow_dataset()
            lacking = set(LATER_COLUMNS.get(self.name, ())).difference(dataset.schema.names)
            asked = None if columns is None else [name for name in columns if name not in lacking]
            rows = self._rows(dataset, asked, condition)
        return with_later_columns(rows, columns, self.name)

    def symbols_by_file(self, version: int | None = None, where: pc.Expression | None = None) -> Iterator[set[str]]:
        """Distinct symbols of each file of a table that has checksums; see `Home.symbols_by_file`."""
        delta = self._at(version)
        if delta is None:
            check_there(self.uri)
            return
        with self.explained(self._reading(version)):
            dataset = delta.to_pyarrow_dataset()
            yield from checksums.symbols_by_file(dataset, self.storage, where, file_sizes(delta))

    def parts(self, columns: Sequence[str], version: int) -> Iterator[pa.Table]:
        """Rows of a version of a table that has checksums, a file at a time; see `Home.parts`."""
        with self.explained(self._reading(version)):
            yield from checksums.checked_parts(self.open(version).to_pyarrow_dataset(), self.storage, columns, None)

    def appended(self, columns: Sequence[str], old: Collection[str], version: int) -> pa.Table | None:
        """Rows that a version has beyond the data files `old`; see `Home.appended`."""
        new = self.files(version)
        if not set(old) <= new.keys():
            return None
        self.check_files(version, old)
        with self.explained(self._reading(version)):
            dataset = self.open(version).to_pyarrow_dataset()
            added = [part for part in dataset.get_fragments() if part.path not in old]
            if len(added) != len(new) - len(old):
                return None
            part = FileSystemDataset(added, dataset.schema, dataset.format, dataset.filesystem)
            return self._rows(part, columns, None)

    def _rows(
        self, dataset: FileSystemDataset, columns: Sequence[str] | None, condition: pc.Expression | None
    ) -> pa.Table:
        if self.checked:
            return checksums.read_checked(dataset, self.storage, columns, condition)
        return read_rows(dataset, columns, condition)

    def _reading(self, version: int | None) -> str:
        return "read" if version in (None, self.version()) else "read an old version of"

    def files(self, version: int | None = None) -> dict[str, int]:
        """Size in bytes of each data file of a version; see `Home.files`."""
        with self.explained("read"):
            return file_sizes(self.open(version))

    def unchecked(self, version: int | None = None) -> list[str]:
        """Data files of a version that lack their checksum; see `Home.unchecked`."""
        if not self.checked:
            return []
        with self.explained("read"):
            return sorted(self.files(version).keys() - checksums.recorded(self.storage).keys())

    def row_count(self, version: int | None = None) -> int:
        """Number of rows of a version; see `Home.row_count`."""
        with self.explained("read"):
            return int(self.open(version).count())

    def check_files(self, version: int, files: Collection[str]) -> None:
        """Raise `HomeError` if one of these data files of a version is gone."""
        with self.explained(self._reading(version)):
            self._listed(files)

    def check_sizes(self, version: int) -> None:
        """Raise `HomeError` if a data file of a version is gone or has another size; see `Home.check_sizes`."""
        with self.explained(self._reading(version)):
            written = self.files(version)
            for name, size in self._listed(written).items():
                if size != written[name]:
                    raise DamagedFileError(
                        f"its file {name} is not what was written: it has {size} bytes, and had {written[name]}"
                    )

    def check_contents(self, version: int, deadline: float) -> list[str]:
        """Compare data files with their checksums; see `Home.check_contents`."""
        with self.explained(self._reading(version)):
            return checksums.check_until(self.storage, sorted(self.files(version)), deadline)

    def _listed(self, files: Collection[str]) -> dict[str, int]:
        """Size of each of these data files as it lies there. Raises FileNotFoundError if one is gone."""
        listed = {file.path: file.size for file in self.storage.get_file_info(pafs.FileSelector(""))}
        if gone := set(files) - listed.keys():
            raise FileNotFoundError(f"its file {min(gone)} is gone")
        return {name: listed[name] for name in sorted(files)}


def check_there(uri: str) -> None:
    """Raise `HomeError` if the home is gone; see `Home.check_there`."""
    bars = StoredTable(uri, "bars")
    with bars.explained("read"):
        there = DeltaTable.is_deltatable(bars.path)
    if not there:
        raise home_gone(uri)


def of_run(run_id: str) -> pc.Expression:
    """Filter for rows that a run stored, for `Home.read`."""
    return text_column("run_id") == run_id


def since(day: np.datetime64) -> pc.Expression:
    """Filter for rows of a day (datetime64[D]) and later ones, for `Home.read`."""
    return pc.field("date") >= _day(day)


def until(day: np.datetime64) -> pc.Expression:
    """Filter for rows of a day (datetime64[D]) and earlier ones, for `Home.read`."""
    return pc.field("date") <= _day(day)


def _stored_under(fingerprint: Fingerprint) -> pc.Expression:
    """Filter for values of one fingerprint, or of each year under its own."""
    if isinstance(fingerprint, str):
        return text_column("fingerprint") == fingerprint
    parts = []
    for span, each in fingerprint.spans():
        part = text_column("fingerprint") == each
        if span.first is not None:
            part &= since(span.first)
        if span.last is not None:
            part &= until(span.last)
        parts.append(part)
    return reduce(or_, parts)


def _day(day: np.datetime64) -> pa.Scalar:
    return pa.scalar(day.astype("datetime64[D]").astype(object), pa.date32())
