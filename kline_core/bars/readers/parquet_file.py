"""Parquet and Feather (Arrow IPC) files, told by their first bytes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from kline_core.bars.readers.arrow_table import check_type, to_frame
from kline_core.bars.readers.contents import reason, too_large
from kline_core.bars.readers.layout import columns_of
from kline_core.bars.readers.layouts import LAYOUTS
from kline_core.bars.readers.raw_rows import RawRows, raw_rows
from kline_core.bars.row_errors import rejected_frame
from kline_core.errors import InputError

SUFFIXES: tuple[str, ...] = (".parquet", ".feather", ".arrow")
PARQUET, FEATHER = b"PAR1", b"ARROW1"
"""How the files begin."""


def recognises(data: bytes, path: Path) -> bool:
    """By the first bytes; what is named so and begins otherwise is damaged, and no text."""
    return data.startswith((PARQUET, FEATHER)) or path.name.lower().endswith(SUFFIXES)


def read(data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None = None) -> RawRows:
    """Rows of the contents of a Parquet or Feather file, numbered from 1.

    Raises `InputError` if it is damaged, of no known layout, or holds more than `max_bytes`.
    """
    source = str(path)
    try:
        if data.startswith(FEATHER):
            whole = feather.read_table(pa.BufferReader(data))
            names, types = whole.column_names, whole.schema
            rows, size = whole.num_rows, whole.nbytes
        else:
            file = pq.ParquetFile(pa.BufferReader(data))
            types = file.schema_arrow
            names, rows, size = types.names, file.metadata.num_rows, _unpacked(file)
        columns = columns_of(source, names, LAYOUTS, mapping)
        for name, meaning in columns.used.items():
            check_type(types.field(name).type, meaning, source)
        # A column of one repeated value takes no room in the file, but eight bytes for each row once it is read.
        if rows * len(columns.used) * 8 > max_bytes or size > max_bytes:
            raise too_large(path, max_bytes)
        table = whole if data.startswith(FEATHER) else file.read(columns=list(columns.used))
        table = table.select(list(columns.used)).rename_columns(list(columns.used.values()))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}; deliver it again, whole", source=source) from error
    frame = to_frame(table, source)
    return raw_rows(frame.set_axis(np.arange(1, len(frame) + 1)), rejected_frame([]), columns, path, SUFFIXES)


def _unpacked(file: pq.ParquetFile) -> int:
    return sum(file.metadata.row_group(at).total_byte_size for at in range(file.metadata.num_row_groups))
