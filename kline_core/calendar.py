"""Dates: the one place where they are parsed, and the sessions of exchanges."""

import re
import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import numpy.typing as npt
import pandas as pd
from exchange_calendars.errors import CalendarError

from kline_core.errors import DateError, SettingError

Dates = npt.NDArray[np.datetime64]
"""Array of datetime64[D]."""

FIRST_DAY, LAST_DAY = np.datetime64("1800-01-01", "D"), np.datetime64("2199-12-31", "D")
"""Bounds, themselves included, of all dates. No exchange has older prices, and a later year is a mistake, such as days
read in a wrong unit; years beyond 9999 would break whatever reads the table."""
_FORMS = "write YYYY-MM-DD, YYYY/MM/DD or YYYYMMDD"
_TEXT = re.compile(
    r"(?:(\d{4})(\d\d)(\d\d)|(\d{4})([-/])(\d{1,2})\5(\d{1,2}))(?:[ T]00:00(?::00(?:\.0{1,9})?)?)?", re.ASCII
)
# Sessions are counted from here, or from the calendar's own beginning where it knows less.
_ORIGIN = pd.Timestamp("1990-01-01")


def parse_date(value: object, name: str) -> np.datetime64:
    """A day as datetime64[D].

    Args:
        value: Text (``YYYY-MM-DD``, ``YYYY/MM/DD``, ``YYYYMMDD``, each also with a time of midnight), a whole number
            YYYYMMDD, a date, or a datetime, pandas Timestamp or datetime64 at midnight.
        name: What the value is, for the error.

    Raises:
        DateError: It is no such value: empty, of another form, no existing day, with a time of day or a time zone, or
            not from `FIRST_DAY` to `LAST_DAY`.
    """
    day = _parse(value, name)
    if not FIRST_DAY <= day <= LAST_DAY:
        raise DateError(f"{name} is {day}; give a day from {FIRST_DAY} to {LAST_DAY}")
    return day


def _parse(value: object, name: str) -> np.datetime64:
    if isinstance(value, str):
        return _parse_text(value.strip(), name)
    if isinstance(value, bool | np.bool_):
        raise DateError(f"{name} is {value!r}, which is no date; {_FORMS}")
    if isinstance(value, int | np.integer):
        return _parse_text(str(int(value)), name)
    if isinstance(value, np.datetime64) and not np.isnat(value):
        # Not as a Timestamp, which knows no year beyond 9999.
        midnight: np.datetime64 = value.astype("datetime64[D]")
        if midnight != value:
            raise DateError(f"{name} is {value!s}; give a day without a time")
        return midnight
    if isinstance(value, np.datetime64 | datetime):
        stamp = pd.Timestamp(value)
        if pd.isna(stamp):
            raise DateError(f"{name} is missing; {_FORMS}")
        if stamp.tzinfo is not None:
            raise DateError(f"{name} is {value!s}; leave the time zone away and give the exchange's day")
        if stamp != stamp.normalize():
            raise DateError(f"{name} is {value!s}; give a day without a time")
        return np.datetime64(stamp.date(), "D")
    if isinstance(value, date):
        return np.datetime64(value, "D")
    raise DateError(f"{name} is {value!r}, which is no date; {_FORMS}")


def parse_dates(values: pd.Series) -> tuple[Dates, npt.NDArray[np.bool_]]:
    """A column of dates as datetime64[D] (n,), and where a value is no date (n,); there the day is NaT.

    The rule is that of `parse_date`, asked once for each distinct value.
    """
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "M":
        stamps = values.to_numpy()
        days = stamps.astype("datetime64[D]")
        bad = np.isnat(stamps) | (days != stamps) | (days < FIRST_DAY) | (days > LAST_DAY)
    elif isinstance(values.dtype, pd.DatetimeTZDtype):
        # None can be taken, and asking for one of a year beyond 9999 is an error.
        days = np.full(len(values), "NaT", "datetime64[D]")
        bad = np.ones(len(values), dtype=bool)
    else:
        codes, distinct = pd.factorize(values, use_na_sentinel=True)
        # The last place is that of missing values, whose code is -1.
        parsed = np.array([*(_parse_or_nat(value) for value in distinct), np.datetime64("NaT", "D")], "datetime64[D]")
        days = parsed[codes]
        bad = np.isnat(days)
    days[bad] = np.datetime64("NaT", "D")
    return days, bad


def session_ordinal(dates: Dates, calendar: str) -> npt.NDArray[np.int64]:
    """Number of each day (n,) among the exchange's sessions, counted from 1990 (or where the calendar begins).

    The count is the same however much history is passed in.

    Args:
        dates: Days, datetime64[D] (n,).
        calendar: Name of an exchange_calendars calendar, for instance ``XSHG``.

    Raises:
        DateError: A day is no session, or lies outside the days that the calendar knows.
        SettingError: There is no such calendar.
    """
    days = np.asarray(dates, dtype="datetime64[D]")
    sessions = _sessions(calendar)
    if days.size == 0:
        return np.empty(0, dtype=np.int64)
    if np.isnat(days).any():
        raise DateError(f"a date is missing (NaT) where a session of {calendar} is needed")
    outside = days[(days < sessions[0]) | (days > sessions[-1])]
    if outside.size:
        raise DateError(
            f"{outside[0]} lies outside the sessions of calendar {calendar}, which are known from {sessions[0]} to "
            f"{sessions[-1]}; use pattern_stride 1 or a newer exchange_calendars"
        )
    ordinals: npt.NDArray[np.int64] = _ordinals(calendar)[(days - sessions[0]).astype(np.int64)]
    strange = days[ordinals < 0]
    if strange.size:
        raise DateError(f"{strange[0]} is no session of calendar {calendar}; check the date or name another calendar")
    return ordinals


@dataclass(frozen=True, slots=True)
class TradingDay:
    """A day as an exchange's calendar knows it."""

    calendar: str
    day: np.datetime64
    is_session: bool
    previous: np.datetime64 | None
    """The session before the day; None where the calendar knows none."""
    next: np.datetime64 | None
    """The session after the day; None where the calendar knows none."""
    closes: datetime | None
    """When the day's session closes, UTC; None where it is no session."""

    @property
    def reason(self) -> str:
        """What the day is, in one line."""
        if self.is_session:
            return f"{self.day} is a session of {self.calendar}"
        date: datetime = pd.Timestamp(self.day).to_pydatetime()
        kind = f"a {date:%A}" if date.weekday() >= 5 else "a holiday"
        around = [f"the last was {self.previous}"] if self.previous is not None else []
        around += [f"the next is {self.next}"] if self.next is not None else []
        return f"{self.day} is no session of {self.calendar} ({kind}); {', '.join(around)}"


def trading_day(day: np.datetime64, calendar: str) -> TradingDay:
    """What a day (datetime64[D]) is to an exchange.

    Raises:
        DateError: The day lies outside those that the calendar knows.
        SettingError: There is no such calendar.
    """
    sessions = _sessions(calendar)
    last = _last_day(calendar)
    if np.isnat(day) or not sessions[0] <= day <= last:
        raise DateError(
            f"{day} lies outside the days that calendar {calendar} knows, {sessions[0]} to {last}; "
            "install a newer exchange_calendars, or name no calendar"
        )
    at = int(np.searchsorted(sessions, day))
    is_session = at < len(sessions) and bool(sessions[at] == day)
    after = at + 1 if is_session else at
    closes = None
    if is_session:
        closes = _calendar(calendar).session_close(pd.Timestamp(day)).to_pydatetime().astimezone(UTC)
    return TradingDay(
        calendar=calendar,
        day=day,
        is_session=is_session,
        previous=sessions[at - 1] if at else None,
        next=sessions[after] if after < len(sessions) else None,
        closes=closes,
    )


def sessions_until(day: np.datetime64, count: int, calendar: str) -> Dates:
    """The newest `count` sessions up to and including a day, datetime64[D], sorted; fewer where the calendar begins.

    Raises as `trading_day`.
    """
    trading_day(day, calendar)
    sessions = _sessions(calendar)
    end = int(np.searchsorted(sessions, day, side="right"))
    newest: Dates = sessions[max(0, end - count) : end]
    return newest


@cache
def calendar_names() -> tuple[str, ...]:
    """Names of all calendars, without their aliases, sorted."""
    return tuple(sorted(exchange_calendars.get_calendar_names(include_aliases=False)))


def time_zone(calendar: str) -> ZoneInfo:
    """The time zone of an exchange. Raises `SettingError` where there is no such calendar."""
    return ZoneInfo(str(_calendar(calendar).tz))


@lru_cache(maxsize=8)
def _calendar(name: str) -> exchange_calendars.ExchangeCalendar:
    """A calendar from the origin, or from its own beginning where it knows less, to its end."""
    try:
        with warnings.catch_warnings():
            # exchange_calendars 4.13 asks pandas 3 for what it will answer otherwise, or not at all, one day.
            warnings.filterwarnings("ignore", "Series.values returning an ndarray", DeprecationWarning)
            warnings.filterwarnings("ignore", "DatetimeIndex.weekday is deprecated", DeprecationWarning)
            # Without a start the calendar would begin twenty years before today, and the count would move every day.
            bound = exchange_calendars.get_calendar(name).bound_min()
            start = _ORIGIN if bound is None else max(_ORIGIN, bound)
            return exchange_calendars.get_calendar(name, start=start)
    except CalendarError as error:
        raise SettingError(f"calendar is {name!r}, which exchange_calendars does not know: {error}") from error
    except (NotImplementedError, ValueError) as error:
        # With pandas 3.1 exchange_calendars 4.13.2 fails so for Athens, Belgrade, Bucharest, Nicosia and Tel Aviv.
        raise SettingError(
            f"calendar is {name!r}, which exchange_calendars {exchange_calendars.__version__} cannot make with pandas "
            f"{pd.__version__}; install a newer exchange_calendars, or name another calendar"
        ) from error


@lru_cache(maxsize=8)
def _sessions(calendar: str) -> Dates:
    """All sessions of a calendar, datetime64[D], sorted."""
    days: Dates = _calendar(calendar).sessions.to_numpy().astype("datetime64[D]")
    days.flags.writeable = False
    return days


@lru_cache(maxsize=8)
def _ordinals(calendar: str) -> npt.NDArray[np.int64]:
    """For each day from a calendar's first session to its last, the session's number; -1 where the day is none."""
    sessions = _sessions(calendar)
    at = (sessions - sessions[0]).astype(np.int64)
    ordinals = np.full(at[-1] + 1, -1, dtype=np.int64)
    ordinals[at] = np.arange(len(at))
    ordinals.flags.writeable = False
    return ordinals


def _last_day(calendar: str) -> np.datetime64:
    """The last day that a calendar knows: its fixed end, or its last session where it has none."""
    bound = _calendar(calendar).bound_max()
    last: np.datetime64 = _sessions(calendar)[-1] if bound is None else np.datetime64(bound.date(), "D")
    return last


def _parse_text(text: str, name: str) -> np.datetime64:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise DateError(f"{name} is {text!r}, which is no date; {_FORMS}")
    year, month, day = (found[1], found[2], found[3]) if found[1] else (found[4], found[6], found[7])
    try:
        return np.datetime64(date(int(year), int(month), int(day)), "D")
    except ValueError:
        raise DateError(f"{name} is {text!r}, a day that does not exist") from None


def _parse_or_nat(value: object) -> np.datetime64:
    try:
        return parse_date(value, "date")
    except DateError:
        return np.datetime64("NaT", "D")
