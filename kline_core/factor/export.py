"""Stored values as a file for other programs: Parquet or CSV, long or wide."""

from pathlib import Path
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kline_core.errors import FingerprintError, HomeError, InputError, KlineError
from kline_core.store.home import Home

LONG_FIRST = ["symbol", "date", "value", "status", "reason", "matches"]
SUFFIXES = (".parquet", ".csv")


def stored_values(home: Home, fingerprint: str | None = None) -> pd.DataFrame:
    """All stored values under one fingerprint, by symbol and date; dates as datetime64[s].

    Without a fingerprint, the only one there is. Raises `HomeError` where no values are stored, and `FingerprintError`
    where the fingerprint is unknown, or none is given and there are several.
    """
    table = home.read("factors", fingerprint=fingerprint)
    if table.num_rows == 0:
        raise why_no_values(home, fingerprint)
    found = pc.value_counts(table["fingerprint"]).to_pylist()
    if len(found) > 1:
        raise FingerprintError(f"values are stored under several fingerprints, {_listed(found)}; name one of them")
    frame: pd.DataFrame = table.to_pandas().sort_values(["symbol", "date"], ignore_index=True)
    return frame.assign(date=pd.to_datetime(frame["date"]))


def why_no_values(home: Home, fingerprint: str | None) -> KlineError:
    """The error to raise where a fingerprint has no values: there are none at all, or only under others."""
    stored = pc.value_counts(home.read("factors", ["fingerprint"])["fingerprint"]).to_pylist()
    if not stored:
        return HomeError(f"home {home.uri} holds no values yet; run `kline run`")
    return FingerprintError(
        f"no values are stored under fingerprint {fingerprint!r}; there are {_listed(stored)}; name one of them"
    )


def export_values(home: Home, path: Path, layout: str = "long", fingerprint: str | None = None) -> int:
    """Write stored values to a `.parquet` or `.csv` file, under another name first; returns the rows written.

    `long`: one row per symbol and date with all columns, those of `LONG_FIRST` first. `wide`: one row per date, one
    column per symbol, values only; the dates come first, and pandas reads them from Parquet as the index. Raises as
    `stored_values`, and `InputError` where the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: cannot write {path.suffix or 'a file without ending'}; use .parquet or .csv")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}")
    frame = stored_values(home, fingerprint)
    wide = layout == "wide"
    if wide:
        # The dates stay the index: as a column they would clash with a symbol of the same name.
        frame = frame.pivot(index="date", columns="symbol", values="value").rename_axis(columns=None)
    else:
        frame = frame[LONG_FIRST + [name for name in frame.columns if name not in LONG_FIRST]]
    waiting = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        if path.suffix == ".csv":
            frame.to_csv(waiting, index=wide, date_format="%Y-%m-%d")
        else:
            table = pa.Table.from_pandas(frame, preserve_index=wide)
            # Arrow puts an index behind the columns.
            pq.write_table(table.select([-1, *range(table.num_columns - 1)]) if wide else table, waiting)
        waiting.replace(path)
    except OSError as error:
        waiting.unlink(missing_ok=True)
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written ({reason}); name a file that can be written") from error
    return len(frame)


def _listed(counts: list[dict[str, object]]) -> str:
    return ", ".join(f"{entry['values']} ({entry['counts']} rows)" for entry in counts)
