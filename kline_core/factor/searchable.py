"""Which part of history was searchable for a sample: the patterns that were eligible to become its matches."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kline_core._text import counted
from kline_core.patterns.patterns import Patterns
from kline_core.typing import Dates, Flags


@dataclass(frozen=True, slots=True)
class Searchable:
    """Patterns that a sample on a date was free to match: known on the date, and not of its own window.

    Dates are datetime64[D], or None if there were no such patterns.
    """

    patterns: int
    """Number of eligible patterns."""
    own: int
    """Number of patterns that were known and left out, since they share a bar with the sample's own window."""
    symbols: int
    """Number of symbols of the eligible patterns."""
    first_end: np.datetime64 | None
    """Last bar of the earliest window."""
    last_end: np.datetime64 | None
    """Last bar of the latest window."""
    last_known_on: np.datetime64 | None
    """Date on which the newest outcome was known; never after the sample's date."""

    @classmethod
    def of(cls, date: np.datetime64, code: npt.NDArray[Any], end: Dates, known_on: Dates, own: Flags) -> Self:
        """Count among p patterns.

        Args:
            date: datetime64[D]: the sample's date.
            code: (p,): symbol of each pattern, as a number or a name.
            end: datetime64[D] (p,): last bar of its window.
            known_on: datetime64[D] (p,): date on which its outcome was known.
            own: bool (p,): whether its window shares a bar with the sample's.
        """
        known = known_on <= date
        eligible = known & ~own
        count = int(eligible.sum())
        if not count:
            return cls(0, int((known & own).sum()), 0, None, None, None)
        ends = end[eligible]
        return cls(
            patterns=count,
            own=int((known & own).sum()),
            symbols=len(np.unique(code[eligible])),
            first_end=ends.min(),
            last_end=ends.max(),
            last_known_on=known_on[eligible].max(),
        )

    @classmethod
    def among(cls, patterns: Patterns, symbol: str, date: np.datetime64, bar: int, span_bars: int) -> Self:
        """Count among loaded patterns, for a sample whose window of `span_bars` ends on the traded bar `bar`."""
        own = np.zeros(len(patterns), dtype=np.bool_)
        _, rows = patterns.rows_near(patterns.codes_of([symbol]), np.array([bar], np.int32), span_bars)
        own[rows] = True
        return cls.of(date, patterns.code, patterns.end, patterns.known_on, own)

    def __str__(self) -> str:
        """The part of history in words."""
        left_out = f"; {self.own} that share bars with its own window left out" if self.own else ""
        if not self.patterns:
            return f"searchable: no window whose outcome was known by that day{left_out}"
        return (
            f"searchable: {self.patterns:,} windows of {counted(self.symbols, 'symbol')} that ended from "
            f"{self.first_end} to {self.last_end}, the last outcome known on {self.last_known_on}{left_out}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The counts and dates as plain JSON values."""
        days = {name: getattr(self, name) for name in ("first_end", "last_end", "last_known_on")}
        counts = {"patterns": self.patterns, "own": self.own, "symbols": self.symbols}
        return counts | {name: None if day is None else str(day) for name, day in days.items()}
