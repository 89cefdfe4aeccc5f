"""Arrow tables as frames of cells that the row checks take."""

import re
from collections.abc import Iterable
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.readers.layouts import LAYOUTS
from kline_core.errors import InputError

_UNNAMED: Final = re.compile(r"__index_level_\d+__")
"""Names that pandas gives to levels of an index without one."""
_DATES: Final = frozenset(
    name
    for layout in LAYOUTS
    for name, what in layout.columns.items()
    if what == "date" and name and not _UNNAMED.fullmatch(name)
)
_SYMBOLS: Final = frozenset(name for layout in LAYOUTS for name, what in layout.columns.items() if what == "symbol")


def to_frame(table: pa.Table, source: str) -> pd.DataFrame:
    """The columns of a table, named by their meaning, as a frame; what pandas once noted of an index is not heeded.

    A cell becomes the same whatever stands in the others: whole numbers that stand for dates stay whole where one is
    missing. Times with a zone become UTC, as no time with a zone is a date.

    Raises `InputError` if a column holds neither text nor numbers nor dates, or text that is not UTF-8.
    """
    columns = [_plain(table.column(at), name, source) for at, name in enumerate(table.column_names)]
    frame: pd.DataFrame = pa.table(columns, names=table.column_names).to_pandas(
        date_as_object=False, ignore_metadata=True
    )
    return frame


def column_names(schema: pa.Schema) -> list[str]:
    """Names of the columns; levels of an index that pandas found without a name are named date and symbol.

    One of days is named date, but not where another column holds days, or is named as dates are; one of text symbol,
    but not where another column is named as symbols are.
    """
    names: list[str] = list(schema.names)
    texts = [at for at, field in enumerate(schema) if _UNNAMED.fullmatch(field.name) and _is_text(field.type)]
    # The labels of an index of one level may be anything; of several levels one is of days, or of text that is days.
    levels = (schema.pandas_metadata or {}).get("index_columns", [])
    if len(texts) == 1 and len(levels) > 1 and not any(str(name).strip().lower() in _SYMBOLS for name in names):
        names[texts[0]] = "symbol"
    days = [at for at, field in enumerate(schema) if is_days(field.type)]
    if len(days) == 1 and _UNNAMED.fullmatch(names[days[0]]) and not names_date(names):
        names[days[0]] = "date"
    return names


def _is_text(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_days(kind: pa.DataType) -> bool:
    """Whether a column of a type holds days or moments."""
    kind = _value_type(kind)
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def names_date(names: Iterable[object]) -> bool:
    """Whether one of some column names is that of dates in some layout."""
    return any(str(name).strip().lower() in _DATES for name in names)


def text_bytes(table: pa.Table) -> int:
    """Bytes of all text cells, each by itself: one long text that many rows refer to counts for each of them."""
    return sum(_text_bytes(chunk) for column in table.columns for chunk in column.chunks)


def _text_bytes(cells: pa.Array) -> int:
    if pa.types.is_dictionary(cells.type):
        lengths = _lengths(cells.dictionary)
        return 0 if lengths is None else pc.sum(pc.take(lengths, cells.indices)).as_py() or 0
    lengths = _lengths(cells)
    return 0 if lengths is None else pc.sum(lengths).as_py() or 0


def _lengths(cells: pa.Array) -> pa.Array | None:
    """Bytes of each text cell; None if the cells are no text."""
    kind = cells.type
    if pa.types.is_string_view(kind):
        # A view is its length, and its text or where that is.
        views = cells.buffers()[1]
        ints = np.frombuffer(views, np.int32) if views is not None else np.zeros(0, np.int32)
        return pa.array(ints[4 * cells.offset : 4 * (cells.offset + len(cells)) : 4].astype(np.int64))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.binary_length(cells).cast(pa.int64())
    return None


def check_type(kind: pa.DataType, name: str, source: str) -> None:
    """Raise `InputError` for a column of a type that holds neither text nor numbers nor, if it is date, days."""
    types = pa.types
    kind = _value_type(kind)
    fits = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    fits |= types.is_null(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    fits |= types.is_date(kind) or types.is_timestamp(kind)
    if not fits:
        wanted = "days or text" if name == "date" else "text" if name == "symbol" else "numbers"
        raise InputError(f"{source}: column {name} holds {kind}; it must hold {wanted}", source=source, column=name)


def _value_type(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    return kind


def _plain(column: pa.ChunkedArray, name: str, source: str) -> pa.ChunkedArray:
    check_type(column.type, name, source)
    kind = _value_type(column.type)
    column = column if kind == column.type else column.cast(kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{source}: column {name} holds text that is not UTF-8; write it as UTF-8", source=source, column=name
            ) from error
    elif pa.types.is_integer(kind) and name == "date":
        column = column.cast(pa.string())
    elif pa.types.is_timestamp(kind) and kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit, "UTC"))
    return column
