"""Excel workbooks (.xlsx), by openpyxl, which the extra `excel` brings along.

Every sheet with the columns of a layout is a table. Where one sheet alone has them it is the file, and the file's name
may be the symbol; where several have, each stands in the report under its own name, which may be the symbol. The names
of the columns may stand a few lines below a title, rows are numbered as Excel numbers them, and blank ones are no rows.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core.bars.readers import archive
from kline_core.bars.readers.contents import too_large, unreadable
from kline_core.bars.readers.layout import columns_of, is_number, refuse_rows_above
from kline_core.bars.readers.layouts import LAYOUTS, known_names
from kline_core.bars.readers.raw_rows import RawRows, raw_rows
from kline_core.bars.row_errors import rejected_frame
from kline_core.errors import InputError

SUFFIXES: tuple[str, ...] = (".xlsx", ".xlsm")

_TITLE_LINES: Final = 10
_LEAST_KNOWN: Final = 4
"""Known column names that make a line the header."""
_MOST_ROWS, _MOST_COLUMNS = 1_048_576, 256
"""Rows that Excel has at the most, and columns that are looked at: a cell far to the right would fill its row."""
_BLANK: Final = (None,) * _MOST_COLUMNS
_MOST_XML: Final = 512 * 2**20
"""Unpacked bytes of a workbook at the most: a short text takes some five times as much memory once it is read."""
_GIVEN: Final = re.compile(r"(sheet|tabelle|feuil|hoja|foglio|planilha|工作表|シート)[\s_]*\d*", re.IGNORECASE)
"""Titles that spreadsheet programs give."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A sheet of a workbook."""

    sheet: Any
    head: list[tuple[int, list[str]]]
    """Numbers and cells of its first lines that are not blank."""
    header: tuple[int, list[str]] | None
    """The line that names the columns; None if there is none."""


def recognises(data: bytes, path: Path) -> bool:
    """By the first bytes and the members; what is named so and is no archive at all is damaged, and no text."""
    return (data.startswith(archive.ZIP) and archive.is_workbook(data)) or path.name.lower().endswith(SUFFIXES)


def read(data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None = None) -> RawRows:
    """Rows of a workbook with one sheet of bars. Raises `InputError`, as `sheets` does, also if there are several."""
    found = [read for _, read in sheets(data, path, max_bytes, mapping) if read is not None]
    if len(found) > 1:
        raise InputError(f"{path}: holds {len(found)} sheets of bars, where one is wanted", source=str(path))
    return found[0]()


def sheets(
    data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None = None
) -> list[tuple[Path, partial[RawRows] | None]]:
    """Every sheet with bars, by its name, and how to read it; None for a sheet with other things.

    Raises `InputError`, and so does the reading, if the workbook is damaged, has no sheet of a known layout, or holds
    more than `max_bytes`, or if openpyxl is missing.
    """
    workbook = _opened(data, path, max_bytes)
    known = known_names(mapping)
    try:
        found = [_looked_at(sheet, known) for sheet in workbook.worksheets]
    except Exception as error:  # the file is another program's, and the reader another library
        raise unreadable(path, error) from error
    found = [sheet for sheet in found if sheet.head]
    if not found:
        raise InputError(f"{path}: is empty: none of its sheets has a cell; deliver it again, whole", source=str(path))
    bars = [sheet for sheet in found if sheet.header is not None]
    if not bars:
        # Raises what is missing, and of which layout.
        columns_of(str(path), found[0].head[0][1], LAYOUTS, mapping)
        bars = [_Sheet(found[0].sheet, found[0].head, found[0].head[0])]
        found = [*bars, *found[1:]]
    names = {id(sheet): path if len(bars) == 1 else path / _file_name(sheet.sheet.title) for sheet in bars}
    return [
        (names[id(sheet)], partial(_read, sheet, names[id(sheet)], max_bytes, mapping))
        if id(sheet) in names
        else (path / _file_name(sheet.sheet.title), None)
        for sheet in found
    ]


def _opened(data: bytes, path: Path, max_bytes: int) -> Any:
    # What is no archive is damaged, and what holds too much is refused before it is unpacked.
    entries = archive.opened(data, path, min(max_bytes, _MOST_XML)).infolist()
    names = {entry.filename for entry in entries}
    if "xl/workbook.xml" not in names:
        raise InputError(
            f"{path}: is a file of an office program, but no .xlsx workbook; save it as .xlsx or CSV", source=str(path)
        )
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise InputError(
            f"{path}: is an Excel workbook, which needs openpyxl: pip install 'kline-factor[excel]', or save it as CSV",
            source=str(path),
        ) from error
    # About styles and the like, which bars do not have. Set each time, since it costs nothing.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"openpyxl\.")
    try:
        return load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    except Exception as error:  # the file is another program's, and the reader another library
        raise unreadable(path, error) from error


def _looked_at(sheet: Any, known: frozenset[str]) -> _Sheet:
    head: list[tuple[int, list[str]]] = []
    for number, cells in _rows(sheet):
        head.append((number, ["" if cell is None else str(cell) for cell in cells]))
        if len(head) == _TITLE_LINES:
            break
    header, best = None, _LEAST_KNOWN - 1
    for line in head:
        score = sum(name.strip().lower() in known for name in line[1])
        if score > best:
            best, header = score, line
    return _Sheet(sheet, head, header)


def _rows(sheet: Any, first: int = 1) -> Iterator[tuple[int, Sequence[Any]]]:
    """Numbers and cells of the lines that are not blank."""
    # Some programs write dimensions that are too small, and rows beyond them would be lost.
    sheet.reset_dimensions()
    lines = sheet.iter_rows(min_row=first, max_row=_MOST_ROWS, max_col=_MOST_COLUMNS, values_only=True)
    for number, cells in enumerate(lines, start=first):
        # Openpyxl fills in the rows that are missing.
        if cells != _BLANK and any(cell is not None and cell != "" for cell in cells):
            yield number, cells


def _read(sheet: _Sheet, path: Path, max_bytes: int, mapping: Mapping[str, str] | None) -> RawRows:
    line, names = sheet.header or sheet.head[0]
    refuse_rows_above(path, (each for each in sheet.head if each[0] < line), line)
    columns = columns_of(str(path), names, LAYOUTS, mapping)
    places = [names.index(name) for name in columns.used]
    most = max_bytes // (8 * len(places))
    lines: list[tuple[int, list[Any]]] = []
    last: list[str] = []
    trailer = re.compile(columns.layout.trailer) if columns.layout.trailer else None
    try:
        for number, row in _rows(sheet.sheet, line + 1):
            lines.append((number, [row[place] if place < len(row) else None for place in places]))
            # Lines at the end that are no rows, each in a cell of its own.
            held = [str(cell) for cell in row if cell is not None and cell != ""] if trailer else []
            last = [*last, held[0]] if trailer and len(held) == 1 and trailer.fullmatch(held[0].strip()) else []
            if len(lines) > most:
                raise too_large(path, max_bytes)
    except InputError:
        raise
    except Exception as error:  # the file is another program's, and the reader another library
        raise unreadable(path, error) from error
    lines = lines[: len(lines) - len(last)]
    index = pd.Index([number for number, _ in lines], dtype=np.int64)
    frame = pd.DataFrame(
        {
            meaning: _column([row[at] for _, row in lines], meaning, index)
            for at, meaning in enumerate(columns.used.values())
        },
        index=index,
    )
    return raw_rows(frame, rejected_frame([]), columns, path, SUFFIXES)


def _column(cells: list[Any], meaning: str, index: pd.Index) -> pd.Series:
    """Cells of one column: numbers and days as such if all are, else each as it is."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if is_number(meaning) and kinds <= {int, float}:
        try:
            return pd.Series(np.array([np.nan if cell is None else cell for cell in cells], np.float64), index=index)
        except OverflowError:
            pass  # a whole number of hundreds of digits
    if meaning == "date" and kinds == {datetime}:
        return pd.Series(np.array(cells, dtype="datetime64[us]"), index=index)
    if meaning == "symbol":
        # A code without letters is a number to Excel.
        cells = [_as_text(cell) for cell in cells]
    return pd.Series(cells, index=index, dtype=object)


def _as_text(cell: object) -> object:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell


def _file_name(title: str) -> str:
    """Title of a sheet as the name of a file; the one that a program gives by itself as none that a symbol may have."""
    name = title.replace("/", "_").replace("\0", "_").strip()
    return f"sheet {name}" if not name or _GIVEN.fullmatch(name) else name
