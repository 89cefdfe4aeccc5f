"""Tables that were read, until their rows are checked: small ones of one kind together."""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from kline_core._text import harmless
from kline_core.bars.checked_file import CheckedFile
from kline_core.bars.columns import PAYMENTS
from kline_core.bars.convention import Adjustment
from kline_core.bars.readers.raw_rows import RawRows
from kline_core.bars.readers.typed_cells import TypedCells
from kline_core.bars.row_checks import CheckedRows, check_factors, check_rows
from kline_core.bars.rows_together import Joined, check_together
from kline_core.errors import InputError
from kline_core.markets import Market

LONGEST: Final = 200
"""Characters of a foreign text that are shown at the most."""
MOST_ROWS: Final = 100_000
"""Rows that wait for their check, at the most: beyond that nothing is gained, and memory lost."""


@dataclass(slots=True)
class Table:
    """One table of a delivery, and what came of it."""

    name: str
    outcome: CheckedFile | str | None = None
    """Its rows, the reason why it cannot be used, or None for a file that no reader knows."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    table: Table
    raw: RawRows
    cells: pd.DataFrame | TypedCells
    """Those of `raw` without what tells nothing."""

    @property
    def kind(self) -> Hashable:
        """Layout, columns and their types: what files have in common that are checked together."""
        layout, cells = self.raw.layout, self.cells
        if isinstance(cells, TypedCells):
            columns = (cells.symbol is None, tuple(cells.table.column_names), tuple(cells.table.schema.types))
            return TypedCells, layout.name, layout.convention, columns
        return layout.name, layout.convention, tuple(cells.columns), tuple(map(str, cells.dtypes))

    def frame(self) -> pd.DataFrame:
        """The cells as `check_rows` takes them."""
        return self.cells.frame() if isinstance(self.cells, TypedCells) else self.cells


@dataclass(slots=True)
class RowsToCheck:
    """Tables whose rows wait for their check, and get it when `finish` is called or there are `MOST_ROWS`."""

    market: Market | None
    """Market of the home, None if it has none."""
    _waiting: dict[Hashable, list[_Waiting]] = field(default_factory=lambda: defaultdict(list))
    _count: int = 0

    def add(self, name: str, raw: RawRows) -> Table:
        """The table, whose outcome comes with the check."""
        # What tells payments in raw prices tells nothing in adjusted ones.
        tells = PAYMENTS if raw.adjustment is not Adjustment.RAW and raw.layout.factors is None else ()
        cells = raw.cells
        if isinstance(cells, TypedCells):
            cells = cells.without(tells)
        elif tells:
            cells = cells.drop(columns=list(tells), errors="ignore")
        table = Table(name)
        waiting = _Waiting(table, raw, cells)
        self._waiting[waiting.kind].append(waiting)
        self._count += len(cells)
        if self._count >= MOST_ROWS:
            self.finish()
        return table

    def finish(self) -> None:
        """Check all rows that wait."""
        for waiting in self._waiting.values():
            self._check(waiting)
        self._waiting.clear()
        self._count = 0

    def _check(self, waiting: list[_Waiting]) -> None:
        together = self._together(waiting) if len(waiting) > 1 else None
        for at, each in enumerate(waiting):
            try:
                checked = None if together is None else together[at]
                if checked is None:
                    checked = self._alone(each)
                each.table.outcome = _checked_file(each, checked)
            except Exception as error:  # noqa: BLE001  whatever is wrong with one table must not keep out the others
                each.table.outcome = reason_of(each.table.name, error)

    def _together(self, waiting: list[_Waiting]) -> list[CheckedRows | None] | None:
        layout = waiting[0].raw.layout
        if layout.factors is not None:
            return None
        try:
            typed = [each.cells for each in waiting if isinstance(each.cells, TypedCells)]
            joined = Joined.of_cells(typed) if typed else Joined.of_frames([each.frame() for each in waiting])
            return check_together(joined, layout.convention, self.market)
        except Exception:  # noqa: BLE001  each by itself tells whose fault it is
            return None

    def _alone(self, each: _Waiting) -> CheckedRows:
        layout = each.raw.layout
        check = check_rows if layout.factors is None else check_factors
        return check(each.frame(), each.table.name, layout.convention, self.market)


def _checked_file(each: _Waiting, checked: CheckedRows) -> CheckedFile:
    name, raw, layout = each.table.name, each.raw, each.raw.layout
    rejected = checked.rejected
    if len(raw.malformed):
        rejected = pd.concat([raw.malformed.assign(source=name), rejected])
    return CheckedFile(
        source=name,
        rows=checked.rows,
        rejected=rejected,
        ignored=raw.ignored,
        layout=layout.name,
        mended=checked.mended,
        notes=((layout.note,) if layout.note else ()) + checked.notes,
        unadjusted=layout.unadjusted if raw.adjustment is Adjustment.RAW else "",
        adjustment=raw.adjustment,
        factors=layout.factors,
    )


def reason_of(name: str, error: Exception) -> str:
    """Why a table cannot be used, in one line."""
    if isinstance(error, InputError):
        return str(error)
    reason = harmless(" ".join(str(error).split()), longest=LONGEST)
    return f"{name}: cannot be read: {type(error).__name__}: {reason}; write it anew as CSV in the plain layout"
