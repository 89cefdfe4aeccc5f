"""The rows of one file or frame after the checks of single rows."""

from dataclasses import dataclass

import pandas as pd

from kline_core.bars.convention import Adjustment, FactorRows
from kline_core.bars.shared_rows import SharedRows


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """Sound rows of a file, and those that were rejected."""

    source: str
    """Name of the file, as it stands in reports."""
    rows: SharedRows
    """Its sound rows; see `bars`."""
    rejected: pd.DataFrame
    """`REJECTED_COLUMNS`."""
    ignored: tuple[str, ...]
    """Columns that were not read."""
    layout: str
    """Name of the layout."""
    mended: dict[str, int]
    """Rows whose cells were not taken as they are written, by what was done to them."""
    notes: tuple[str, ...]
    """What else there is to know of the rows."""
    unadjusted: str = ""
    """What more there is to know where nothing tells a factor of the rows."""
    adjustment: Adjustment = Adjustment.RAW
    """What the prices are."""
    factors: FactorRows | None = None
    """How the rows are meant where they are no bars but factors."""
    joined: int = 0
    """Rows that gave bars of other files their factors, and are in neither of the two frames any more."""
    taken: int = 0
    """Sound rows that were taken out of `rows`."""

    @property
    def bars(self) -> pd.DataFrame:
        """`BAR_COLUMNS` and `CHANGES`; symbol, date and adj_factor where `factors` is not None."""
        return self.rows.frame

    @property
    def read(self) -> int:
        """All rows, those of other files' factors aside."""
        return len(self.rows) + self.taken + len(self.rejected)
