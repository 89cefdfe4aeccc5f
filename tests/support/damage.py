"""Damage to tables that were sound, and what `verify` finds of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core.maintenance.verify import verify

SYMBOLS, BARS = ("S00000", "S00001", "S00002"), 70


def checked(bench, settings=None):
    return verify(bench.home, settings or bench.settings, bench.weights)


def rewrite(home, table, change):
    """Put changed rows in the place of all rows of a table."""
    rows = home.read(table)
    order = [name for name in ("symbol", "date", "end", "rank") if name in rows.column_names]
    frame = rows.sort_by([(name, "ascending") for name in order]).to_pandas()
    changed = change(frame)
    changed = frame if changed is None else changed
    home.delete(table, [str(name) for name in rows["symbol"].unique().to_pylist()])
    home.append(table, pa.Table.from_pandas(changed, rows.schema, preserve_index=False))


def put(column, value, at=0):
    """A change of one cell; `value` may be worked out from what is there."""

    def change(frame):
        place = frame.columns.get_loc(column)
        frame[column] = frame[column].astype(object)
        frame.iloc[at, place] = value(frame.iloc[at, place]) if callable(value) else value

    return change


def flip(path: Path, at: int | None = None) -> None:
    """Change eight bytes of a file."""
    content = bytearray(path.read_bytes())
    start = len(content) // 3 if at is None else at
    content[start : start + 8] = bytes(byte ^ 0xFF for byte in content[start : start + 8])
    path.write_bytes(content)


def twice(frame):
    return pd.concat([frame, frame.iloc[:1]])


def without_first(frame):
    return frame.iloc[1:]


def kinds(report):
    return {(finding.table, finding.kind, finding.count) for finding in report.findings}


def full(frame):
    """First sample that has a value."""
    return int(np.flatnonzero(frame["status"] == "ok")[0])


def of_ok(column, value):
    return lambda frame: put(column, value, full(frame))(frame)
