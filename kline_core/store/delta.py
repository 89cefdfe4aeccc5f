"""Delta Lake's terms: writer and table properties, commit metadata, predicates, and what its errors mean."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, CommitProperties, DeltaTable, WriterProperties
from deltalake.exceptions import DeltaError
from pyarrow.dataset import FileSystemDataset

from kline_core.errors import HomeError
from kline_core.store.checksums import DamagedFileError, version_file
from kline_core.store.log import DamagedLogError
from kline_core.store.remedies import DAMAGED_FILE, SHORTER_LOG, UNREADABLE, remedy_of
from kline_core.symbols import check_symbol

METADATA_KEY = "kline"
"""Key of a commit's custom metadata that holds the writer's own JSON values."""


COMPACTION = "OPTIMIZE"
"""Operation of a commit that changes how rows lie in files, never the rows."""
NOTE = "SET TBLPROPERTIES"
"""Operation of a commit that changes the notes kept with a home."""
NO_ROWS = frozenset((COMPACTION, NOTE))
"""Operations that change no row."""
NOTES_KEY = "kline.notes"
"""Property of the bars table that holds the notes of the home, as one JSON object."""


# A run names the versions that it read, but by default Delta deletes their logs after thirty days.
KEEP_LOGS = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}


# For 400,000 vectors of 128 float32, binary without a dictionary takes 0.2-0.9 s to write and 0.2-1.7 s to read into a
# NumPy array; a dictionary raises writing to 2.8 s; list<float32> takes 0.5 s and 1.3-1.5 s.
WRITER = WriterProperties(column_properties={"vector": ColumnProperties(dictionary_enabled=False)})


def same_rows(delta: DeltaTable, version: int) -> bool:
    """Whether an opened table holds the same rows as an older version of it, after commits of `NO_ROWS` alone."""
    since = delta.version() - version
    return since == 0 or (since > 0 and all(entry["operation"] in NO_ROWS for entry in delta.history(since)))


def stored_schema(delta: DeltaTable) -> pa.Schema:
    """Stored columns of a table."""
    return pa.schema(delta.schema().to_arrow())


def file_sizes(delta: DeltaTable) -> dict[str, int]:
    """Size in bytes of each data file of an opened table, by the file's name within the table."""
    actions = pa.table(delta.get_add_actions())
    return dict(zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True))


def text_column(column: str) -> pc.Expression:
    """A text column for use in a filter, cast because a MERGE stores string views, which pyarrow cannot compare."""
    return pc.field(column).cast(pa.string())


def read_rows(dataset: FileSystemDataset, columns: Sequence[str] | None, condition: pc.Expression | None) -> pa.Table:
    """Rows of a dataset. Raises `DamagedFileError` for a file that cannot be read."""
    try:
        return dataset.to_table(columns=None if columns is None else list(columns), filter=condition)
    except (OSError, pa.ArrowException):
        # Arrow's messages seldom name the file.
        for fragment in dataset.get_fragments(condition):
            try:
                fragment.to_table()
            except FileNotFoundError as error:
                raise FileNotFoundError(f"its file {fragment.path} is gone") from error
            except (OSError, pa.ArrowException) as error:
                raise DamagedFileError(f"its file {fragment.path} cannot be read: {error}") from error
        raise


def commit_properties(metadata: Mapping[str, Any] | None, retries: int | None = None) -> CommitProperties:
    """Properties of a commit that keeps JSON values; if `retries` is None, Delta chooses their number."""
    custom = {METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)} if metadata else None
    return CommitProperties(custom_metadata=custom, max_commit_retries=retries)


def symbols_predicate(symbols: Sequence[str]) -> str:
    """SQL condition for rows of `symbols`. Raises `InputError` for an unsafe symbol, so that none holds a quote."""
    return "symbol IN (" + ", ".join(f"'{check_symbol(symbol)}'" for symbol in symbols) + ")" if symbols else "false"


class UnreachableError(HomeError):
    """The object store of a home does not answer; nothing is known to be damaged."""


# Delta colours its messages, draws arrows between causes, and adds a backtrace.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BACKTRACE = re.compile(r"\n\s*0: ")
_AWAY = re.compile(
    r"error sending request|client error \(connect\)|connect error|dns error|connection (refused|reset|closed)"
    r"|timed out|network is unreachable",
    re.IGNORECASE,
)

_REMEDIES = {
    "read an old version of": "versions are kept for a time; read a newer one, or restore a copy",
    "make": "name a folder that can be written",
    "write": "check that it can be written",
    "remove": "check that it can be written, and remove again, or remove its folder",
}
# Where the cause is none of the table, the remedy is another.
_BY_CAUSE = {
    re.compile(r"no space left|quota exceeded", re.IGNORECASE): "nothing was committed; make room and run again",
    re.compile(r"permission denied|operation not permitted|read-only file system", re.IGNORECASE): (
        "check who may read and write there"
    ),
    re.compile(r"Generic (S3|GCS|MicrosoftAzure|HTTP) error|credential", re.IGNORECASE): (
        "check the store's address, the bucket and the credentials in the environment, and try again"
    ),
}


def cause_of(error: BaseException) -> str:
    """The whole message of an error of Delta's or Arrow's in one line, without colours and backtrace."""
    text = _BACKTRACE.split(_COLOUR.sub("", str(error)))[0]
    return ": ".join(" ".join(part.split()) for part in text.split("↳") if part.strip())


@contextmanager
def explained(uri: str, table: str, action: str, let_through: type[Exception] | None = None) -> Iterator[None]:
    """Turn the storage's errors into a `HomeError` that says what to do; see `Home.explained`."""
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as error:
        if let_through is not None and isinstance(error, let_through):
            raise
        reason = cause_of(error)
        if "://" in uri and _AWAY.search(reason):
            raise UnreachableError(
                f"home {uri} cannot be reached, to {action} table {table}: {reason}; check the network and the store's "
                "address, and run again",
                home=uri,
                table=table,
            ) from error
        usual = remedy_of(UNREADABLE, table) if action == "read" else _REMEDIES[action]
        remedy = next((remedy for cause, remedy in _BY_CAUSE.items() if cause.search(reason)), usual)
        if isinstance(error, DamagedLogError):
            remedy = _log_remedy(table, error)
        elif isinstance(error, DamagedFileError):
            remedy = remedy_of(DAMAGED_FILE, table)
        raise HomeError(
            f"cannot {action} table {table} of home {uri}: {reason}; {remedy}", home=uri, table=table
        ) from error


def _log_remedy(table: str, error: DamagedLogError) -> str:
    if error.before is None:
        return remedy_of(UNREADABLE, table)
    note = version_file(int(error.name.partition(".")[0]))
    return (
        f"restore it from a copy; or remove that file and {note}, as far as they are there, which leaves version "
        f"{error.before} of {table}, and {remedy_of(SHORTER_LOG, table)}"
    )
