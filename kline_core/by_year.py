"""What differs by the year of a sample's date: the dates for which each year answers, and fingerprints of its values.

The first year answers for all dates before it as well, and the last one for all after it, until a later year is there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kline_core.typing import Dates, Flags


@dataclass(frozen=True, slots=True)
class DateSpan:
    """Dates from a first to a last one, both included."""

    first: np.datetime64 | None = None
    """datetime64[D]; None if there is no first."""
    last: np.datetime64 | None = None
    """datetime64[D]; None if there is no last."""

    def holds(self, dates: Dates) -> Flags:
        """Which of n dates are among them: bool (n,). `dates`: datetime64[D] (n,)."""
        inside = np.ones(np.shape(dates), dtype=np.bool_)
        if self.first is not None:
            inside &= dates >= self.first
        if self.last is not None:
            inside &= dates <= self.last
        return inside


def year_spans(years: Iterable[int]) -> dict[int, DateSpan]:
    """The dates for which each of some years answers, in ascending order of the years; all dates, each in one span."""
    known = sorted(years)
    begins = [np.datetime64(f"{year:04d}-01-01", "D") for year in known]
    firsts = [None, *begins[1:]]
    lasts = [*(begin - np.timedelta64(1, "D") for begin in begins[1:]), None]
    return {year: DateSpan(first, last) for year, first, last in zip(known, firsts, lasts, strict=True)}


def year_of(date: np.datetime64, years: Iterable[int]) -> int:
    """The one of some years that answers for a date, datetime64[D]."""
    return next(year for year, span in year_spans(years).items() if span.holds(np.array([date]))[0])


@dataclass(frozen=True, slots=True)
class YearFingerprints:
    """Fingerprints of one series of values, of which each year's are of an encoder of their own."""

    by_year: tuple[tuple[int, str], ...]
    """Years, ascending, each with its fingerprint."""

    def spans(self) -> list[tuple[DateSpan, str]]:
        """The dates for which each fingerprint answers."""
        found = dict(self.by_year)
        return [(span, found[year]) for year, span in year_spans(found).items()]

    def __str__(self) -> str:
        """One line for people."""
        (first, _), (last, newest) = self.by_year[0], self.by_year[-1]
        return newest if first == last else f"{newest} for {last}, and those of each year from {first} on"


Fingerprint: TypeAlias = str | YearFingerprints
"""What values are stored under: one fingerprint, or that of each year."""


def all_fingerprints(fingerprint: Fingerprint) -> set[str]:
    """The fingerprint itself, or those of all years."""
    return {fingerprint} if isinstance(fingerprint, str) else {each for _, each in fingerprint.by_year}
