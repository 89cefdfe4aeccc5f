"""Delta Lake's terms: writer and table properties, commit metadata, predicates, and what its errors mean."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, CommitProperties, DeltaTable, WriterProperties
from deltalake.exceptions import DeltaError

from kline_core.errors import HomeError
from kline_core.symbols import check_symbol

METADATA_KEY = "kline"
"""Key of a commit's custom metadata that holds the writer's own JSON values."""


COMPACTION = "OPTIMIZE"
"""Operation of a commit that changes how rows lie in files, never the rows."""


# A run names the versions that it read, but by default Delta deletes their logs after thirty days.
KEEP_LOGS = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}


# For 400,000 vectors of 128 float32, binary without a dictionary takes 0.2-0.9 s to write and 0.2-1.7 s to read into a
# NumPy array; a dictionary raises writing to 2.8 s; list<float32> takes 0.5 s and 1.3-1.5 s.
WRITER = WriterProperties(column_properties={"vector": ColumnProperties(dictionary_enabled=False)})


def same_rows(delta: DeltaTable, version: int) -> bool:
    """Whether an opened table holds the same rows as an older version of it: only compactions came in between."""
    since = delta.version() - version
    return since == 0 or (since > 0 and all(entry["operation"] == COMPACTION for entry in delta.history(since)))


def stored_schema(delta: DeltaTable) -> pa.Schema:
    """Stored columns of a table."""
    return pa.schema(delta.schema().to_arrow())


def text_column(column: str) -> pc.Expression:
    """A text column for use in a filter, cast because a MERGE stores string views, which pyarrow cannot compare."""
    return pc.field(column).cast(pa.string())


def commit_properties(metadata: Mapping[str, Any] | None, retries: int | None = None) -> CommitProperties:
    """Properties of a commit that keeps JSON values; if `retries` is None, Delta chooses their number."""
    custom = {METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)} if metadata else None
    return CommitProperties(custom_metadata=custom, max_commit_retries=retries)


def symbols_predicate(symbols: Sequence[str]) -> str:
    """SQL condition for rows of `symbols`. Raises `InputError` for an unsafe symbol, so that none holds a quote."""
    return "symbol IN (" + ", ".join(f"'{check_symbol(symbol)}'" for symbol in symbols) + ")" if symbols else "false"


@contextmanager
def explained(uri: str, table: str, action: str, let_through: type[Exception] | None = None) -> Iterator[None]:
    """Turn the storage's errors into a `HomeError` that says what to do; see `Home.explained`."""
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as error:
        if let_through is not None and isinstance(error, let_through):
            raise
        # After the message the library prints a coloured backtrace.
        reason = " ".join(str(error).split("\n   0: ")[0].split("\x1b")[0].split())
        remedy = {
            "read": "restore it from a copy, or make a new home and ingest again",
            "read an old version of": "versions are kept for a time; read a newer one, or restore a copy",
            "make": "name a folder that can be written",
            "write": "check that it can be written",
        }[action]
        raise HomeError(
            f"cannot {action} table {table} of home {uri}: {reason}; {remedy}", home=uri, table=table
        ) from error
