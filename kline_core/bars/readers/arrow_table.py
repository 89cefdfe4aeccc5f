"""Arrow tables as frames of cells that the row checks take."""

import pandas as pd
import pyarrow as pa

from kline_core.errors import InputError


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
