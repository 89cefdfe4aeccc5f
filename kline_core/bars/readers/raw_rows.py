"""Rows as a reader delivers them, before any check."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from kline_core.bars.readers.contents import stem_of
from kline_core.bars.readers.layout import Columns, Layout
from kline_core.errors import InputError
from kline_core.symbols import is_symbol

_TEXT = pd.StringDtype(na_value=float("nan"))


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of one file or frame before any check."""

    frame: pd.DataFrame
    """The columns `REQUIRED` and any of `OPTIONAL` and `HINTS`. The index is the row number: in a text file the line as
    an editor counts it, in another file or a frame the row, counted from 1."""
    malformed: pd.DataFrame
    """`REJECTED_COLUMNS`: lines with too many or too few cells."""
    ignored: tuple[str, ...]
    """Columns that were not read."""
    layout: Layout
    """What the columns were understood as."""


def raw_rows(
    frame: pd.DataFrame, malformed: pd.DataFrame, columns: Columns, path: Path, suffixes: tuple[str, ...]
) -> RawRows:
    """Rows of a file, each with its symbol.

    Args:
        frame: Cells in columns named by their meaning.
        malformed: `REJECTED_COLUMNS`.
        columns: The file's columns.
        path: The file, whose name is the symbol where no column is.
        suffixes: Endings of files of its kind, which are no part of a symbol.

    Raises:
        InputError: There are no rows; there is no symbol column and the file's name is no symbol; or the file is named
            after one of several symbols that it holds.
    """
    if len(frame) + len(malformed) == 0:
        raise InputError(f"{path}: holds no rows; deliver it again, whole", source=str(path))
    layout = columns.layout
    frame = layout.tidy(frame)
    convention = layout.convention
    stem = stem_of(path, suffixes)
    named = convention.symbol(stem)
    if "symbol" in frame.columns:
        held = {convention.symbol(value) for value in frame["symbol"].dropna().unique()}
        held = {symbol for symbol in held if is_symbol(symbol)}
        if named in held and len(held) > 1:
            other = min(held - {named})
            raise InputError(
                f"{path}: is named after symbol {named} but holds {len(held)} symbols, also {other}; "
                "remove the others or rename the file",
                source=str(path),
                column="symbol",
                value=other,
            )
    elif is_symbol(named) and not stem.lower().endswith(suffixes):
        column = pa.repeat(pa.scalar(named, pa.string()), len(frame)).to_pandas(types_mapper={pa.string(): _TEXT}.get)
        frame.insert(0, "symbol", column.set_axis(frame.index))
    else:
        raise InputError(
            f"{path}: has no symbol column, and its name {stem!r} is no symbol; add the one or change the other",
            source=str(path),
            column="symbol",
            value=stem,
        )
    return RawRows(frame, malformed, columns.ignored, layout)
