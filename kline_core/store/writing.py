"""How a table of a home is written: in one commit, tried again while another writer or the network is in its way.

Before a commit, the room on the disk and the checksums of the files that are written anew are looked at; after it, its
own files get checksums; where these cannot be written, a warning says so, since the rows are stored and the writer's
report of them must not be lost. An object store that would lose commits is refused.
"""

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.fs import DeltaStorageHandler

from kline_core._logging import logger
from kline_core._secrets import masked
from kline_core._text import harmless
from kline_core.errors import HomeError
from kline_core.store import checksums
from kline_core.store.conditional import refuses_to_overwrite
from kline_core.store.delta import KEEP_LOGS, NOTES_KEY, UnreachableError, cause_of, file_sizes, same_rows
from kline_core.store.folder import check_space, home_folder
from kline_core.store.log import FOLDER as LOG_FOLDER
from kline_core.store.schemas import DEFAULT_HORIZONS, horizons_of, table_schema
from kline_core.store.table import StoredTable, check_there

_LOG = logger(__name__)

Mode = Literal["error", "ignore", "overwrite"]

# A commit that loses a race is tried again on the new version; sixteen losses in a row mean that something else fails.
_ATTEMPTS = 16
# Writers in one process queue here instead of losing races against each other.
_LOCKS: dict[tuple[str, str], threading.Lock] = {}
_LOCKS_GUARD = threading.Lock()
# Seconds for which a write waits for an object store that does not answer; Delta itself tries a request ten times.
_AWAY_SECONDS = 300.0
_AWAY_PAUSES = (1.0, 30.0)
# Object stores that this process has tried.
_CONDITIONAL: set[str] = set()


class TableChangedError(HomeError):
    """The table has a newer version than the one that a write was derived from; derive it again."""


class TableWriter:
    """Writes one table of a home, in commits that readers see as a whole or not at all. Thread-safe."""

    def __init__(self, table: StoredTable) -> None:
        self.table = table

    def make(
        self, schema: pa.Schema, description: Mapping[str, Any], mode: Mode, notes: Mapping[str, Any] | None = None
    ) -> int:
        """Make the table without rows, or, with "overwrite", replace it; its version.

        Args:
            schema: Columns of the table.
            description: JSON values that the table keeps.
            mode: What to do if there is one already.
            notes: Those of the home that it carries; see `Home.notes`.

        Raises `HomeError`.
        """
        self._check_conditional()
        with self._lock(), self.table.explained("make"):
            text = json.dumps(dict(description), sort_keys=True)
            properties = KEEP_LOGS | ({NOTES_KEY: json.dumps(dict(notes), sort_keys=True)} if notes else {})
            delta = DeltaTable.create(
                self.table.path, schema, mode=mode, name=self.table.name, description=text, configuration=properties
            )
            return int(delta.version())

    def commit(
        self,
        rows: pa.Table | None,
        write: Callable[[DeltaTable], object],
        expected: int | None = None,
        appends: bool = False,
    ) -> int:
        """Commit; while the object store does not answer, try for some minutes. The new version.

        An append that expects no version is not tried again: its commit may have arrived without an answer.

        Args:
            rows: Rows that are written, if any; a missing table is made for them.
            write: Makes the commit on the newest version, or none; called again if another writer was faster.
            expected: Commit only if this is still the newest version, apart from commits that change no row.
            appends: Whether no stored row is written anew.

        Raises:
            TableChangedError: `expected` is no longer the newest, or others were faster again and again.
            HomeError: The home is gone or cannot be written.
        """
        deadline, pause = time.monotonic() + _AWAY_SECONDS, _AWAY_PAUSES[0]
        while True:
            try:
                return self._commit_once(rows, write, expected, appends)
            except UnreachableError:
                if (appends and expected is None) or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _AWAY_PAUSES[1])

    def remove(self) -> None:
        """Remove the table with all its versions. Raises `HomeError`.

        Checksums go first, since they say which log there must be; then the log, without which there is no table,
        whatever else a removal that was cut off has left.
        """
        folder = home_folder(self.table.uri)
        with self._lock(), self.table.explained("remove"):
            if folder is not None:
                # A store would leave the empty folders. A log that was renamed is gone as a whole.
                table = folder / self.table.name
                shutil.rmtree(table / checksums.FOLDER, ignore_errors=True)
                (table / LOG_FOLDER).rename(table / f"removed{LOG_FOLDER}")
                shutil.rmtree(table)
                return
            root = pafs.PyFileSystem(DeltaStorageHandler(self.table.uri))
            for place in (f"{self.table.name}/{checksums.FOLDER}", f"{self.table.name}/{LOG_FOLDER}", self.table.name):
                root.delete_dir(place)

    def _commit_once(
        self, rows: pa.Table | None, write: Callable[[DeltaTable], object], expected: int | None, appends: bool
    ) -> int:
        table = self.table
        check_there(table.uri)
        self._check_conditional()
        if rows is not None and table.open_or_none() is None:
            self.make(table_schema(table.name, horizons_of(rows) or DEFAULT_HORIZONS), {}, mode="ignore")
        with self._lock():
            for attempt in range(_ATTEMPTS):
                delta = table.open(to_write=True)
                if expected is not None and not same_rows(delta, expected):
                    break
                try:
                    with table.explained("write", let_through=CommitFailedError):
                        rewritten = {} if appends else file_sizes(delta)
                        if table.checked:
                            # What a damaged file holds would be written anew, under a checksum that fits it.
                            checksums.check(table.storage, rewritten)
                        check_space(
                            home_folder(table.uri),
                            (0 if rows is None else rows.nbytes) + max(rewritten.values(), default=0),
                        )
                        write(delta)
                    # Delta makes the folders of a table again if they were removed just before the commit.
                    check_there(table.uri)
                    self._record_checksums(delta)
                    return int(delta.version())
                except CommitFailedError:
                    time.sleep(random.uniform(0, 0.02 * (attempt + 1)))
        raise TableChangedError(
            f"table {table.name} of home {table.uri} is being changed by another writer; try again",
            home=table.uri,
            table=table.name,
        )

    def _record_checksums(self, delta: DeltaTable) -> None:
        table = self.table
        files = file_sizes(delta) if table.checked else ()
        try:
            checksums.record(table.storage, files, int(delta.version()))
            table.check_log()
        except (DeltaError, OSError, pa.ArrowException) as error:
            _LOG.warning(
                "table %s of home %s holds what was written, as version %d, but the checksums of its files could not "
                "be written: %s; see that %s/%s can be written, the next write to the table then makes them",
                *(table.name, table.uri, delta.version(), harmless(masked(cause_of(error)))),
                *(table.path, checksums.FOLDER),
            )

    def _check_conditional(self) -> None:
        """Refuse an object store that loses commits; each is tried once in a process."""
        uri = self.table.uri
        if home_folder(uri) is not None or uri in _CONDITIONAL:
            return
        with self.table.explained("write"):
            sound = refuses_to_overwrite(uri)
        if not sound:
            raise HomeError(
                f"the object store of home {uri} overwrites where it is told not to (it ignores If-None-Match), "
                "so that commits of two writers would be lost; take a store with conditional writes, or set "
                "AWS_S3_LOCKING_PROVIDER=dynamodb",
                home=uri,
                table=self.table.name,
            )
        _CONDITIONAL.add(uri)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with _LOCKS_GUARD:
            lock = _LOCKS.setdefault((self.table.uri, self.table.name), threading.Lock())
        with lock:
            yield
