"""Rows of one table as a run stored them, although later runs may have overwritten them.

A version of the table right after the run's commits still holds its rows. Where other writers committed in between,
there are several such versions: the last of each row of commits of the run.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.errors import HomeError
from kline_core.store.delta import NO_ROWS
from kline_core.store.home import Home
from kline_core.store.run_records import RunRecord
from kline_core.store.table import of_run

Rows: TypeAlias = pd.DataFrame
"""Rows of a table; dates are datetime64."""


class StoredRun:
    """Rows of `factors` or `matches` that a run stored, and those that it found there."""

    def __init__(self, home: Home, table: str, record: RunRecord) -> None:
        self._home, self._table, self._record = home, table, record
        self._files: dict[int, bool] = {}
        after = last_versions(home.history(table), record.run_id)
        self.stored = bool(after)
        """Whether the run has stored anything."""
        self._own = [version for version in after if self._there(version)]
        if len(self._own) < len(after):
            # What nobody has overwritten since is still in the newest version.
            self._own.append(int(home.version(table) or 0))
        # Of a run that was killed only the last commit is known.
        ended = record.stored.get(table, after[-1] if after else None)
        self._none_yet = ended is None
        self._after = ended if ended is not None and self._there(ended) else None

    def own(
        self,
        symbols: Sequence[str] | None,
        keys: Sequence[str],
        columns: Sequence[str] | None = None,
        date: np.datetime64 | None = None,
    ) -> Rows:
        """Rows that the run stored, of some symbols or of all, of one date or of all; those gone are left out."""
        where = of_run(self._record.run_id)
        if date is not None:
            where &= _on(date)
        parts = [
            self._read(columns, version=version, symbols=symbols, where=where) for version in sorted(set(self._own))
        ]
        if len(parts) < 2:
            return as_frame(parts[0] if parts else self._read(columns, symbols=[]))
        return as_frame(pa.concat_tables(parts)).drop_duplicates(list(keys), keep="last")

    def found(self, symbols: Sequence[str], date: np.datetime64 | None = None) -> Rows | None:
        """Rows of other runs right after the run; None if that version is gone or was not recorded."""
        if self._none_yet:
            return as_frame(self._read(None, symbols=[]))
        if self._after is None:
            return None
        rows = self._read(None, version=self._after, symbols=symbols, where=None if date is None else _on(date))
        return as_frame(rows.filter(pc.not_equal(rows["run_id"].cast(pa.string()), self._record.run_id)))

    def _read(self, columns: Sequence[str] | None, **which: Any) -> pa.Table:
        return self._home.read(self._table, columns, fingerprint=self._record.stored_under, **which)

    def _there(self, version: int) -> bool:
        """Whether the files of a version are still there."""
        if version not in self._files:
            try:
                self._home.check_files(self._table, version, self._home.files(self._table, version))
                self._files[version] = True
            except HomeError:
                self._files[version] = False
        return self._files[version]


def _on(date: np.datetime64) -> pc.Expression:
    """Filter for rows of a day."""
    return pc.field("date") == pa.scalar(date.astype("datetime64[D]").astype(object), pa.date32())


def last_versions(history: Sequence[dict[str, Any]], run_id: str) -> list[int]:
    """Versions right after the commits of a run, increasing: the last before each commit of another writer.

    `history`: commits of a table, newest first (`Home.history`). Commits that change no row do not count.
    """
    versions = []
    last = None
    for commit in reversed(history):
        if commit["operation"] in NO_ROWS:
            continue
        if commit["metadata"].get("run_id") == run_id:
            last = int(commit["version"])
        elif last is not None:
            versions.append(last)
            last = None
    return versions if last is None else [*versions, last]


def as_frame(rows: pa.Table) -> Rows:
    """Rows of a table as a DataFrame."""
    frame: Rows = rows.to_pandas(date_as_object=False)
    return frame
