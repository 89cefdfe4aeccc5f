"""Frames of other libraries: pandas frames and Arrow tables with columns of every type."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from kline_core.bars.readers.frame import read_frame
from kline_core.bars.row_checks import check_rows
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import Taken, Target, check
from tests.fuzz.targets.bar_files import check_reasons, check_sound

_GUIDED = ("/bars/", "kline_core/dates.py", "kline_core/symbols.py")
_COLUMNS = ("symbol", "date", "open", "high", "low", "close", "volume", "adj_factor")
_KINDS = [
    *(
        "object",
        "string",
        "category",
        "datetime64[s]",
        "datetime64[ns]",
        "datetime64[ns, Asia/Shanghai]",
        "Int64",
        "float32",
    ),
    *("boolean", "complex128", "timedelta64[s]", "int8", "uint64", "Float64", "period[D]", "bytes", "decimal"),
]


def seeds(_folder: Path) -> list[bytes]:
    columns = {"symbol": ["A", "B"], "date": ["2020-01-02", 20200103], **{name: [1.0, 2] for name in _COLUMNS[2:]}}
    plain = {"columns": columns, "kinds": {}, "arrow": False, "index": []}
    found = [plain, plain | {"arrow": True}, plain | {"index": ["symbol", "date"]}]
    found += [plain | {"kinds": {name: kind}} for name in ("symbol", "date", "open", "adj_factor") for kind in _KINDS]
    return [json.dumps(each).encode() for each in found]


def take(case: bytes, _work: Path) -> Taken:
    try:
        frame = _frame(json.loads(case))
    except Exception:  # noqa: BLE001  no frame, and nothing of the house's
        return Taken()
    raw = read_frame(frame, "frame 1")
    checked = check_rows(raw.frame, "frame 1")
    check(len(checked.bars) + len(checked.rejected) == len(frame), "rows are lost or doubled")
    check_sound(checked.bars)
    check_reasons(checked.rejected)
    return Taken(len(checked.rejected))


def _frame(given: Any) -> pd.DataFrame | pa.Table:
    columns = {name: pd.Series(cells, dtype=object) for name, cells in given["columns"].items()}
    frame = pd.DataFrame({name: _as(column, given["kinds"].get(name)) for name, column in columns.items()})
    if given["arrow"]:
        return pa.Table.from_pandas(frame)
    return frame.set_index(given["index"]) if given["index"] else frame


def _as(column: pd.Series, kind: str | None) -> pd.Series:
    if kind == "bytes":
        return column.map(lambda cell: str(cell).encode())
    if kind == "decimal":
        return column.map(lambda cell: Decimal(str(cell)))
    # A list would be a structured type, of which pandas itself cannot take rows; `ingest` reports that.
    return column.astype(kind) if isinstance(kind, str) else column


FRAMES = Target(_GUIDED, seeds, take, mutate_json)
