"""Cells from outside: conversion to numbers, and the report of those that are at fault."""

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kline_core.typing import Flags, Floats64, Objects

REJECTED_COLUMNS = ("source", "row", "symbol", "reason", "value")


MISSING = frozenset(("", "-", "--", "—", "–", "n/a", "#n/a", "na", "<na>", "null", "none"))
"""What people and programs write for a number that is not there, stripped and in lower case."""


class RowErrors:
    """The first fault of each row of a frame, in the order of the checks."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Start without faults."""
        self._frame = frame
        self._codes = np.zeros(len(frame), dtype=np.int16)
        self._kinds: list[tuple[str, str]] = []

    def mark(self, where: Flags, column: str, fault: str) -> None:
        """Record a fault in `column` for the rows `where`, bool (n,); a row that has a fault already keeps it."""
        if where.any():
            self._kinds.append((column, fault))
            self._codes[where & (self._codes == 0)] = len(self._kinds)

    def any(self) -> Flags:
        """Mask, bool (n,), of the rows with a fault."""
        return self._codes > 0

    def rejected(self, source: str) -> pd.DataFrame:
        """The rows with a fault, as a frame of `REJECTED_COLUMNS`."""
        rows = []
        for code, (column, fault) in enumerate(self._kinds, start=1):
            hit = self._frame[self._codes == code]
            rows.append(rejected_rows(source, hit.index, hit["symbol"], f"{column} {fault}", hit[column]))
        return rejected_frame(rows)


def rejected_rows(
    source: str | Objects, row: pd.Index, symbol: pd.Series, reason: str | NDArray[Any], value: pd.Series
) -> pd.DataFrame:
    """A frame of `REJECTED_COLUMNS` for rows that share one reason, or have one each."""
    cells = {"symbol": _as_text(symbol), "reason": reason, "value": _as_text(value)}
    return pd.DataFrame({"source": source, "row": row, **cells}, index=range(len(row)))


def rejected_bars(bars: pd.DataFrame, sources: Objects, reason: str | NDArray[Any], value: pd.Series) -> pd.DataFrame:
    """A frame of `REJECTED_COLUMNS` for rows of several files, whose names `sources` the column `file` numbers."""
    return rejected_rows(sources[bars["file"].to_numpy()], bars.index, bars["symbol"], reason, value)


def rejected_frame(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One frame of `REJECTED_COLUMNS` from several, sorted by row label."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return _NOTHING.copy(deep=False)
    return pd.concat(parts).sort_values("row", kind="stable", ignore_index=True).astype(object)


# Most files have no bad row, and a frame takes longer to make than one of their columns.
_NOTHING = pd.DataFrame({name: pd.Series(dtype=object) for name in REJECTED_COLUMNS})


def _as_text(cells: pd.Series) -> list[str]:
    """Cells as a person would write them: empty if missing, numbers to 15 digits, times as ISO 8601, UTC if zoned."""
    if cells.dtype.kind == "M":
        # Not through Timestamps, which cannot be formatted beyond the year 9999.
        zoned = isinstance(cells.dtype, pd.DatetimeTZDtype)
        zone = "Z" if zoned else ""
        moments = (cells.dt.tz_convert(None) if zoned else cells).to_numpy()
        return ["" if np.isnat(cell) else f"{np.datetime_as_string(cell, unit='auto')}{zone}" for cell in moments]
    return ["" if _missing(cell) else f"{cell:.15g}" if isinstance(cell, float) else _encodable(cell) for cell in cells]


def _missing(cell: object) -> bool:
    """Whether a cell is missing; a list or a map in a cell is there, whatever it holds."""
    if isinstance(cell, Decimal):
        return cell.is_nan()
    return bool(pd.api.types.is_scalar(cell) and pd.isna(cell))  # type: ignore[call-overload]


def _encodable(cell: object) -> str:
    """A cell as text that every file takes: lone surrogates, which are no characters, as escapes."""
    return str(cell).encode(errors="backslashreplace").decode()


def to_numbers(column: pd.Series, name: str, faults: RowErrors) -> Floats64:
    """A column as float64 (n,), NaN for a missing cell; marks the cells that are no number, which become NaN too.

    Whether a cell is a number does not depend on the others.
    """
    if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind not in "bc":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(column.dtype, pd.StringDtype):
        texts = pa.array(column, pa.string())
        try:
            numbers = pc.if_else(pc.equal(texts, ""), None, texts).cast(pa.float64())
            # Arrow takes -nan(ind) and the like for numbers.
            if not pc.any(pc.is_nan(numbers)).as_py():
                return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
        except pa.ArrowInvalid:
            pass  # A cell is no number or has spaces round it; the slow way below tells which.
    pairs = [_number(cell) for cell in column]
    faults.mark(np.array([value is None for value in pairs], dtype=bool), name, "is no number")
    return np.array([np.nan if value is None else value for value in pairs], dtype=np.float64)


def _number(cell: object) -> float | None:
    """A cell as a number: NaN if it is missing, None if it is something else."""
    if isinstance(cell, str):
        text = cell.strip()
        if text.lower() in MISSING:
            return float("nan")
        try:
            # `float` also reads 1_000, which no file means as a number, and digits of every script, as Arrow does not.
            return None if "_" in text or not text.isascii() else float(text or "nan")
        except ValueError:
            return None
    if cell is None or cell is pd.NA:
        return float("nan")
    # A complex number, a duration or bytes would become a float too.
    if not isinstance(cell, Real | Decimal) or isinstance(cell, bool | np.timedelta64):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None
