"""Dates: the only module that parses and checks them."""

import re
from datetime import date, datetime

import numpy as np
import pandas as pd

from kline_core.errors import DateError
from kline_core.typing import Dates, Flags

FIRST_DAY, LAST_DAY = np.datetime64("1800-01-01", "D"), np.datetime64("2199-12-31", "D")
"""Inclusive bounds of all dates. No exchange has older prices, and a later year is a mistake, such as days read in a
wrong unit; years beyond 9999 would break the readers of the table."""


_FORMS = "write YYYY-MM-DD, YYYY/MM/DD or YYYYMMDD"


_TEXT = re.compile(
    r"(?:(\d{4})(\d\d)(\d\d)|(\d{4})([-/])(\d{1,2})\5(\d{1,2}))(?:[ T]00:00(?::00(?:\.0{1,9})?)?)?", re.ASCII
)


def parse_date(value: object, name: str) -> np.datetime64:
    """A day as datetime64[D].

    Args:
        value: Text (``YYYY-MM-DD``, ``YYYY/MM/DD``, ``YYYYMMDD``, each also with a time of midnight), a whole number
            YYYYMMDD, a date, or a datetime, pandas Timestamp or datetime64 at midnight.
        name: Name of the value in the error message.

    Raises:
        DateError: The value is empty, has another form, a time of day or a time zone, is no existing day, or lies
            outside `FIRST_DAY` to `LAST_DAY`.
    """
    day = _parse(value, name)
    if not FIRST_DAY <= day <= LAST_DAY:
        raise DateError(f"{name} is {day}; give a day from {FIRST_DAY} to {LAST_DAY}", parameter=name, value=value)
    return day


def optional_date(value: object | None, name: str) -> np.datetime64 | None:
    """`parse_date` of a value that may be None, which stays None."""
    return None if value is None else parse_date(value, name)


def _parse(value: object, name: str) -> np.datetime64:
    if isinstance(value, str):
        return _parse_text(value.strip(), name, value)
    # A duration is a whole number to NumPy.
    if isinstance(value, bool | np.bool_ | np.timedelta64):
        raise DateError(f"{name} is {value!r}, which is no date; {_FORMS}", parameter=name, value=value)
    if isinstance(value, int | np.integer):
        return _parse_text(str(int(value)), name, value)
    if isinstance(value, np.datetime64) and not np.isnat(value):
        # Not through a Timestamp, which has no years beyond 9999.
        midnight: np.datetime64 = value.astype("datetime64[D]")
        if midnight != value:
            raise DateError(f"{name} is {value!s}; give a day without a time", parameter=name, value=value)
        return midnight
    if isinstance(value, np.datetime64 | datetime):
        stamp = pd.Timestamp(value)
        if pd.isna(stamp):
            raise DateError(f"{name} is missing; {_FORMS}", parameter=name, value=value)
        if stamp.tzinfo is not None:
            raise DateError(
                f"{name} is {value!s}; leave the time zone away and give the exchange's day",
                parameter=name,
                value=value,
            )
        if stamp != stamp.normalize():
            raise DateError(f"{name} is {value!s}; give a day without a time", parameter=name, value=value)
        return np.datetime64(stamp.date(), "D")
    if isinstance(value, date):
        return np.datetime64(value, "D")
    raise DateError(f"{name} is {value!r}, which is no date; {_FORMS}", parameter=name, value=value)


def month_ends(days: Dates) -> Flags:
    """Which of n increasing days, one at least, are the last of their months among them: bool (n,)."""
    months = days.astype("datetime64[M]")
    return np.append(months[1:] != months[:-1], True)


def parse_dates(values: pd.Series) -> tuple[Dates, Flags]:
    """Days of a column, datetime64[D] (n,), and the mask of the values that are no date, bool (n,); their day is NaT.

    The rule is that of `parse_date`, applied once to each distinct value.
    """
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "M":
        stamps = values.to_numpy()
        days = stamps.astype("datetime64[D]")
        bad = np.isnat(stamps) | (days != stamps) | (days < FIRST_DAY) | (days > LAST_DAY)
    elif isinstance(values.dtype, pd.DatetimeTZDtype):
        # None is a date, and pandas would raise on looking at one of a year beyond 9999.
        days = np.full(len(values), "NaT", "datetime64[D]")
        bad = np.ones(len(values), dtype=bool)
    elif values.dtype == object:
        # By type too: 20200102 and 20200102.0 are equal, but only one of them is a date.
        known: dict[tuple[type, object], np.datetime64] = {}
        days = np.full(len(values), "NaT", "datetime64[D]")
        for at, value in enumerate(values):
            try:
                day = known.get((type(value), value))
            except TypeError:  # a list, say, and no date either
                continue
            if day is None:
                day = known[type(value), value] = _parse_or_nat(value)
            days[at] = day
        bad = np.isnat(days)
    else:
        codes, distinct = pd.factorize(values, use_na_sentinel=True)
        # Missing values have the code -1, which picks the last entry.
        parsed = np.array([*(_parse_or_nat(value) for value in distinct), np.datetime64("NaT", "D")], "datetime64[D]")
        days = parsed[codes]
        bad = np.isnat(days)
    days[bad] = np.datetime64("NaT", "D")
    return days, bad


def _parse_text(text: str, name: str, value: object) -> np.datetime64:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise DateError(f"{name} is {text!r}, which is no date; {_FORMS}", parameter=name, value=value)
    year, month, day = (found[1], found[2], found[3]) if found[1] else (found[4], found[6], found[7])
    try:
        return np.datetime64(date(int(year), int(month), int(day)), "D")
    except ValueError:
        raise DateError(f"{name} is {text!r}, a day that does not exist", parameter=name, value=value) from None


def _parse_or_nat(value: object) -> np.datetime64:
    try:
        return parse_date(value, "date")
    except DateError:
        return np.datetime64("NaT", "D")


def as_days(dates: Dates, name: str) -> Dates:
    """The array itself, if it is datetime64[D] without NaT.

    NaT sorts after every date, so a NaT let through would see the whole future.

    Raises:
        DateError: The array has another dtype or holds NaT; the message gives its `name`.
    """
    dates = np.asarray(dates)
    if dates.dtype != np.dtype("datetime64[D]"):
        raise DateError(f"{name} is an array of {dates.dtype}; it must be datetime64[D]", parameter=name, value=dates)
    if np.isnat(dates).any():
        raise DateError(
            f"{name} holds NaT in position {int(np.isnat(dates).argmax())}; every entry must be a date",
            parameter=name,
            value=dates,
        )
    return dates
