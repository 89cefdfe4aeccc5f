"""Rows as a reader delivers them, before any check."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from kline_core.bars.columns import ADJUSTMENT, NAME
from kline_core.bars.convention import Adjustment, Convention
from kline_core.bars.readers.contents import stem_of
from kline_core.bars.readers.layout import Columns, Layout, Title
from kline_core.bars.readers.side_by_side import unfolded
from kline_core.bars.readers.typed_cells import TypedCells, insert_symbol
from kline_core.bars.row_errors import rejected_frame
from kline_core.errors import InputError
from kline_core.symbols import is_symbol

_ADJUSTMENTS: Final = {
    **dict.fromkeys(("bfq", "不复权"), Adjustment.RAW),
    **dict.fromkeys(("qfq", "前复权"), Adjustment.FORWARD),
    **dict.fromkeys(("hfq", "后复权"), Adjustment.BACKWARD),
}
"""Adjustment of the prices, by the word that stands for it in the name of a file or its folder."""
_WORD: Final = re.compile(r"(?<![A-Z0-9])(?:[bqh]fq)(?![A-Z0-9])|[前后不]复权", re.ASCII | re.IGNORECASE)
_AGAIN: Final = re.compile(r" ?\(\d{1,3}\)$", re.ASCII)
"""What a browser adds to the name of a file that it has downloaded before."""
_FOLDERS: Final = 3
"""Folders around a file whose names count: qfq/2024/01/600519.csv."""
_AROUND: Final = " _.()（）-"
_CODES: Final = frozenset(
    (
        "symbol",
        "ticker",
        "stock",
        "code",
        "ts_code",
        "secid",
        "instrument",
        "asset",
        "股票代码",
        "代码",
        "证券代码",
        "股票",
    )
)
"""Names of columns that hold symbols; a file whose name is taken in the place of one would mix them."""


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of one file or frame before any check."""

    cells: pd.DataFrame | TypedCells
    """The rows; see `frame`."""
    malformed: pd.DataFrame
    """`REJECTED_COLUMNS`: lines with too many or too few cells."""
    ignored: tuple[str, ...]
    """Columns that were not read."""
    layout: Layout
    """What the columns were understood as."""
    adjustment: Adjustment = Adjustment.RAW
    """What the prices are."""

    @property
    def frame(self) -> pd.DataFrame:
        """The columns `REQUIRED` and any of `OPTIONAL`, `HINTS` and `TEXTS`, or symbol, date and adj_factor for a
        layout of factors. The index is the row number: in a text file the line as an editor counts it, in another file
        or a frame the row from 1; several bars may be of one row."""
        return self.cells.frame() if isinstance(self.cells, TypedCells) else self.cells


def raw_rows(
    frame: pd.DataFrame,
    malformed: pd.DataFrame,
    columns: Columns,
    path: Path,
    suffixes: tuple[str, ...],
    above: str = "",
) -> RawRows:
    """Rows of a file, each with its symbol.

    Args:
        frame: Cells in columns named by their meaning.
        malformed: `REJECTED_COLUMNS`.
        columns: The file's columns.
        path: The file, whose name is the symbol where neither a column nor a title is.
        suffixes: Endings of files of its kind, which are no part of a symbol.
        above: The lines above the header.

    Raises:
        InputError: There are no rows; there is no symbol column and the file's name is no symbol; the file is named
            after one of several symbols that it holds; or its rows are adjusted in several ways.
    """
    frame = unfolded(frame, columns.symbols)
    if len(frame) + len(malformed) == 0:
        raise InputError(f"{path}: holds no rows; deliver it again, whole", source=str(path))
    layout = columns.layout
    title = _title(layout, above, path)
    frame, said = without_asides(layout.tidy(frame), layout, str(path))
    held = frame["symbol"].dropna().unique() if "symbol" in frame.columns else None
    symbol, adjustment = _told_by_name(columns, path, suffixes, title, said, "adj_factor" in frame.columns, held)
    if symbol is not None:
        insert_symbol(frame, symbol)
    return RawRows(frame, malformed, columns.ignored, layout, adjustment)


def typed_rows(
    table: pa.Table, first_row: int, columns: Columns, path: Path, suffixes: tuple[str, ...], above: str
) -> RawRows:
    """Rows of a text file of a layout that leaves cells as they are, as `raw_rows` and with the same errors.

    Args:
        table: At least one row, as `TypedCells` takes them.
        first_row: Number of the first row's line.
        columns: The file's columns; those of one symbol.
        path: As in `raw_rows`.
        suffixes: As in `raw_rows`.
        above: As in `raw_rows`.
    """
    layout = columns.layout
    title = _title(layout, above, path)
    said = None
    if ADJUSTMENT in table.column_names:
        said = _adjustment_of(table[ADJUSTMENT].unique().to_pylist(), layout, str(path))
    table = table.drop_columns([name for name in (NAME, ADJUSTMENT) if name in table.column_names])
    held = table["symbol"].unique().to_pylist() if "symbol" in table.column_names else None
    symbol, adjustment = _told_by_name(columns, path, suffixes, title, said, "adj_factor" in table.column_names, held)
    cells = TypedCells(table, symbol, first_row, str(path))
    return RawRows(cells, rejected_frame([]), columns.ignored, layout, adjustment)


def _told_by_name(
    columns: Columns,
    path: Path,
    suffixes: tuple[str, ...],
    title: Title,
    said: Adjustment | None,
    has_factor: bool,
    held: Iterable[object] | None,
) -> tuple[str | None, Adjustment]:
    """The symbol of all rows of a file, None if a column has them, and what its prices are; errors as in `raw_rows`.

    Args:
        columns: The file's columns.
        path: The file.
        suffixes: Endings of files of its kind.
        title: What the lines above the header say.
        said: What a column says of the prices.
        has_factor: Whether a column holds factors.
        held: Distinct cells of the column of symbols; None if there is no such column.
    """
    layout = columns.layout
    convention = layout.convention
    stem, by_name = _without_word(_AGAIN.sub("", stem_of(path, suffixes)))
    if layout.file_name and (found := re.fullmatch(layout.file_name, stem, re.IGNORECASE)):
        stem = ".".join(filter(None, found.groups()))
    folder = _of_folders(path)
    # Beside a factor of their own prices are raw, whatever the file is called.
    named_so = None if has_factor else by_name or folder
    adjustment = title.adjustment or said or named_so or Adjustment.RAW
    named = convention.symbol_of_name(stem)
    if held is not None:
        symbols = {symbol for value in held if is_symbol(symbol := convention.symbol(value))}
        if named in symbols and len(symbols) > 1:
            other = min(symbols - {named})
            raise InputError(
                f"{path}: is named after symbol {named} but holds {len(symbols)} symbols, also {other}; "
                "remove the others or rename the file",
                source=str(path),
                column="symbol",
                value=other,
            )
        return None, adjustment
    if title.symbol is not None:
        return _titled(title.symbol, named, convention, path), adjustment
    if unread := next((name for name in columns.ignored if name.strip().lower() in _CODES), None):
        raise InputError(
            f"{path}: its column {unread} may hold symbols, and is none of the layout {layout.name}; name it with "
            f"--columns symbol={unread}, or remove it if all rows are of the symbol that the file is named after",
            source=str(path),
            column=unread,
        )
    if is_symbol(named) and not stem.lower().endswith(suffixes):
        return named, adjustment
    raise InputError(
        f"{path}: has no symbol column, and its name {stem!r} is no symbol; name the file after its symbol, such as "
        "600519.SH.csv or IBM.csv, or the column that holds it with --columns symbol=NAME",
        source=str(path),
        column="symbol",
        value=stem,
    )


def _title(layout: Layout, above: str, path: Path) -> Title:
    try:
        return layout.title(above)
    except InputError as error:
        raise InputError(f"{path}: {error}", source=str(path)) from error


def without_asides(frame: pd.DataFrame, layout: Layout, source: str) -> tuple[pd.DataFrame, Adjustment | None]:
    """The cells without what is no column of bars, and the adjustment that they tell; None where they tell none.

    Raises `InputError` if the rows are adjusted in several ways.
    """
    if NAME in frame.columns:
        frame = frame.drop(columns=NAME)
    if ADJUSTMENT not in frame.columns:
        return frame, None
    return frame.drop(columns=ADJUSTMENT), _adjustment_of(frame[ADJUSTMENT].unique(), layout, source)


def _adjustment_of(distinct: Iterable[object], layout: Layout, source: str) -> Adjustment | None:
    """What the distinct cells of the column `ADJUSTMENT` tell; errors as in `without_asides`."""
    cells = {str(cell).strip().removesuffix(".0") for cell in distinct}
    told = sorted({layout.adjustments[cell] for cell in cells if cell in layout.adjustments}, key=lambda a: a.value)
    if len(told) > 1:
        kinds = " and ".join(adjustment.value for adjustment in told)
        raise InputError(
            f"{source}: holds prices that are {kinds}; deliver them as a file each",
            source=source,
            column=ADJUSTMENT,
        )
    return told[0] if told else None


def _without_word(stem: str) -> tuple[str, Adjustment | None]:
    """The name of a file without the word for an adjustment, and the adjustment; None where there is no such word."""
    found = _WORD.search(stem)
    rest = (stem[: found.start()].rstrip(_AROUND) + stem[found.end() :]).strip(_AROUND) if found else ""
    return (rest, _ADJUSTMENTS[found[0].lower()]) if found and rest else (stem, None)


def _of_folders(path: Path) -> Adjustment | None:
    """The adjustment that the nearest of the `_FOLDERS` folders around a file names; None where none does."""
    for folder in list(path.parents)[:_FOLDERS]:
        if found := _WORD.search(folder.name):
            return _ADJUSTMENTS[found[0].lower()]
        if folder.name.lower() == "raw":
            return Adjustment.RAW
    return None


def _titled(text: str, named: str, convention: Convention, path: Path) -> str:
    """The symbol of a title; the name of the file may tell the exchange too, which a code alone does not."""
    symbol = convention.symbol(text)
    code = symbol.partition(".")[0]
    if named.partition(".")[0] == code:
        # A code alone may be that of a share; an index is told by its name in the title.
        return named if text == code else symbol
    if is_symbol(named) and named.partition(".")[2] in ("SH", "SZ", "BJ"):
        raise InputError(
            f"{path}: is named after symbol {named}, and its title after {symbol}; correct the one or the other",
            source=str(path),
            column="symbol",
            value=text,
        )
    if not is_symbol(symbol):
        raise InputError(
            f"{path}: its title says {text!r}, which is no code of the mainland's exchanges; correct it",
            source=str(path),
            column="symbol",
            value=text,
        )
    return symbol
