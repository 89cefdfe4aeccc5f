"""CSV text line by line: what a line says never depends on the lines around it.

A cell may stand in quotes, a quote within it is doubled, and no cell goes on in the next line: a quote that is left
open would otherwise swallow the rows after it. Lines end in LF or CR LF, and a blank line is no row.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kline_core.errors import InputError

MAX_LINE_BYTES = 100_000
"""A longer line is no row, whatever it holds; Arrow would refuse the file for one of a megabyte, or not, depending on
where in the file it stands."""

DELIMITERS = (",", ";", "\t", "|")
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n][^\n]*")
_QUOTED = {
    sign: re.compile(b'(?:(?<=[%s\n])|\\A)"[^"\r\n]*"(?=[%s\r\n]|\\Z)' % (sign.encode(), sign.encode()))
    for sign in DELIMITERS
}


@dataclass(frozen=True, slots=True)
class CsvText:
    """Text of a CSV file behind its header."""

    path: Path
    names: list[str]
    """Cells of the header."""
    data: bytes
    start: int
    """Where the line behind the header begins."""
    end: int
    """Where the last line that is not blank ends, without its line feed."""
    delimiter: str = ","
    header_line: int = 1
    """Number of the header's line."""

    @property
    def empty(self) -> bool:
        """Whether all lines behind the header are blank."""
        return self.end <= self.start

    def body(self) -> memoryview:
        """Bytes from the line behind the header to the last one that is not blank."""
        return memoryview(self.data)[self.start : self.end]

    def count_lines(self) -> int:
        """Lines of the body."""
        return 0 if self.empty else self.data.count(b"\n", self.start, self.end) + 1

    def is_simple(self) -> bool:
        """Whether every reader of CSV divides the body into the same cells, and none of its lines is too long."""
        at = self.start
        while self.end - at > MAX_LINE_BYTES:
            feed = self.data.rfind(b"\n", at, at + MAX_LINE_BYTES + 1)
            if feed < 0:
                return False
            at = feed + 1
        if self.data.find(b'"', self.start, self.end) < 0:
            return True
        return b'"' not in _QUOTED[self.delimiter].sub(b"", self.body())


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank."""

    number: int
    """As an editor counts it: the first line of the file is line 1."""
    cells: list[str]
    """As many as those of the header; none if there is a fault."""
    fault: str | None
    """Why the line is no row, in words that follow "row"."""
    text: str
    """The line as it stands, cut if it is too long. Bytes that are not UTF-8 are lone surrogates."""


def split_header(data: bytes, path: Path, start: int = 0, number: int = 1, delimiter: str = ",") -> CsvText:
    """Divide a file into its header and the rest.

    Args:
        data: Contents of the file.
        path: Its name, for errors.
        start: Where the header's line begins.
        number: Number of the header's line.
        delimiter: One of `DELIMITERS`.

    Raises `InputError` if it is empty, its header is not UTF-8 or no line of CSV, or its lines end in CR alone.
    """
    first = max(start, len(_BOM) if data.startswith(_BOM) else 0)
    feed = data.find(b"\n", first, first + MAX_LINE_BYTES)
    header = data[first : feed if feed >= 0 else min(len(data), first + MAX_LINE_BYTES)].rstrip(b"\r")
    source = str(path)
    if len(header) >= MAX_LINE_BYTES:
        raise InputError(
            f"{path}: line {number} is longer than {MAX_LINE_BYTES} bytes, no header", source=source, row=number
        )
    try:
        text = header.decode()
        names = next(csv.reader([text], strict=True, delimiter=delimiter), [])
    except UnicodeDecodeError:
        raise not_utf8(path, number) from None
    except csv.Error as error:
        if b"\r" in header:
            raise InputError(
                f"{path}: its lines end in CR alone; save it with line ends LF or CR LF", source=source, row=number
            ) from None
        raise InputError(
            f"{path}: line {number} is no header in CSV: {error}; correct it", source=source, row=number
        ) from None
    if not any(name.strip() for name in names):
        raise InputError(f"{path}: is empty, or its first line is; the first line names the columns", source=source)
    begin = feed + 1 if feed >= 0 else len(data)
    return CsvText(path, names, data, begin, _end(data), delimiter, number)


def _end(data: bytes) -> int:
    """Where the last line that is not blank ends. Not by a copy without blank ones, which may take all memory."""
    end = len(data)
    while end:
        piece = data[max(0, end - MAX_LINE_BYTES) : end]
        left = len(piece.rstrip(b"\r\n"))
        end -= len(piece) - left
        if left:
            break
    return end


def lines(text: CsvText) -> Iterator[Line]:
    """All lines behind the header that are not blank."""
    number, before = text.header_line + 1, text.start
    for found in _LINE.finditer(text.data, text.start, max(text.start, text.end)):
        at = found.start()
        number += text.data.count(b"\n", before, at)
        before = at
        if found.end() - at > MAX_LINE_BYTES:
            # Not copied: it may be as long as the file.
            shown = text.data[at : at + 200].decode(errors="replace") + "..."
            yield Line(number, [], f"is longer than {MAX_LINE_BYTES} bytes; give each row a line of its own", shown)
        else:
            yield _line(found[0], number, len(text.names), text.delimiter)


def _line(line: bytes, number: int, width: int, delimiter: str) -> Line:
    text = line.decode(errors="surrogateescape").rstrip("\r")
    if '"' not in text and "\r" not in text:
        cells = text.split(delimiter)
    else:
        try:
            cells = next(csv.reader([text], strict=True, delimiter=delimiter), [])
        except csv.Error:
            return Line(number, [], "has a quote or a CR out of place", text)
    if len(cells) != width:
        return Line(number, [], f"has not the {width} cells of the header", text)
    return Line(number, cells, None, text)


def not_utf8(path: Path, number: int) -> InputError:
    """Error for a file with a line that is not UTF-8."""
    return InputError(
        f"{path}: line {number} is not UTF-8 text; convert the file to UTF-8", source=str(path), row=number
    )
