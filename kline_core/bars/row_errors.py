"""Cells from outside: read as numbers, and reported where they are at fault."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.typing import Flags, Floats64, Objects

REJECTED_COLUMNS = ("source", "row", "symbol", "reason", "value")


class RowErrors:
    """The first fault of each row of a frame, in the order in which the checks are made."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Begin without faults."""
        self._frame = frame
        self._codes = np.zeros(len(frame), dtype=np.int16)
        self._kinds: list[tuple[str, str]] = []

    def mark(self, where: Flags, column: str, fault: str) -> None:
        """Say of the rows `where` (n,) that their cell of `column` has a fault, unless they have one already."""
        if where.any():
            self._kinds.append((column, fault))
            self._codes[where & (self._codes == 0)] = len(self._kinds)

    def any(self) -> Flags:
        """Where (n,) a row has a fault."""
        return self._codes > 0

    def rejected(self, source: str) -> pd.DataFrame:
        """The rows with faults, as `REJECTED_COLUMNS`."""
        rows = []
        for code, (column, fault) in enumerate(self._kinds, start=1):
            hit = self._frame[self._codes == code]
            rows.append(rejected_rows(source, hit.index, hit["symbol"], f"{column} {fault}", hit[column]))
        return rejected_frame(rows)


def rejected_rows(
    source: str | Objects, row: pd.Index, symbol: pd.Series, reason: str, value: pd.Series
) -> pd.DataFrame:
    """Rows of `REJECTED_COLUMNS`, all for one reason."""
    cells = {"symbol": _as_text(symbol), "reason": reason, "value": _as_text(value)}
    return pd.DataFrame({"source": source, "row": row, **cells}, index=range(len(row)))


def rejected_frame(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The rejected rows in the order of their row labels."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in REJECTED_COLUMNS})
    return pd.concat(parts).sort_values("row", kind="stable", ignore_index=True).astype(object)


def _as_text(cells: pd.Series) -> list[str]:
    """Cells as a person wrote them: empty where missing, numbers as short as they can be, times as ISO 8601."""
    if cells.dtype.kind == "M":
        # Not as Timestamps, which cannot be written beyond the year 9999.
        zoned = isinstance(cells.dtype, pd.DatetimeTZDtype)
        zone = "Z" if zoned else ""
        moments = (cells.dt.tz_convert(None) if zoned else cells).to_numpy()
        return ["" if np.isnat(cell) else f"{np.datetime_as_string(cell, unit='auto')}{zone}" for cell in moments]
    return ["" if pd.isna(cell) else f"{cell:.15g}" if isinstance(cell, float) else str(cell) for cell in cells]


def to_numbers(column: pd.Series, name: str, faults: RowErrors) -> Floats64:
    """A column as float64 (n,), NaN where a cell is missing; cells that are no number are marked."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(column.dtype, pd.StringDtype):
        texts = pa.array(column, pa.string())
        try:
            numbers = pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.float64())
            return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
        except pa.ArrowInvalid:
            pass  # Some cell is no number, or has spaces round it: each is looked at below.
    pairs = [_number(cell) for cell in column]
    faults.mark(np.array([value is None for value in pairs], dtype=bool), name, "is no number")
    return np.array([np.nan if value is None else value for value in pairs], dtype=np.float64)


def _number(cell: object) -> float | None:
    """A cell as a number, NaN where it is missing, None where it is something else."""
    if isinstance(cell, str):
        text = cell.strip()
        try:
            # Python would also read 1_000.
            return None if "_" in text else float(text or "nan")
        except ValueError:
            return None
    if isinstance(cell, bool | np.bool_):
        return None
    try:
        return float("nan") if cell is None or cell is pd.NA else float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
