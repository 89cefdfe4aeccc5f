"""Reader of files in the plain layout.

The plain layout is a CSV (UTF-8, comma) or Parquet file with the columns `symbol, date, open, high, low, close, volume`
and optionally `amount` and `adj_factor`, in any order and letter case; other columns are ignored. If it has no `symbol`
column, the file's name is the symbol of all its rows.

A CSV file is first read with numbers as numbers, on all cores. If a cell does not fit, the file is read again as text,
row by row, so that every bad row can be named. Both ways give the same numbers.
"""

import csv
import gzip
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from kline_core.bars.readers.raw_rows import RawRows, match_columns
from kline_core.bars.row_checks import PRICES
from kline_core.bars.row_errors import rejected_frame, rejected_rows
from kline_core.errors import InputError
from kline_core.symbols import is_symbol

SUFFIXES: tuple[str, ...] = (".csv", ".csv.gz", ".parquet")
_NUMBERS = {*PRICES, "volume", "amount", "adj_factor"}


def recognises(path: Path) -> bool:
    """Whether the file has one of `SUFFIXES`: a file that no other reader knows counts as plain."""
    return _suffix(path) is not None


def read(path: Path) -> RawRows:
    """Rows of one recognised file.

    Raises:
        InputError: The file cannot be read, is empty, not UTF-8, or lacks a column; it has no symbol column and its
            name is no symbol; or it is named after one of several symbols that it holds.
    """
    suffix = _suffix(path) or ""
    try:
        raw = _read_parquet(path) if suffix == ".parquet" else _read_csv(path)
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: line 1 is not UTF-8 text; convert the file to UTF-8", source=str(path), row=1
        ) from None
    except (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}", source=str(path)) from error
    if len(raw.frame) + len(raw.malformed) == 0:
        raise InputError(f"{path}: holds no rows", source=str(path))
    stem = path.name.removesuffix(suffix)
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
    elif is_symbol(stem):
        raw.frame.insert(0, "symbol", pd.Series(stem, index=raw.frame.index, dtype="str"))
    else:
        raise InputError(
            f"{path}: has no symbol column, and its name {stem!r} is no symbol; add the one or change the other",
            source=str(path),
            column="symbol",
            value=stem,
        )
    return raw


def _read_csv(path: Path) -> RawRows:
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as stream:
        first = stream.readline()
    names = next(csv.reader([first.decode("utf-8-sig")]), [])
    if not names:
        raise InputError(f"{path}: is empty", source=str(path))
    used, ignored = match_columns(str(path), names)
    if not first.endswith(b"\n"):
        raise InputError(f"{path}: holds no rows", source=str(path))
    malformed: list[pacsv.InvalidRow] = []
    try:
        table = _parse(path, names, used)
    except pa.ArrowInvalid:
        table = _parse_text(path, names, used, malformed)
    lines = np.arange(2, 2 + len(table) + len(malformed))
    lines = lines[~np.isin(lines, [row.number for row in malformed])]
    frame = table.to_pandas().set_axis(lines)
    # A blank line, read as empty cells, is no row. Every row has a date, so only lines without one need a closer look.
    blank = (frame["date"] == "").to_numpy(copy=True)
    blank[blank] = [all(cell == "" or pd.isna(cell) for cell in row) for row in frame[blank].to_numpy(dtype=object)]
    at = pd.Index([row.number for row in malformed], dtype=np.int64)
    texts = pd.Series([row.text for row in malformed], dtype=object)
    reason = f"row has not the {len(names)} cells of the header"
    rejected = rejected_frame([rejected_rows(str(path), at, pd.Series("", index=at), reason, texts)])
    return RawRows(frame[~blank], rejected, ignored)


def _read_parquet(path: Path) -> RawRows:
    names = pq.read_schema(path).names
    used, ignored = match_columns(str(path), names)
    table = pq.read_table(path, columns=list(used)).rename_columns([used[name] for name in used])
    frame = table.to_pandas(date_as_object=False)
    return RawRows(frame.set_axis(np.arange(1, len(frame) + 1)), rejected_frame([]), ignored)


def _open(path: Path) -> pa.NativeFile:
    return pa.input_stream(path, compression="gzip" if _is_gzip(path) else None)


def _is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _parse(path: Path, names: list[str], used: dict[str, str]) -> pa.Table:
    """The columns in use, prices and volumes as numbers. Raises ArrowInvalid if a cell does not fit."""
    types = {name: pa.float64() if meaning in _NUMBERS else pa.string() for name, meaning in used.items()}
    options = pacsv.ConvertOptions(
        column_types=types, include_columns=list(used), null_values=[""], strings_can_be_null=False
    )
    with _open(path) as stream:
        table = pacsv.read_csv(
            stream,
            read_options=pacsv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=pacsv.ParseOptions(ignore_empty_lines=False),
            convert_options=options,
        )
    return table.rename_columns(list(used.values()))


def _parse_text(path: Path, names: list[str], used: dict[str, str], malformed: list[pacsv.InvalidRow]) -> pa.Table:
    """The columns in use as text; adds the lines with another number of cells to `malformed`."""

    def skip(row: pacsv.InvalidRow) -> str:
        malformed.append(row)
        return "skip"

    options = pacsv.ConvertOptions(
        column_types=dict.fromkeys(used, pa.string()), include_columns=list(used), strings_can_be_null=False
    )
    with _open(path) as stream:
        try:
            table = pacsv.read_csv(
                stream,
                # pyarrow knows the line numbers of skipped lines only if it reads in a single thread.
                read_options=pacsv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
                parse_options=pacsv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=skip),
                convert_options=options,
            )
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            row = _undecodable(path)
            where = "a line" if row is None else f"line {row}"
            raise InputError(
                f"{path}: {where} is not UTF-8 text; convert the file to UTF-8", source=str(path), row=row
            ) from error
    return table.rename_columns(list(used.values()))


def _undecodable(path: Path) -> int | None:
    """Number of the first line that is not UTF-8; None if all of them are."""
    with _open(path) as stream:
        data = stream.read()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return int(data[: error.start].count(10)) + 1
    return None


def _suffix(path: Path) -> str | None:
    """The one of `SUFFIXES` that the file's name ends with, in any letter case, or None."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
