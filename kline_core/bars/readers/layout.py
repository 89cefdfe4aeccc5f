"""What a layout is: the names of its columns, its units, and what its cells need before they are checked.

A layout is told by its column names alone, in any order and letter case, never by the name of the file. The registry
is `kline_core.bars.readers.layouts`.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from kline_core._text import abbreviated, shortened
from kline_core.bars.columns import ADJUSTMENT, HINTS, NAME, NUMBERS, OPTIONAL, REQUIRED, TEXTS
from kline_core.bars.convention import Adjustment, Convention, FactorRows
from kline_core.bars.readers.side_by_side import SIDE_BY_SIDE, side_by_side
from kline_core.errors import InputError

NEEDED: Final = tuple(name for name in REQUIRED if name != "symbol")
"""What the columns of every layout must give; the symbol may be the file's name."""
_FIGURES_OF_A_BAR: Final = 4
"""Numbers in a line, at least, by which it is a bar's: its prices."""
MEANINGS: Final = frozenset((*REQUIRED, *OPTIONAL, *HINTS, *TEXTS, ADJUSTMENT, NAME))


def _unchanged(cells: pd.DataFrame) -> pd.DataFrame:
    return cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """What the lines above the header say."""

    symbol: str | None = None
    """The symbol as it is written there."""
    adjustment: Adjustment | None = None
    """How the prices are adjusted; None where nothing is said of it."""


def _untitled(text: str) -> Title:  # noqa: ARG001  the signature of titles
    return Title()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One vendor's way to write daily bars, or the adjustment factors of bars that stand in other files."""

    name: str
    columns: Mapping[str, str]
    """Column name, stripped and in lower case, to its meaning, one of `MEANINGS`; other columns are not read."""
    telling: Collection[str]
    """Column names that are all there in a file of this layout, and not all in a file of another one after it."""
    exactly: bool = False
    """Whether the columns are those of `telling` in their order and no others, where only the order tells a vendor."""
    convention: Convention = field(default_factory=Convention)
    """Units and habits of the cells."""
    as_text: bool = False
    """Numbers are written in a way that only `tidy` understands."""
    tidy: Callable[[pd.DataFrame], pd.DataFrame] = _unchanged
    """Turns the cells, in columns named by their meaning, into those of the plain layout. Keeps the index."""
    title: Callable[[str], Title] = _untitled
    """Reads the lines above the header. Raises `InputError`, without the file's name, for what are no daily bars."""
    adjustments: Mapping[str, Adjustment] = field(default_factory=dict)
    """What the cells of a column of the meaning `ADJUSTMENT` say."""
    factors: FactorRows | None = None
    """How the rows are meant where they are no bars but factors; see `kline_core.bars.side_files`."""
    trailer: str = ""
    """Regular expression of lines behind the last row that are no rows."""
    file_name: str = ""
    """Regular expression of names that the vendor gives its files; its groups, with points between, are the symbol."""
    note: str = ""
    """What a user must know of bars in this layout; stands in the report."""
    unadjusted: str = ""
    """What more a user must know where nothing tells a factor of its bars."""

    @property
    def leaves_cells(self) -> bool:
        """Whether the cells are those of the plain layout as they are written."""
        return self.tidy is _unchanged

    @property
    def needed(self) -> tuple[str, ...]:
        """Meanings that the columns must give."""
        return NEEDED if self.factors is None else ("date", "adj_factor")

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a file with these columns, stripped and in lower case, is of the layout."""
        if self.exactly and [name for name in names if name] != list(self.telling):
            return False
        # Of several columns without a name none is meant.
        if "" in self.telling and names.count("") > 1:
            return False
        return all(name in names for name in self.telling) and not self.missing(names)

    def missing(self, names: Collection[str]) -> list[str]:
        """Names of the columns that a file of this layout would have beside these, one for each meaning it needs."""
        given = {meaning for name, meaning in self.columns.items() if name in names}
        lacking = [name for name in self.telling if name not in names and self.columns.get(name) not in given]
        for meaning in self.needed:
            known = [name for name, what in self.columns.items() if what == meaning]
            if meaning not in given and not any(name in lacking for name in known):
                lacking += known[:1]
        return lacking


class KeptColumns(dict[str, str]):
    """Meaning to column name, as kept with a home: for files that no layout fits and that have all these columns."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one file, understood."""

    layout: Layout
    used: dict[str, str]
    """Column name as it is written, with its meaning."""
    ignored: tuple[str, ...]
    """Columns that are not read."""
    symbols: tuple[str | None, ...] = ()
    """Whose each column in use is, None for what all share; empty if the columns are those of one symbol."""


def columns_of(
    source: str, names: Sequence[str], layouts: Sequence[Layout], mapping: Mapping[str, str] | None = None
) -> Columns:
    """The layout that some columns are of, and the meaning of each.

    Args:
        source: Name of the file, for errors.
        names: Column names as they are written.
        layouts: All layouts; the first that fits is taken.
        mapping: Meaning to column name, by hand; with it the columns are those of the plain layout otherwise. One
            that is kept with the home (`KeptColumns`) counts only where no layout fits.

    Raises:
        InputError: A column is there twice, or no layout has these columns; the error names the nearest one.
    """
    wide = side_by_side(names)
    plain = [name.strip().lower() for name in (wide.fields if wide else names)]
    kept = isinstance(mapping, KeptColumns)
    if mapping and not kept:
        layout = _by_hand(source, names, plain, mapping)
    else:
        told = [*plain, SIDE_BY_SIDE] if wide else plain
        found = next((layout for layout in layouts if layout.fits(told)), None)
        if found is None and mapping and all(name.strip().lower() in plain for name in mapping.values()):
            found = _by_hand(source, names, plain, mapping)
        if found is None:
            # Side by side, a field is there once for each symbol.
            shown, keys = (
                list(dict.fromkeys(cells)) if wide else cells for cells in (wide.fields if wide else names, plain)
            )
            raise _unknown(source, shown, keys, layouts)
        layout = found
    used: dict[str, str] = {}
    seen: dict[tuple[str, str | None], None] = {}
    for name, key, symbol in zip(names, plain, wide.symbols if wide else [None] * len(names), strict=True):
        meaning = layout.columns.get(key)
        if meaning is None:
            continue
        if (meaning, symbol) in seen:
            raise InputError(
                f"{source}: column {key} is there twice, or another one says the same; keep one of them",
                source=source,
                column=key,
            )
        used[name] = meaning
        seen[meaning, symbol] = None
    symbols = tuple(symbol for _, symbol in seen) if wide else ()
    return Columns(layout, used, tuple(name for name in names if name not in used), symbols)


_BY_HAND: Final = "read with columns named by hand: volumes count as shares, amounts as the currency, prices as traded"


def _by_hand(source: str, names: Sequence[str], plain: Sequence[str], mapping: Mapping[str, str]) -> Layout:
    for meaning, name in mapping.items():
        if name.strip().lower() not in plain:
            raise InputError(
                f"{source}: has no column {name!r}, which --columns names for {meaning}; its columns are "
                f"{listed(names)}",
                source=source,
                column=name,
            )
    columns = {name.strip().lower(): meaning for meaning, name in mapping.items()}
    columns |= {meaning: meaning for meaning in sorted(MEANINGS) if meaning not in mapping and meaning not in columns}
    kept = isinstance(mapping, KeptColumns)
    layout = Layout(
        name="columns kept with the home" if kept else "columns named by hand",
        columns=columns,
        telling=(),
        note="read with the columns that are kept with the home; `kline notes` shows them" if kept else _BY_HAND,
    )
    if lacking := layout.missing(plain):
        raise InputError(
            f"{source}: column {lacking[0]} is missing; --columns {lacking[0]}=NAME names the one that holds it; its "
            f"columns are {listed(names)}",
            source=source,
            column=lacking[0],
        )
    return layout


def _unknown(source: str, names: Sequence[str], plain: Sequence[str], layouts: Sequence[Layout]) -> InputError:
    # Names that pandas gives to an index without one tell nothing.
    told = [name for name in plain if name and not name.startswith("__index_level_")]

    def likeness(layout: Layout) -> tuple[int, int]:
        return sum(name in layout.columns for name in told), -len(layout.missing(plain))

    def may_be(layout: Layout) -> bool:
        # Not one whose columns are all there in another order, nor a file of factors by its dates alone.
        return bool(layout.missing(plain)) and (layout.factors is None or likeness(layout)[0] > 1)

    # The last, the plain one, where several are as near.
    nearest = max(filter(may_be, reversed(layouts)), key=likeness)
    lacking = nearest.missing(plain)
    shown = listed(names)
    if likeness(nearest)[0] == 0:
        wanted = ",".join(f"{meaning}=NAME" for meaning in NEEDED)
        text = f"{source}: its columns fit no layout: {shown}; name those that hold the bars with --columns {wanted}"
        return InputError(text, source=source)
    meanings = [nearest.columns[name] for name in lacking if name in nearest.columns]
    if len(plain) > 1 and {"open", "high", "low"}.issubset(meanings):
        text = (
            f"{source}: has no columns for open, high and low ({shown}), and a chart needs all four prices; "
            "a table of closes alone cannot be used"
        )
        return InputError(text, source=source, column="open")
    known = frozenset(name for layout in layouts for name in layout.columns)
    twice = next((name for name in told if name in known and told.count(name) > 1), None)
    if twice is not None:
        text = f"{source}: column {twice} is there twice, or another one says the same; keep one of them"
        return InputError(text, source=source, column=twice)
    others = f", which needs {', '.join(lacking[1:])} too" if len(lacking) > 1 else ""
    wanted = ",".join([*(f"{meaning}=NAME" for meaning in meanings or NEEDED), *_given(nearest, names, plain)])
    units = "; volumes then count as shares, and amounts as the currency"
    text = (
        f"{source}: column {lacking[0]} is missing; its columns are {shown}, nearest to the layout {nearest.name}"
        f"{others}; add what is missing, or name the columns that hold it with --columns {wanted}"
        f"{units if (nearest.convention.volume_unit, nearest.convention.amount_unit) != (1, 1) else ''}"
    )
    return InputError(text, source=source, column=lacking[0])


def _given(layout: Layout, names: Sequence[str], plain: Sequence[str]) -> list[str]:
    """What has to be named by hand too where something is: needed columns under names that only this layout knows."""
    given = {layout.columns.get(key): name.strip() for name, key in zip(names, plain, strict=True)}
    own = {meaning: given[meaning] for meaning in NEEDED if given.get(meaning, meaning).lower() != meaning}
    quoted = {meaning: f'"{name}"' if re.search(r"[\s,()]", name) else name for meaning, name in own.items()}
    return [f"{meaning}={name}" for meaning, name in quoted.items()]


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message."""
    return abbreviated([shortened(name, 40) or "''" for name in names], 20)


def refuse_rows_above(path: Path, lines: Iterable[tuple[int, Sequence[str]]], header: int) -> None:
    """Raise `InputError` for a line above the header that is no title, but a row: it would be passed over.

    Args:
        path: The file.
        lines: Numbers and cells of the lines above the header.
        header: Number of the header's line.
    """
    for number, cells in lines:
        if sum(map(_is_figure, cells)) >= _FIGURES_OF_A_BAR:
            shown = shortened(",".join(cells), 100)
            raise InputError(
                f"{path}: row {number} looks like a bar and stands above the names of the columns, which are in row "
                f"{header} ({shown}); put these into the first row",
                source=str(path),
                row=number,
            )


def _is_figure(cell: str) -> bool:
    try:
        return math.isfinite(float(cell.replace(",", ".")))
    except ValueError:
        return False


def is_number(meaning: str) -> bool:
    """Whether the cells of a column of this meaning are numbers."""
    return meaning in NUMBERS
