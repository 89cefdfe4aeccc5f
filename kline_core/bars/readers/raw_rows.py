"""Rows as a reader delivers them, before any check."""

from dataclasses import dataclass

import pandas as pd

from kline_core.bars.row_checks import OPTIONAL, REQUIRED
from kline_core.errors import InputError


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of one file or frame before any check."""

    frame: pd.DataFrame
    """The columns `REQUIRED` and any of `OPTIONAL`. The index is the row number: in a CSV file the line as an editor
    counts it, with the header as line 1; in a Parquet file or a frame the row, counted from 1."""
    malformed: pd.DataFrame
    """`REJECTED_COLUMNS`: lines with too many or too few cells."""
    ignored: tuple[str, ...]
    """Columns that were not read."""


def match_columns(source: str, names: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The names of the columns to read, each with its meaning, and the ignored names.

    Raises `InputError` if a column is there twice or missing; `symbol` may be missing.
    """
    used: dict[str, str] = {}
    for name in names:
        meaning = name.strip().lower()
        if meaning in used.values():
            raise InputError(f"{source}: column {meaning} is there twice", source=source, column=meaning)
        if meaning in (*REQUIRED, *OPTIONAL):
            used[name] = meaning
    missing = [name for name in REQUIRED if name != "symbol" and name not in used.values()]
    if missing:
        raise InputError(
            f"{source}: column {missing[0]} is missing; its columns are {', '.join(names)}",
            source=source,
            column=missing[0],
        )
    return used, tuple(name for name in names if name not in used)
