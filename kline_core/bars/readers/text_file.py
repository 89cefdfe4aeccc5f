"""Text files: their encoding, the line that names the columns, and the cells of the rows behind it.

A file is first read with numbers as numbers, on all cores. If a cell does not fit, or readers of CSV could divide a
line into different cells, the file is read again as text, line by line, so that every bad row can be named. Both ways
give the same numbers, and the same verdict on every row.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from kline_core._text import is_utf8
from kline_core.bars.readers.arrow_table import to_frame
from kline_core.bars.readers.csv_text import DELIMITERS, MAX_LINE_BYTES, CsvText, Line, lines, not_utf8, split_header
from kline_core.bars.readers.layout import NEEDED, Columns, columns_of, is_number, refuse_rows_above
from kline_core.bars.readers.layouts import LAYOUTS, known_names
from kline_core.bars.readers.message import refuse_message
from kline_core.bars.readers.raw_rows import RawRows, raw_rows, typed_rows
from kline_core.bars.readers.side_by_side import joined_header
from kline_core.bars.row_errors import rejected_frame, rejected_rows
from kline_core.errors import InputError
from kline_core.typing import Int64s

_CHUNK = 50_000
_BLOCK_BYTES = 2**20
"""Bytes that Arrow divides a text into, for its threads."""
# Lines that are no rows cost some hundred bytes each: a gigabyte of them would take all the memory there is.
_MOST_MALFORMED = 1_000_000
_TITLE_LINES = 10
"""Lines above the header at the most: names of exports, dates of downloads."""
_LEGACY = ("gb18030", "cp1252")
"""Encodings of text that is not Unicode; where both fit alike, it is the first."""
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_GROUPED = r"[0-9]{1,3}(?:[. '\x{a0}\x{202f}][0-9]{3})+"
_WITH_COMMA = rf"[+-]?(?:[0-9]*|{_GROUPED})(?:,[0-9]+)?(?:[eE][+-]?[0-9]+)?"
"""In the words of RE2, which Arrow has."""
_DECIMAL_COMMA = re.compile(r"-?(?:\d*|\d{1,3}(?:[. '\xa0\u202f]\d{3})+),\d+", re.ASCII)
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)
_DECIMAL_POINT = (
    r"[+-]?(?:[0-9]*\.(?:[0-9]{1,2}|[0-9]{4,})|[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]*|[0-9]{1,3}(?:,[0-9]{3}){2,})"
)
"""Numbers of which the point, or each of several commas, is certain: not 1.234, nor 1,234."""
_POINTED = re.compile(_DECIMAL_POINT)
_ENGLISH = r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?"


SUFFIXES: tuple[str, ...] = (".csv", ".txt", ".tsv", ".mst", ".prn", ".xls")
"""Metastock's text has endings of its own. Chinese terminals write text with tabs under the name of an old workbook."""


def recognises(data: bytes, path: Path) -> bool:  # noqa: ARG001  the signature of readers
    """Always: what no other reader knows counts as text."""
    return True


def read(data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None = None) -> RawRows:  # noqa: ARG001
    """Rows of the contents of a text file.

    Raises `InputError` if it is empty, in no encoding that can be told, or of no known layout.
    """
    known = known_names(mapping)
    utf8 = _as_utf8(data, path, known)
    refuse_message(utf8, path)
    text = _find_header(utf8, path, known)
    above = _above(text)
    cells_above = ((number, _cells(line, text.delimiter)) for number, line in enumerate(above, start=1))
    refuse_rows_above(path, cells_above, text.header_line)
    columns = None if mapping else _columns_without_mapping(tuple(text.names))
    if columns is None:
        columns = columns_of(str(path), text.names, LAYOUTS, mapping)
    if columns.layout.trailer:
        text = _without_trailer(text, re.compile(columns.layout.trailer.encode()))
    text = _divided_as_its_rows(text)
    comma = text.delimiter != "," and not columns.layout.as_text and _has_decimal_commas(text, columns)
    table = _typed(text, columns, comma)
    small = text.end - text.start <= _BLOCK_BYTES
    if table is not None and small and columns.layout.leaves_cells and not columns.symbols:
        return typed_rows(table, text.header_line + 1, columns, path, SUFFIXES, "\n".join(above))
    if table is not None:
        numbers, malformed = np.arange(len(table)) + text.header_line + 1, rejected_frame([])
    else:
        table, numbers, malformed = _as_text(text, columns, comma)
    frame = to_frame(table, str(path)).set_axis(numbers)
    return raw_rows(frame, malformed, columns, path, SUFFIXES, "\n".join(above))


@lru_cache(maxsize=256)
def _columns_without_mapping(names: tuple[str, ...]) -> Columns | None:
    """`columns_of` without a mapping, as the files of a delivery mostly have the same; None if it raises."""
    try:
        return columns_of("", names, LAYOUTS)
    except InputError:
        return None


def _above(text: CsvText) -> list[str]:
    """The lines above the header."""
    lines_above = text.data[: text.start].split(b"\n")[: text.header_line - 1]
    return [line.decode(errors="replace").strip("\ufeff\r ") for line in lines_above]


def _divided_as_its_rows(text: CsvText) -> CsvText:
    """The text with the sign that divides its first row, which need not be that of the header."""
    first = next((line.text for line in lines(text)), "")
    fits = [sign for sign in (text.delimiter, *DELIMITERS) if len(_cells(first, sign)) == len(text.names)]
    return replace(text, delimiter=fits[0]) if fits else text


def _as_utf8(data: bytes, path: Path, known: frozenset[str]) -> bytes:
    """The same text in UTF-8. What its first lines are in the rest must be in too."""
    wide = next((name for mark, name in _UTF16.items() if data.startswith(mark)), None)
    head = b"\n".join(data[: 20 * MAX_LINE_BYTES].split(b"\n", _TITLE_LINES)[:_TITLE_LINES])
    if wide is None and head.count(0) > len(head) // 5:
        raise InputError(
            f"{path}: is no text, since a fifth of its bytes are 0; deliver CSV in UTF-8", source=str(path)
        )
    if wide is None and _decodes(head[:MAX_LINE_BYTES], "utf-8"):
        return data
    # GB 18030 is a superset of GBK and GB2312. Text of western Windows may pass for it: a known column
    # tells, whose name is no ASCII.
    beyond = frozenset(name for name in known if not name.isascii())
    encoding = wide or max(_LEGACY, key=lambda name: _count_known(head[:MAX_LINE_BYTES], name, beyond))
    if wide is None and not _decodes(head[:MAX_LINE_BYTES], encoding):
        return data
    try:
        return data.decode(encoding).encode()
    except UnicodeError as error:
        row = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise InputError(
            f"{path}: line {row} is no {encoding} text, as the lines before it are; convert the file to UTF-8",
            source=str(path),
            row=row,
        ) from error


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        # Not final: the last character may be cut off.
        codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeError:
        return False
    return True


def _count_known(head: bytes, encoding: str, known: frozenset[str]) -> int:
    """Column names in the first lines that are known; none if these are not in the encoding."""
    if not _decodes(head, encoding):
        return 0
    lines_of = head.decode(encoding, errors="ignore").splitlines()
    counts = (len(known.intersection(_plain(_cells(line, sign)))) for line in lines_of for sign in DELIMITERS)
    # Half a character is no line.
    return max(counts, default=0)


def _find_header(data: bytes, path: Path, known: frozenset[str]) -> CsvText:
    """The first line with the most known column names, divided at the sign that gives the most.

    The first line of the file, divided at the sign that gives the most known names, or else the most names, where none
    has four of them. Two lines of names, for fields and for symbols, are joined.
    """
    best, found, few = (3, 0), (0, 1, ","), (0, 0)
    starts = [0, 0]
    for number in range(1, _TITLE_LINES + 1):
        at = starts[-1]
        line, after = _line_at(data, at)
        for sign in DELIMITERS:
            names = _plain(_cells(line, sign))
            # Different ones first: a ticker may be called LOW.
            score = len(known.intersection(names)), sum(name in known for name in names)
            if score > best and score[0] > 3:
                best, found = score, (at, number, sign)
            elif number == 1 and best == (3, 0) and few < (score[0], len(names)):
                few, found = (score[0], len(names)), (at, number, sign)
        # No line beyond one with as many names as a bar needs has more of them.
        if after is None or best[0] >= len(NEEDED):
            break
        starts.append(after)
    text = split_header(data, path, *found)
    return _join_levels(text, starts[text.header_line - 1] if text.header_line > 1 else None)


def _line_at(data: bytes, at: int) -> tuple[str, int | None]:
    """The line that begins somewhere, and where the next one does; None if there is none."""
    feed = data.find(b"\n", at, at + MAX_LINE_BYTES)
    line = data[at : feed if feed >= 0 else min(len(data), at + MAX_LINE_BYTES)].decode(errors="replace")
    return line.lstrip("\ufeff"), feed + 1 if feed >= 0 else None


def _plain(cells: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]


def _join_levels(text: CsvText, above: int | None) -> CsvText:
    """The text with one header, where several lines name the columns; `above` is where the line before it begins."""
    starts, below = [text.start], []
    for _ in range(2):
        line, after = _line_at(text.data, starts[-1])
        below.append(_cells(line, text.delimiter))
        if after is None:
            break
        starts.append(after)
    before = [] if above is None else _cells(_line_at(text.data, above)[0], text.delimiter)
    joined = joined_header(before, text.names, below)
    if joined is None:
        return text
    names, count = joined
    start = starts[count] if count < len(starts) else len(text.data)
    return replace(text, names=names, start=start, header_line=text.header_line + count)


def _cells(line: str, sign: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")], strict=True, delimiter=sign), [])
    except csv.Error:
        return []


def _without_trailer(text: CsvText, trailer: re.Pattern[bytes]) -> CsvText:
    """The text up to the first of the lines at its end that are no rows."""
    end = text.end
    while end > text.start:
        feed = max(text.data.rfind(b"\n", text.start, end), text.start - 1)
        line = text.data[feed + 1 : end].strip()
        if line and not trailer.fullmatch(line):
            break
        end = max(feed, text.start)
    return replace(text, end=end)


def _has_decimal_commas(text: CsvText, columns: Columns) -> bool:
    """Whether the numbers of the first rows are written with a comma for the point.

    Raises `InputError` if each comma may as well divide thousands.
    """
    places = [text.names.index(name) for name, meaning in columns.used.items() if is_number(meaning)]
    unsure: tuple[int, str] | None = None
    pointed = False
    for line in islice(lines(text), 50):
        for cell in [] if line.fault else [line.cells[place].strip() for place in places]:
            if _DECIMAL_COMMA.fullmatch(cell):
                if not _THOUSANDS.fullmatch(cell):
                    return True
                unsure = unsure or (line.number, cell)
            pointed |= _POINTED.fullmatch(cell) is not None
    if unsure is not None and not pointed:
        raise InputError(
            f"{text.path}: row {unsure[0]}: {unsure[1]!r} has a decimal comma or a thousand, and no number of the "
            "first rows tells which; write numbers with a point, and without a sign between thousands",
            source=str(text.path),
            row=unsure[0],
            value=unsure[1],
        )
    return False


def with_points(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with a decimal comma as numbers with a point; other text stays, marked as what it is."""
    cells = pc.utf8_trim_whitespace(cells)
    fits = pc.or_(pc.match_substring_regex(cells, f"^(?:{_WITH_COMMA})$"), pc.equal(cells, ""))
    bare = pc.replace_substring_regex(cells, r"[. '\x{a0}\x{202f}]", "")
    marked = pc.binary_join_element_wise(cells, "beside decimal commas", " ")
    return pc.if_else(fits, pc.replace_substring(bare, ",", "."), marked)


def without_thousands(columns: list[pa.ChunkedArray]) -> list[pa.ChunkedArray]:
    """Columns of one file without commas between thousands; as they are where one of their commas may be a decimal one.

    That a comma divides thousands is decided by all numbers of the file: there is a decimal point among them, and
    wherever there is a comma, three digits stand behind it.
    """
    trimmed = [pc.utf8_trim_whitespace(cells) for cells in columns]
    with_comma = [pc.match_substring(cells, ",") for cells in trimmed]
    if not any(pc.any(there).as_py() for there in with_comma):
        return columns
    english = [pc.match_substring_regex(cells, f"^(?:{_ENGLISH})$") for cells in trimmed]
    sure = any(pc.any(pc.match_substring_regex(cells, f"^(?:{_DECIMAL_POINT})$")).as_py() for cells in trimmed)
    if not sure or any(pc.any(pc.and_not(*pair)).as_py() for pair in zip(with_comma, english, strict=True)):
        return columns
    return [pc.replace_substring(cells, ",", "") for cells in trimmed]


def _typed(text: CsvText, columns: Columns, comma: bool) -> pa.Table | None:
    """The columns in use, prices and volumes as numbers; None if a line needs a closer look."""
    count, used = text.count_lines(), columns.used
    # A row has at least its commas: what has more lines has blank ones, which cost Arrow as much as rows.
    if count == 0 or count * len(text.names) > text.end - text.start + 1 or not text.is_simple():
        return None
    numeric = {name for name, meaning in used.items() if is_number(meaning) and not columns.layout.as_text}
    try:
        table = pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(text.body())),
            # One block is parsed by one thread, and another than this one would cost more than it gives.
            read_options=pacsv.ReadOptions(column_names=text.names, use_threads=text.end - text.start > _BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(delimiter=text.delimiter, ignore_empty_lines=False),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.float64() if name in numeric else pa.string() for name in used},
                include_columns=list(used),
                null_values=[""],
                strings_can_be_null=False,
                decimal_point="," if comma else ".",
            ),
        )
    except pa.ArrowInvalid:
        return None
    # Arrow ends a line at a lone CR too, and takes -nan(ind) for a number; a row without a date may be a blank line.
    finite = all(map(_is_finite, (table[name] for name in numeric)))
    table = table.rename_columns(list(used.values()))
    sure = finite and len(table) == count and not pc.any(pc.equal(table["date"], "")).as_py()
    return table if sure else None


def _is_finite(column: pa.ChunkedArray) -> bool:
    """Whether all numbers that are there are finite."""
    # For the few rows of most files, the quicker way.
    if column.null_count == 0:
        return bool(np.isfinite(column.to_numpy()).all())
    return pc.all(pc.is_finite(column)).as_py() is not False


def _as_text(text: CsvText, columns: Columns, comma: bool) -> tuple[pa.Table, Int64s, pd.DataFrame]:
    """The columns in use as text, the number of each row's line, and the lines that are no rows as `REJECTED_COLUMNS`.

    Raises `InputError` if a cell in use is not UTF-8, or too many lines are no rows.
    """
    places = [text.names.index(name) for name in columns.used]
    schema = pa.schema([(meaning, pa.string()) for meaning in columns.used.values()])
    parts = [schema.empty_table()]
    numbers: list[int] = []
    malformed: list[Line] = []
    sound = _rows(text, places, malformed)
    while chunk := list(islice(sound, _CHUNK)):
        numbers += [number for number, _ in chunk]
        cells = zip(*(row for _, row in chunk), strict=True)
        parts.append(pa.table([pa.array(column, pa.string()) for column in cells], schema=schema))
    table = pa.concat_tables(parts)
    numeric = [] if columns.layout.as_text else [at for at, name in enumerate(table.column_names) if is_number(name)]
    cells_of = [table.column(at) for at in numeric]
    plain = [with_points(cells) for cells in cells_of] if comma else without_thousands(cells_of)
    for at, cells in zip(numeric, plain, strict=True):
        table = table.set_column(at, table.column_names[at], cells)
    at_line = pd.Index([line.number for line in malformed], dtype=np.int64)
    faults = np.array([f"row {line.fault}" for line in malformed], dtype=object)
    texts = pd.Series([line.text for line in malformed], dtype=object)
    rejected = rejected_rows(str(text.path), at_line, pd.Series("", index=at_line), faults, texts)
    return table, np.array(numbers, dtype=np.int64), rejected_frame([rejected])


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
