"""Cells of a text file as Arrow has read them, numbers as numbers, before they are a frame.

A frame costs more time than its cells where the file is small, as files of one symbol are. So `joined_cells` makes one
of many files, and `TypedCells.frame` that of a file which is looked at alone; their columns are of the same types.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core.bars.readers.arrow_table import to_frame
from kline_core.typing import Int64s

_TEXT = pd.StringDtype(na_value=np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class TypedCells:
    """The rows of a file that lie in lines after each other, at least one."""

    table: pa.Table
    """Columns named by their meaning: float64, and text without nulls, which is UTF-8."""
    symbol: str | None
    """The symbol of all rows; None where it is a column."""
    first_row: int
    """Number of the first row's line."""
    source: str
    """Name of the file, for errors."""

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.table.num_rows)

    def without(self, columns: Collection[str]) -> Self:
        """The cells without some columns, as far as they are there."""
        there = [name for name in self.table.column_names if name in columns]
        return replace(self, table=self.table.drop_columns(there)) if there else self

    def frame(self) -> pd.DataFrame:
        """The cells as a frame, whose index is the row number."""
        frame = to_frame(self.table, self.source).set_axis(np.arange(len(self)) + self.first_row)
        if self.symbol is not None:
            insert_symbol(frame, self.symbol)
        return frame


def insert_symbol(frame: pd.DataFrame, symbol: str) -> None:
    """Make a symbol the first column, in place."""
    column = pa.repeat(pa.scalar(symbol, pa.string()), len(frame)).to_pandas(types_mapper={pa.string(): _TEXT}.get)
    frame.insert(0, "symbol", column.set_axis(frame.index))


def joined_cells(files: Sequence[TypedCells]) -> tuple[pd.DataFrame, Int64s]:
    """The cells of files with the same columns, below each other, and their row numbers, int64 (n,).

    A symbol that all rows of a file share is a category, as whose name it would be looked up row by row.
    """
    sizes = np.array([len(cells) for cells in files], dtype=np.int64)
    file, place = np.repeat(np.arange(len(files)), sizes), np.arange(sizes.sum())
    rows = place + np.repeat([cells.first_row for cells in files] - (np.cumsum(sizes) - sizes), sizes)
    frame = to_frame(pa.concat_tables([cells.table for cells in files]), files[0].source)
    if files[0].symbol is not None:
        codes, names = pd.factorize(pd.Index([str(cells.symbol) for cells in files]))
        frame.insert(0, "symbol", pd.Series(pd.Categorical.from_codes(codes[file], names), index=frame.index))
    return frame, rows
