"""What a layout is: the names of its columns, its units, and what its cells need before they are checked.

A layout is told by its column names alone, in any order and letter case, never by the name of the file. The registry
is `kline_core.bars.readers.layouts`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from kline_core._text import abbreviated, shortened
from kline_core.bars.columns import HINTS, NUMBERS, OPTIONAL, REQUIRED
from kline_core.bars.convention import Convention
from kline_core.errors import InputError

NEEDED: Final = tuple(name for name in REQUIRED if name != "symbol")
"""What the columns of every layout must give; the symbol may be the file's name."""
MEANINGS: Final = frozenset((*REQUIRED, *OPTIONAL, *HINTS))


def _unchanged(cells: pd.DataFrame) -> pd.DataFrame:
    return cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One vendor's way to write daily bars."""

    name: str
    columns: Mapping[str, str]
    """Column name, stripped and in lower case, to its meaning, one of `MEANINGS`; other columns are not read."""
    telling: Collection[str]
    """Column names that are all there in a file of this layout, and not all in a file of another one after it."""
    convention: Convention = field(default_factory=Convention)
    """Units and habits of the cells."""
    as_text: bool = False
    """Numbers are written in a way that only `tidy` understands."""
    tidy: Callable[[pd.DataFrame], pd.DataFrame] = _unchanged
    """Turns the cells, in columns named by their meaning, into those of the plain layout. Keeps the index."""
    trailer: str = ""
    """Regular expression of lines behind the last row that are no rows."""
    note: str = ""
    """What a user must know of bars in this layout; stands in the report."""

    def fits(self, names: Collection[str]) -> bool:
        """Whether a file with these columns, stripped and in lower case, is of the layout."""
        return all(name in names for name in self.telling) and not self.missing(names)

    def missing(self, names: Collection[str]) -> list[str]:
        """Names of the columns that a file of this layout would have beside these, one for each meaning it needs."""
        given = {meaning for name, meaning in self.columns.items() if name in names}
        lacking = [name for name in self.telling if name not in names and self.columns.get(name) not in given]
        for meaning in NEEDED:
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
    plain = [name.strip().lower() for name in names]
    kept = isinstance(mapping, KeptColumns)
    if mapping and not kept:
        layout = _by_hand(source, names, plain, mapping)
    else:
        found = next((layout for layout in layouts if layout.fits(plain)), None)
        if found is None and mapping and all(name.strip().lower() in plain for name in mapping.values()):
            found = _by_hand(source, names, plain, mapping)
        if found is None:
            raise _unknown(source, names, plain, layouts)
        layout = found
    used: dict[str, str] = {}
    for name, key in zip(names, plain, strict=True):
        meaning = layout.columns.get(key)
        if meaning is None:
            continue
        if meaning in used.values():
            raise InputError(
                f"{source}: column {key} is there twice, or another one says the same; keep one of them",
                source=source,
                column=key,
            )
        used[name] = meaning
    return Columns(layout, used, tuple(name for name in names if name not in used))


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
        note="read with the columns that are kept with the home; `kline notes` shows them" if kept else "",
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
    def likeness(layout: Layout) -> tuple[int, int]:
        return sum(name in layout.columns for name in plain), -len(layout.missing(plain))

    # The last, the plain one, where several are as near.
    nearest = max(reversed(layouts), key=likeness)
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
    others = f", which needs {', '.join(lacking[1:])} too" if len(lacking) > 1 else ""
    wanted = ",".join(f"{meaning}=NAME" for meaning in meanings or NEEDED)
    text = (
        f"{source}: column {lacking[0]} is missing; its columns are {shown}, nearest to the layout {nearest.name}"
        f"{others}; add what is missing, or name the columns that hold it with --columns {wanted}"
    )
    return InputError(text, source=source, column=lacking[0])


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message."""
    return abbreviated([shortened(name, 40) or "''" for name in names], 20)


def is_number(meaning: str) -> bool:
    """Whether the cells of a column of this meaning are numbers."""
    return meaning in NUMBERS
