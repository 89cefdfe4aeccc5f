"""Sample dates from a file: a CSV with the columns symbol and date."""

from pathlib import Path

import numpy as np

from kline_core._text import harmless, is_utf8
from kline_core.bars.readers.contents import MAX_FILE_BYTES, read_contents
from kline_core.bars.readers.csv_text import lines, not_utf8, split_header
from kline_core.dates import parse_date
from kline_core.errors import DateError, InputError
from kline_core.symbols import canonical_symbol, check_symbol
from kline_core.typing import Dates

_NEEDED = ("symbol", "date")
_ZIP = b"PK\x03\x04"
_LONGEST = 200


def read_dates(path: Path, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Dates]:
    """Sample dates by symbol from a CSV with columns symbol and date: datetime64[D], unique, increasing.

    The columns stand in any order and letter case; others are ignored, and so are blank lines. The file may be packed
    with gzip or Zstandard. A line means what it says by itself: one with a cell too many or too few is
    refused, since its cells may belong to other columns. Symbols stay as they are written.

    Raises `InputError` for any other file, naming the line, or if it holds more than `max_bytes`, unpacked.
    """
    source, data = str(path), read_contents(path, max_bytes)
    if data.startswith(_ZIP):
        raise InputError(f"{path}: is packed with zip; give the CSV unpacked, or packed with gzip", source=source)
    text = split_header(data, path)
    names = [name.strip().lower() for name in text.names]
    for name in _NEEDED:
        if names.count(name) != 1:
            fault = "is missing" if name not in names else "is there more than once"
            given = harmless(",".join(text.names), longest=_LONGEST)
            raise InputError(
                f"{path}: column {name} {fault}; its first line is {given!r}, and must name the columns symbol,date",
                source=source,
                column=name,
                row=1,
            )
    places = [names.index(name) for name in _NEEDED]
    dates: dict[str, set[np.datetime64]] = {}
    for line in lines(text):
        if line.fault:
            shown = harmless(line.text, longest=_LONGEST)
            raise InputError(
                f"{path}, row {line.number}: the row {line.fault}: {shown!r}; correct it",
                source=source,
                row=line.number,
                value=line.text,
            )
        if not any(line.cells):
            continue
        symbol, day = (line.cells[place].strip() for place in places)
        if not is_utf8(symbol + day):
            raise not_utf8(path, line.number)
        column, value = "symbol", symbol
        try:
            # Written as SH#600519 it is none, but means one.
            check_symbol(canonical_symbol(symbol))
            column, value = "date", day
            dates.setdefault(symbol, set()).add(parse_date(day, "date"))
        except (InputError, DateError) as error:
            raise InputError(
                f"{path}, row {line.number}: {error}", source=source, row=line.number, column=column, value=value
            ) from error
    if not dates:
        raise InputError(f"{path}: names no sample; give a row with symbol,date for each", source=source)
    return {symbol: np.array(sorted(days), dtype="datetime64[D]") for symbol, days in dates.items()}
