"""Parquet files and Arrow IPC, as a file (Feather) or a stream, told by their first bytes.

Levels of an index of pandas are columns like the others; an unnamed one of days is the date, if nothing else is.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kline_core.bars.readers.arrow_ipc import is_ipc, read_ipc
from kline_core.bars.readers.arrow_table import check_type, column_names, text_bytes, to_frame
from kline_core.bars.readers.contents import reason, too_large
from kline_core.bars.readers.layout import columns_of
from kline_core.bars.readers.layouts import LAYOUTS
from kline_core.bars.readers.raw_rows import RawRows, raw_rows
from kline_core.bars.row_errors import rejected_frame
from kline_core.errors import InputError

SUFFIXES: tuple[str, ...] = (".parquet", ".feather", ".arrow", ".arrows", ".ipc")
PARQUET = b"PAR1"
"""How a Parquet file begins."""


def recognises(data: bytes, path: Path) -> bool:
    """By the first bytes; what is named so and begins otherwise is damaged, and no text."""
    return data.startswith(PARQUET) or is_ipc(data) or path.name.lower().endswith(SUFFIXES)


def read(data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None = None) -> RawRows:
    """Rows of the contents of a Parquet, Feather or Arrow file, numbered from 1.

    Raises `InputError` if it is damaged, of no known layout, or holds more than `max_bytes`.
    """
    source = str(path)
    try:
        whole = read_ipc(data, path, max_bytes) if is_ipc(data) else None
        if whole is not None:
            types, rows, size = whole.schema, whole.num_rows, whole.nbytes
        else:
            file = pq.ParquetFile(pa.BufferReader(data))
            types, rows, size = file.schema_arrow, file.metadata.num_rows, _unpacked(file)
        names = column_names(types)
        columns = columns_of(source, names, LAYOUTS, mapping)
        written = [types.names[names.index(name)] for name in columns.used]
        for name, meaning in zip(written, columns.used.values(), strict=True):
            check_type(types.field(name).type, meaning, source)
        # A column of one repeated value takes no room in the file, but eight bytes for each row once it is read.
        if rows * len(columns.used) * 8 > max_bytes or size > max_bytes:
            raise too_large(path, max_bytes)
        if whole is None:
            # Texts stay where they stand once, until it is known how much they are when each row has its own.
            texts = [name for name in written if types.field(name).type in (pa.string(), pa.large_string())]
            whole = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts).read(columns=written)
        table = whole.select(written).rename_columns(list(columns.used.values()))
        if text_bytes(table) > max_bytes:
            raise too_large(path, max_bytes)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}; deliver it again, whole", source=source) from error
    frame = to_frame(table, source)
    return raw_rows(frame.set_axis(np.arange(1, len(frame) + 1)), rejected_frame([]), columns, path, SUFFIXES)


def _unpacked(file: pq.ParquetFile) -> int:
    return sum(file.metadata.row_group(at).total_byte_size for at in range(file.metadata.num_row_groups))
