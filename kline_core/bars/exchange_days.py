"""Days of the exchange from what vendors write: days, times of day, and moments in a time zone.

* A day is itself, whatever time of day stands beside it.
* A moment with a zone is the day at the exchange. Midnight, in UTC or in the zone that it is written with, is a day:
  that is how tools write days.
* 03/04/2024 is decided by all dates of the file: one whose first or second number is above 12 tells the month. If
  none does, or they contradict each other, all such dates are refused.
* Years have four digits.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.dates import FIRST_DAY, LAST_DAY
from kline_core.typing import Dates, Flags, Int64s, Objects

NO_DATE: Final = "is missing or no date; write YYYY-MM-DD"
UNDECIDED: Final = "is day-first or month-first, and the dates of the file do not tell which; write YYYY-MM-DD"
TWO_DIGITS: Final = "has a year of two digits, which may be of any century; write YYYY-MM-DD"
SERIAL: Final = "is a number, as spreadsheets count days since 1900; format its column as dates, or write YYYY-MM-DD"
EPOCH: Final = "is a number, as computers count seconds or parts of them since 1970; write YYYY-MM-DD"
NO_CLOCK: Final = "has a time of day that is none from 00:00 to 23:59:59, such as 4:00 PM or 24:00; write YYYY-MM-DD"
NO_ZONE: Final = "has a time zone, and the market of its symbol is not known; write the exchange's day"

_TIME = r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d{1,9})?)?)?"
_ZONE = r"(?: ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d))?"
_FORMS = [
    re.compile(form + _TIME + _ZONE, re.ASCII)
    for form in (
        r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
        r"(?P<year>\d{4})(?P<sign>[-/.])(?P<month>\d{1,2})(?P=sign)(?P<day>\d{1,2})",
        r"(?P<year>\d{4})年(?P<month>\d{1,2})月(?P<day>\d{1,2})日",
        r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})",
        r"(?P<one>\d{1,2})(?P<sign>[-/])(?P<two>\d{1,2})(?P=sign)(?P<year>\d{4})",
        r"(?P<name>[A-Za-z]{3,9})\.? (?P<day>\d{1,2}),? (?P<year>\d{4})",
        r"(?P<day>\d{1,2})[- ](?P<name>[A-Za-z]{3,9})[- ](?P<year>\d{4})",
    )
]
_TWO_DIGITS = re.compile(
    r"(?:\d{1,2}[-/.]\d{1,2}[-/.]'?\d\d|\d{1,2}[- ][A-Za-z]{3,9}[- ]'?\d\d|[A-Za-z]{3,9}\.? \d{1,2},? '?\d\d|\d{6})"
    r"(?:[ T].*)?",
    re.ASCII,
)
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_FLOAT = re.compile(r"^(\d{8})\.0+$", re.ASCII)
_SERIAL = re.compile(r"[1-9]\d{4}(?:\.\d*)?", re.ASCII)
_COUNTED = re.compile(r"-?[1-9]\d{8,9}(?:\.\d*)?|-?[1-9]\d{11,12}(?:\.\d*)?|-?[1-9]\d{14,18}(?:\.\d*)?", re.ASCII)
_ANY_CLOCK = re.compile(r"(.{6,20}?)[ T]\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)? ?(?:[AaPp]\.?[Mm]\.?)?", re.ASCII)
"""Days since 1900; seconds, milliseconds, microseconds and nanoseconds since 1970; a day with any time."""
_EPOCH = date(1970, 1, 1).toordinal()
_MICROSECONDS = 10**6


@dataclass(frozen=True, slots=True)
class Stamp:
    """A date as it is written."""

    day: int
    """Days since 1970-01-01; with `swapped` the day if the month stands first."""
    second: int = 0
    """Second of the day."""
    zone: int | None = None
    """Seconds that its clock is ahead of UTC; None if it has no zone."""
    swapped: int | None = None
    """The day if the day stands first, of a date that may be either; -1 for a number that is no day."""


_NONE = -(10**6)
"""No day: days since 1970 of one before all dates."""


@dataclass(frozen=True, slots=True)
class ExchangeDays:
    """Days of n rows."""

    days: Dates
    """datetime64[D] (n,), NaT where there is none."""
    seconds: Int64s
    """int64 (n,): second of the day as it is written, 0 where no time is."""
    faults: list[tuple[Flags, str]]
    """Rows without a day, bool (n,), and why, in words that follow the column's name."""
    each_alone: bool = True
    """Whether no row's day depends on what stands in others."""


def exchange_days(values: pd.Series, zones: Callable[[], Objects], month_first: bool | None = None) -> ExchangeDays:
    """Days of a column.

    Args:
        values: Text, whole numbers YYYYMMDD, dates, or moments with or without a zone (n,).
        zones: Returns the IANA time zone of each row's exchange, object (n,), None where it is not known; called only
            if a moment has a zone.
        month_first: Whether 03/04/2024 is in March; None to decide it by the column.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        moments, written = (
            zoned.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
            for zoned in (values.dt.tz_convert("UTC"), values)
        )
        midnight = written == written.astype("datetime64[D]")
        days, seconds, homeless = _local(moments, ~np.isnat(moments) & ~midnight, zones)
        days, seconds = np.where(midnight, written.astype("datetime64[D]"), days), np.where(midnight, 0, seconds)
        return _bounded(days, seconds, homeless, np.zeros(len(values), dtype=bool))
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "M":
        moments = values.to_numpy()
        days, seconds = _divided(moments)
        return _bounded(days, seconds, np.zeros(len(values), bool), np.zeros(len(values), bool))
    return _written(values, zones, month_first)


def _written(values: pd.Series, zones: Callable[[], Objects], month_first: bool | None) -> ExchangeDays:
    if (days := _all_plain(values)) is not None:
        none = np.zeros(len(values), dtype=bool)
        return _bounded(days, np.zeros(len(values), dtype=np.int64), none, none)
    stamps = [_stamp(value) for value in values]
    day = np.array([_NONE if stamp is None else stamp.day for stamp in stamps], dtype=np.int64)
    seconds = np.array([0 if stamp is None else stamp.second for stamp in stamps], dtype=np.int64)
    either = np.array([stamp is not None and stamp.swapped is not None for stamp in stamps], dtype=bool)
    undecided = np.zeros(len(stamps), dtype=bool)
    if either.any():
        swapped = np.array([_NONE if s is None or s.swapped is None else s.swapped for s in stamps], dtype=np.int64)
        if month_first is None:
            # Dates of which only one reading is a day.
            month, first = (
                bool((either & (there != _NONE) & (other == _NONE)).any())
                for there, other in ((day, swapped), (swapped, day))
            )
            month_first = None if month == first else month
        if month_first is None:
            # Where both readings are the same day nothing is to be decided.
            undecided = either & (day != swapped)
        elif not month_first:
            day = np.where(either, swapped, day)
    known = (day != _NONE) & ~undecided
    days = np.where(known, day, 0).astype("datetime64[D]")
    days[~known] = np.datetime64("NaT", "D")
    zoned = known & np.array([s is not None and s.zone is not None and s.second != 0 for s in stamps], dtype=bool)
    homeless = np.zeros(len(stamps), dtype=bool)
    if zoned.any():
        ahead = np.array([0 if stamp is None else stamp.zone or 0 for stamp in stamps], dtype=np.int64)
        moments = days.astype("datetime64[us]") + ((seconds - ahead) * _MICROSECONDS).astype("timedelta64[us]")
        local, clock, homeless = _local(moments, zoned, zones)
        days, seconds = np.where(zoned, local, days), np.where(zoned, clock, seconds)
    found = replace(_bounded(days, seconds, homeless, undecided), each_alone=False)
    lost = np.isnat(found.days)
    if not lost.any():
        return found
    why = np.full(len(lost), "", dtype=object)
    why[lost] = [_why_lost(value) for value in values[lost]]
    told = [(why == each, each) for each in (TWO_DIGITS, SERIAL, EPOCH, NO_CLOCK)]
    return replace(found, faults=[*told, *((where & (why == ""), each) for where, each in found.faults)])


def _all_plain(values: pd.Series) -> Dates | None:
    """Days of text that is YYYY-MM-DD, YYYY/MM/DD or YYYYMMDD throughout, as of most files; None for any other."""
    if not isinstance(values.dtype, pd.StringDtype) or len(values) == 0:
        return None
    texts = pa.array(values, pa.string())
    first = texts[0].as_py() or ""
    try:
        if len(first) == 8:
            # Not what Arrow would take for a number or cut off.
            if not pc.all(pc.match_substring_regex(texts, r"^[0-9]{8}$")).as_py():
                return None
            parts = [pc.utf8_slice_codeunits(texts, *place) for place in ((0, 4), (4, 6), (6, 8))]
            texts = pc.binary_join_element_wise(*parts, "-")
        elif "/" in first:
            if not pc.all(pc.match_substring_regex(texts, r"^[0-9]{4}/[0-9]{2}/[0-9]{2}$")).as_py():
                return None
            texts = pc.replace_substring(texts, "/", "-")
        if texts.null_count:
            return None
        return np.asarray(texts.cast(pa.date32()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return None


def _local(moments: Dates, where: Flags, zones: Callable[[], Objects]) -> tuple[Dates, Int64s, Flags]:
    """Day and second of the day at the exchange of moments in UTC, and the rows whose exchange is not known."""
    days, seconds = _divided(moments)
    homeless = np.zeros(len(moments), dtype=bool)
    where = where & (seconds != 0)
    if not where.any():
        return days, seconds, homeless
    names = zones()
    homeless = where & np.array([name is None for name in names], dtype=bool)
    for name in {name for name in names[where] if name is not None}:
        here = where & (names == name)
        local = pd.DatetimeIndex(moments[here]).tz_localize("UTC").tz_convert(name).tz_localize(None).to_numpy()
        days[here], seconds[here] = _divided(local)
    return days, seconds, homeless


def _divided(moments: Dates) -> tuple[Dates, Int64s]:
    """Day and second of the day, 0 for a moment that is none."""
    days = moments.astype("datetime64[D]")
    return days, np.where(np.isnat(moments), 0, (moments - days).astype("timedelta64[s]").astype(np.int64))


def _bounded(days: Dates, seconds: Int64s, homeless: Flags, undecided: Flags) -> ExchangeDays:
    lost = ~((days >= FIRST_DAY) & (days <= LAST_DAY))
    lost &= ~undecided
    days = days.copy()
    days[lost | homeless] = np.datetime64("NaT", "D")
    return ExchangeDays(days, seconds, [(undecided, UNDECIDED), (homeless, NO_ZONE), (lost, NO_DATE)])


def _stamp(value: object) -> Stamp | None:
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_ | np.timedelta64):
        return _from_text(str(int(value)))
    if isinstance(value, float | np.floating) and value.is_integer():
        return _from_text(f"{value:.0f}")
    # A Timestamp is a datetime, and a datetime is a date; NaT is all of them.
    if isinstance(value, date | np.datetime64) and not pd.isna(value):
        try:
            moment = pd.Timestamp(value)
        except (ValueError, OverflowError):
            return None
        offset = moment.utcoffset()
        clock = int((moment.tz_localize(None) - moment.tz_localize(None).normalize()).total_seconds())
        zone = None if offset is None else int(offset.total_seconds())
        return Stamp(moment.date().toordinal() - _EPOCH, clock, zone)
    return None


@lru_cache(maxsize=200_000)
def _from_text(text: str) -> Stamp | None:
    # Longer text is none of the forms, and may be a whole file.
    if len(text) > 40:
        return None
    # A whole number of a column that a tool took for one with decimals, since one is missing.
    text = _FLOAT.sub(r"\1", text)
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None:
        return None
    parts = found.groupdict()
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        return None
    clock, zone, year = hour * 3600 + minute * 60 + second, _offset(parts["zone"]), int(parts["year"])
    if "one" in parts:
        one, two = int(parts["one"]), int(parts["two"])
        day, swapped = _ordinal(year, one, two), _ordinal(year, two, one)
        return None if day == swapped == _NONE else Stamp(day, clock, zone, swapped)
    if "name" in parts:
        month = next((at for at, name in enumerate(_MONTHS, 1) if name.startswith(parts["name"].lower())), 0)
    else:
        month = int(parts["month"])
    day = _ordinal(year, month, int(parts["day"]))
    return None if day == _NONE else Stamp(day, clock, zone)


def _why_lost(value: object) -> str:
    """Why a cell that is no day is none, where it can be told; else empty."""
    if isinstance(value, float | np.floating):
        # A whole number in a column where one is missing.
        value = f"{value:.0f}" if np.isfinite(value) else ""
    elif isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_ | np.timedelta64):
        value = str(int(value))
    if not isinstance(value, str) or len(value) > 40:
        return ""
    text = value.strip()
    if _TWO_DIGITS.fullmatch(text):
        return TWO_DIGITS
    if _SERIAL.fullmatch(text):
        return SERIAL
    if _COUNTED.fullmatch(text):
        return EPOCH
    clock = _ANY_CLOCK.fullmatch(text)
    known = clock is not None and _from_text(clock[1]) is not None
    return NO_CLOCK if known and _from_text(text) is None else ""


def _ordinal(year: int, month: int, day: int) -> int:
    try:
        return date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return _NONE


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone in ("Z", "UTC"):
        return 0
    sign, digits = zone[0], zone[1:].replace(":", "")
    seconds = int(timedelta(hours=int(digits[:2]), minutes=int(digits[2:])).total_seconds())
    return -seconds if sign == "-" else seconds
