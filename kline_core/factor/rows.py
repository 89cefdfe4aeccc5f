"""Computed columns as rows of the tables `factors` and `matches`, without fingerprint and run_id."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kline_core.factor.match_digest import value_digests
from kline_core.store.schemas import FAILED, horizons_of_columns, table_schema
from kline_core.typing import Dates, Int64s, Objects


def factor_rows(columns: dict[str, NDArray[Any]]) -> pa.Table:
    """Rows of `factors`; missing columns and NaN figures become nulls."""
    return _rows("factors", columns)


def match_rows(columns: dict[str, NDArray[Any]]) -> pa.Table:
    """Rows of `matches`, with one column `r<h>` per forward-return horizon.

    Missing columns and NaN figures become nulls.
    """
    return _rows("matches", columns)


def failed_rows(symbol: str, dates: Dates, reasons: Objects, history: Int64s) -> pa.Table:
    """Rows of `factors` for samples of a symbol without a value, one reason each."""
    return factor_rows(
        {
            "symbol": np.full(len(dates), symbol, dtype=object),
            "date": dates,
            "status": np.full(len(dates), FAILED, dtype=object),
            "reason": reasons,
            "matches": np.zeros(len(dates), dtype=np.int16),
            "history": history,
            "match_digest": value_digests(
                np.full(len(dates), np.nan), np.zeros(0, np.uint64), np.zeros(0, np.int64)
            ).view(np.int64),
        }
    )


def no_matches(horizons: tuple[int, ...]) -> pa.Table:
    """An empty table of `matches` rows."""
    return table_schema("matches", horizons).empty_table().drop_columns(["fingerprint", "run_id"])


def _rows(name: str, columns: dict[str, NDArray[Any]]) -> pa.Table:
    schema = table_schema(name, horizons_of_columns(columns) or (1,))
    count = len(columns["symbol"])
    arrays, fields = [], []
    for field in schema:
        if field.name in ("fingerprint", "run_id"):
            continue
        values = columns.get(field.name)
        arrays.append(pa.nulls(count, field.type) if values is None else pa.array(values, field.type, from_pandas=True))
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
