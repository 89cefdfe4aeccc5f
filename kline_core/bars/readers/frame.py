"""Frames in the plain layout: a pandas DataFrame, or any object with the Arrow PyCapsule interface.

Columns are those of any layout (`kline_core.bars.readers.layouts`); levels of a pandas index that have a name count as
columns. Source of the interface: Apache Arrow, "The Arrow PyCapsule
Interface"; polars DataFrames, DuckDB relations and pyarrow tables have it.
"""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core.bars.convention import Adjustment
from kline_core.bars.readers.arrow_table import to_frame
from kline_core.bars.readers.layout import columns_of
from kline_core.bars.readers.layouts import LAYOUTS
from kline_core.bars.readers.raw_rows import RawRows, without_asides
from kline_core.bars.readers.side_by_side import unfolded
from kline_core.bars.row_errors import rejected_frame
from kline_core.errors import InputError


@runtime_checkable
class ArrowStream(Protocol):
    """An object with the Arrow PyCapsule interface, as a stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Its data as a stream of record batches."""


@runtime_checkable
class ArrowArray(Protocol):
    """An object with the Arrow PyCapsule interface, as one record batch."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> object:
        """Its data as one record batch."""


Frame: TypeAlias = pd.DataFrame | ArrowStream | ArrowArray


def is_frame(value: object) -> bool:
    """Whether a value is a frame that can be read."""
    return isinstance(value, pd.DataFrame | ArrowStream | ArrowArray)


def read_frame(frame: Frame, source: str) -> RawRows:
    """Rows of a frame, numbered from 1; `source` names it in reports.

    Raises `InputError` if it cannot be read, is empty, or lacks a column, `symbol` included.
    """
    table = _table(frame, source)
    names = [str(name) for name in (table.column_names if isinstance(table, pa.Table) else table.columns)]
    columns = columns_of(source, names, LAYOUTS)
    used = columns.used
    if "symbol" not in used.values() and not columns.symbols:
        raise InputError(
            f"{source}: column symbol is missing; its columns are {', '.join(names)}", source=source, column="symbol"
        )
    places = [names.index(name) for name in used]
    if isinstance(table, pa.Table):
        chosen = to_frame(table.select(places).rename_columns(list(used.values())), source)
    else:
        chosen = table.iloc[:, places].set_axis(list(used.values()), axis=1)
    chosen = unfolded(chosen.set_axis(np.arange(1, len(chosen) + 1)), columns.symbols)
    if len(chosen) == 0:
        raise InputError(f"{source}: holds no rows", source=source)
    layout = columns.layout
    chosen, adjustment = without_asides(layout.tidy(chosen), layout, source)
    return RawRows(chosen, rejected_frame([]), columns.ignored, layout, adjustment or Adjustment.RAW)


def _table(frame: Frame, source: str) -> pd.DataFrame | pa.Table:
    if isinstance(frame, pd.DataFrame):
        # A level that is also a column says nothing new.
        levels: list[Any] = [name for name in frame.index.names if name is not None and name not in frame.columns]
        return frame.reset_index(level=levels) if levels else frame
    try:
        return pa.table(frame)
    except Exception as error:  # the object is another library's, and so is what it raises
        raise InputError(f"{source}: cannot be read: {' '.join(str(error).split())}", source=source) from error
