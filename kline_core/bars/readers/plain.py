"""Reader of files in the plain layout.

The plain layout is a CSV (UTF-8, comma) or Parquet file with the columns `symbol, date, open, high, low, close, volume`
and optionally `amount` and `adj_factor`, in any order and letter case; other columns are ignored. If it has no `symbol`
column, the file's name is the symbol of all its rows.

A CSV file is first read with numbers as numbers, on all cores. If a cell does not fit, or readers of CSV could divide a
line into different cells, the file is read again as text, line by line, so that every bad row can be named. Both ways
give the same numbers, and the same verdict on every row.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kline_core._text import is_utf8
from kline_core.bars.readers.arrow_table import check_type, to_frame
from kline_core.bars.readers.contents import MAX_FILE_BYTES, read_contents, reason, too_large
from kline_core.bars.readers.csv_text import CsvText, Line, lines, not_utf8, split_header
from kline_core.bars.readers.raw_rows import RawRows, match_columns
from kline_core.bars.row_checks import PRICES
from kline_core.bars.row_errors import rejected_frame, rejected_rows
from kline_core.errors import InputError
from kline_core.symbols import is_symbol
from kline_core.typing import Int64s

SUFFIXES: tuple[str, ...] = (".csv", ".csv.gz", ".parquet")
_NUMBERS = {*PRICES, "volume", "amount", "adj_factor"}
_CHUNK = 50_000
# Lines that are no rows cost some hundred bytes each: a gigabyte of them would take all the memory there is.
_MOST_MALFORMED = 1_000_000


def recognises(path: Path) -> bool:
    """Whether the file has one of `SUFFIXES`: a file that no other reader knows counts as plain."""
    return _suffix(path) is not None


def read(path: Path, max_bytes: int = MAX_FILE_BYTES) -> RawRows:
    """Rows of one recognised file.

    Raises:
        InputError: The file is no regular file, cannot be read, holds more than `max_bytes`, is empty, not UTF-8, or
            lacks a column; it has no symbol column and its name is no symbol; or it is named after one of several
            symbols that it holds.
    """
    suffix = _suffix(path) or ""
    data = read_contents(path, max_bytes)
    raw = _read_parquet(data, path, max_bytes) if suffix == ".parquet" else _read_csv(data, path)
    if len(raw.frame) + len(raw.malformed) == 0:
        raise InputError(f"{path}: holds no rows; deliver it again, whole", source=str(path))
    stem = path.name[: -len(suffix)]
    if "symbol" in raw.frame.columns:
        held = [symbol for symbol in raw.frame["symbol"].dropna().unique() if is_symbol(symbol)]
        if stem in held and len(held) > 1:
            other = next(symbol for symbol in held if symbol != stem)
            raise InputError(
                f"{path}: is named after symbol {stem} but holds {len(held)} symbols, also {other}; "
                "remove the others or rename the file",
                source=str(path),
                column="symbol",
                value=other,
            )
    elif is_symbol(stem) and not stem.lower().endswith(SUFFIXES):
        raw.frame.insert(0, "symbol", pd.Series(stem, index=raw.frame.index, dtype="str"))
    else:
        raise InputError(
            f"{path}: has no symbol column, and its name {stem!r} is no symbol; add the one or change the other",
            source=str(path),
            column="symbol",
            value=stem,
        )
    return raw


def _read_csv(data: bytes, path: Path) -> RawRows:
    text = split_header(data, path)
    used, ignored = match_columns(str(path), text.names)
    table = _typed(text, used)
    if table is not None:
        numbers, malformed = np.arange(2, 2 + len(table)), rejected_frame([])
    else:
        table, numbers, malformed = _as_text(text, used)
    return RawRows(to_frame(table, str(path)).set_axis(numbers), malformed, ignored)


def _typed(text: CsvText, used: dict[str, str]) -> pa.Table | None:
    """The columns in use, prices and volumes as numbers; None if a line needs a closer look."""
    count = text.count_lines()
    # A row has at least its commas: what has more lines has blank ones, which cost Arrow as much as rows.
    if count == 0 or count * len(text.names) > text.end - text.start + 1 or not text.is_simple():
        return None
    types = {name: pa.float64() if meaning in _NUMBERS else pa.string() for name, meaning in used.items()}
    try:
        table = pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(text.body())),
            read_options=pacsv.ReadOptions(column_names=text.names),
            parse_options=pacsv.ParseOptions(ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types=types, include_columns=list(used), null_values=[""], strings_can_be_null=False
            ),
        ).rename_columns(list(used.values()))
    except pa.ArrowInvalid:
        return None
    # Arrow ends a line at a lone CR too, and takes -nan(ind) for a number; a row without a date may be a blank line.
    finite = all(pc.all(pc.is_finite(table[name])).as_py() is not False for name in used.values() if name in _NUMBERS)
    sure = finite and len(table) == count and not pc.any(pc.equal(table["date"], "")).as_py()
    return table if sure else None


def _as_text(text: CsvText, used: dict[str, str]) -> tuple[pa.Table, Int64s, pd.DataFrame]:
    """The columns in use as text, the number of each row's line, and the lines that are no rows as `REJECTED_COLUMNS`.

    Raises `InputError` if a cell in use is not UTF-8, or too many lines are no rows.
    """
    places = [text.names.index(name) for name in used]
    schema = pa.schema([(meaning, pa.string()) for meaning in used.values()])
    parts = [schema.empty_table()]
    numbers: list[int] = []
    malformed: list[Line] = []
    sound = _rows(text, places, malformed)
    while chunk := list(islice(sound, _CHUNK)):
        numbers += [number for number, _ in chunk]
        columns = zip(*(cells for _, cells in chunk), strict=True)
        parts.append(pa.table([pa.array(column, pa.string()) for column in columns], schema=schema))
    at = pd.Index([line.number for line in malformed], dtype=np.int64)
    faults = np.array([f"row {line.fault}" for line in malformed], dtype=object)
    texts = pd.Series([line.text for line in malformed], dtype=object)
    rejected = rejected_rows(str(text.path), at, pd.Series("", index=at), faults, texts)
    return pa.concat_tables(parts), np.array(numbers, dtype=np.int64), rejected_frame([rejected])


def _rows(text: CsvText, places: list[int], malformed: list[Line]) -> Iterator[tuple[int, list[str]]]:
    """Number of each row's line and its cells in use; the lines that are no rows are added to `malformed`."""
    for line in lines(text):
        cells = [line.text] if line.fault else [line.cells[place] for place in places]
        if not line.text.isascii() and not all(map(is_utf8, cells)):
            raise not_utf8(text.path, line.number)
        if line.fault:
            malformed.append(line)
            if len(malformed) > _MOST_MALFORMED:
                first = malformed[0]
                raise InputError(
                    f"{text.path}: more than {_MOST_MALFORMED} of its lines are no rows, the first is line "
                    f"{first.number}, which {first.fault}; it is no file of this layout",
                    source=str(text.path),
                    row=first.number,
                )
        elif any(line.cells):
            yield line.number, cells


def _read_parquet(data: bytes, path: Path, max_bytes: int) -> RawRows:
    source = str(path)
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        schema = file.schema_arrow
        used, ignored = match_columns(source, schema.names)
        for name, meaning in used.items():
            check_type(schema.field(name).type, meaning, source)
        # A column of one repeated value takes no room in the file, but eight bytes for each row once it is read.
        if file.metadata.num_rows * len(used) * 8 > max_bytes or _unpacked(file) > max_bytes:
            raise too_large(path, max_bytes)
        table = file.read(columns=list(used)).select(list(used)).rename_columns(list(used.values()))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}; deliver it again, whole", source=source) from error
    frame = to_frame(table, source)
    return RawRows(frame.set_axis(np.arange(1, len(frame) + 1)), rejected_frame([]), ignored)


def _unpacked(file: pq.ParquetFile) -> int:
    return sum(file.metadata.row_group(at).total_byte_size for at in range(file.metadata.num_row_groups))


def _suffix(path: Path) -> str | None:
    """The one of `SUFFIXES` that the file's name ends with, in any letter case, or None."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
