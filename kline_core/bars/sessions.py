"""Sessions of exchanges, as exchange_calendars knows them."""

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from kline_core.errors import DateError, SettingError
from kline_core.markets import MARKETS
from kline_core.symbols import market_of
from kline_core.typing import Dates, Flags, Int64s

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

# The count of sessions begins here, or with the calendar if that begins later.
_ORIGIN = pd.Timestamp("1990-01-01")
FEW_DAYS = 60
"""Days left of a calendar below which to think of a newer one."""


def session_ordinal(dates: Dates, calendar: str) -> Int64s:
    """Ordinal of each day among the exchange's sessions, int64 (n,), counted from 1990 or the calendar's later start.

    An ordinal does not depend on how much history is passed in.

    Args:
        dates: Days, datetime64[D] (n,).
        calendar: Name of an exchange_calendars calendar, for instance ``XSHG``.

    Raises:
        DateError: A day is no session, or lies outside the days that the calendar knows.
        SettingError: The calendar is unknown or cannot be made.
    """
    days = np.asarray(dates, dtype="datetime64[D]")
    sessions = _sessions(calendar)
    if days.size == 0:
        return np.empty(0, dtype=np.int64)
    if np.isnat(days).any():
        raise DateError(
            f"a date is missing (NaT) where a session of {calendar} is needed",
            value=np.datetime64("NaT", "D"),
            calendar=calendar,
        )
    outside = days[(days < sessions[0]) | (days > sessions[-1])]
    if outside.size:
        raise DateError(
            f"{outside[0]} lies outside the sessions of calendar {calendar}, which are known from {sessions[0]} to "
            f"{sessions[-1]}; use pattern_stride 1 or a newer exchange_calendars",
            value=outside[0],
            calendar=calendar,
        )
    ordinals: Int64s = _ordinals(calendar)[(days - sessions[0]).astype(np.int64)]
    strange = days[ordinals < 0]
    if strange.size:
        raise DateError(
            f"{strange[0]} is no session of calendar {calendar}; check the date or name another calendar",
            value=strange[0],
            calendar=calendar,
        )
    return ordinals


@dataclass(frozen=True, slots=True)
class TradingDay:
    """A day as an exchange's calendar knows it."""

    calendar: str
    day: np.datetime64
    is_session: bool
    previous: np.datetime64 | None
    """The session before the day; None if the calendar knows none."""
    next: np.datetime64 | None
    """The session after the day; None if the calendar knows none."""
    closes: datetime | None
    """Close of the day's session, UTC; None if the day is no session."""

    @property
    def reason(self) -> str:
        """One line that says whether the day is a session, and if not, which sessions are around it."""
        if self.is_session:
            return f"{self.day} is a session of {self.calendar}"
        date: datetime = pd.Timestamp(self.day).to_pydatetime()
        kind = f"a {date:%A}" if date.weekday() >= 5 else "a holiday"
        around = [f"the last was {self.previous}"] if self.previous is not None else []
        around += [f"the next is {self.next}"] if self.next is not None else []
        return f"{self.day} is no session of {self.calendar} ({kind}); {', '.join(around)}"


def trading_day(day: np.datetime64, calendar: str) -> TradingDay:
    """A day (datetime64[D]) in an exchange's calendar.

    Raises:
        DateError: The day lies outside the days that the calendar knows.
        SettingError: The calendar is unknown or cannot be made.
    """
    sessions = _sessions(calendar)
    last = last_known_day(calendar)
    if np.isnat(day) or not sessions[0] <= day <= last:
        raise DateError(
            f"{day} lies outside the days that calendar {calendar} knows, {sessions[0]} to {last}; "
            "install a newer exchange_calendars, or name no calendar",
            value=day,
            calendar=calendar,
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
    """The last `count` sessions up to and including a day, datetime64[D], sorted; fewer if the calendar has no more.

    Raises as `trading_day`.
    """
    trading_day(day, calendar)
    sessions = _sessions(calendar)
    end = int(np.searchsorted(sessions, day, side="right"))
    newest: Dates = sessions[max(0, end - count) : end]
    return newest


def skips_session(symbol: str, first: np.datetime64, last: np.datetime64) -> bool | None:
    """Whether a session of a symbol's exchange lies between two days, datetime64[D]; None if nothing tells.

    Nothing tells of a symbol whose market is not known, and of days outside those that its calendar knows.
    """
    market = market_of(symbol)
    if market is None:
        return None
    sessions = _sessions(MARKETS[market].calendar)
    if first < sessions[0] or last > sessions[-1]:
        return None
    return bool(np.searchsorted(sessions, last, "left") > np.searchsorted(sessions, first, "right"))


def session_numbers(dates: Dates, calendar: str) -> Int64s:
    """Number of each day among the exchange's sessions, as `session_ordinal`, int64 (n,); -1 for any other day.

    Raises `SettingError` as `session_ordinal`.
    """
    sessions = _sessions(calendar)
    days = dates.astype("datetime64[D]")
    inside = (days >= sessions[0]) & (days <= sessions[-1])
    numbers = np.full(len(days), -1, dtype=np.int64)
    numbers[inside] = _ordinals(calendar)[(days[inside] - sessions[0]).astype(np.int64)]
    return numbers


def sessions_numbered(numbers: Int64s, calendar: str) -> Dates:
    """The days of `session_numbers`, datetime64[D] (n,)."""
    days: Dates = _sessions(calendar)[numbers]
    return days


def sessions_between(first: np.datetime64, last: np.datetime64, calendar: str) -> int:
    """Number of a calendar's sessions between two days, datetime64[D], both excluded.

    Weekdays are counted where the calendar does not know the days. Raises `SettingError` as `session_ordinal`.
    """
    sessions = _sessions(calendar)
    if first < sessions[0] or last > sessions[-1]:
        return max(0, int(np.busday_count(first, last)) - int(np.is_busday(first)))
    return int(np.searchsorted(sessions, last, "left") - np.searchsorted(sessions, first, "right"))


def skipped_sessions(symbols: pd.Series, first: Dates, last: Dates) -> Flags:
    """`skips_session` of n symbols and pairs of days, bool (n,); false where nothing tells."""
    codes, names = pd.factorize(symbols)
    calendars = [MARKETS[market].calendar if (market := market_of(str(name))) else "" for name in names]
    own = np.array([*calendars, ""], dtype=object)[codes]
    skipped = np.zeros(len(own), dtype=bool)
    for calendar in set(calendars) - {""}:
        sessions = _sessions(calendar)
        here = (own == calendar) & (first >= sessions[0]) & (last <= sessions[-1])
        skipped[here] = np.searchsorted(sessions, last[here], "left") > np.searchsorted(sessions, first[here], "right")
    return skipped


def no_sessions(days: Dates, calendar: str) -> Flags:
    """Which of n days are no sessions, bool (n,); false for days outside those that the calendar knows."""
    sessions = _sessions(calendar)
    off: Flags = (days >= sessions[0]) & (days <= sessions[-1]) & ~np.isin(days, sessions)
    return off


@cache
def calendar_names() -> tuple[str, ...]:
    """Names of all calendars, without their aliases, sorted."""
    import exchange_calendars

    return tuple(sorted(exchange_calendars.get_calendar_names(include_aliases=False)))


def time_zone(calendar: str) -> ZoneInfo:
    """Time zone of an exchange. Raises `SettingError` if the calendar is unknown or cannot be made."""
    return ZoneInfo(str(_calendar(calendar).tz))


@lru_cache(maxsize=8)
def _calendar(name: str) -> "ExchangeCalendar":
    """A calendar from `_ORIGIN`, or from its own beginning if that is later, to its end."""
    # Imported here, since it takes longer than the bars of a day, and most runs ask for no session.
    import exchange_calendars
    from exchange_calendars.errors import CalendarError

    try:
        with warnings.catch_warnings():
            # exchange_calendars 4.13 uses features that pandas 3 deprecates.
            warnings.filterwarnings("ignore", "Series.values returning an ndarray", DeprecationWarning)
            warnings.filterwarnings("ignore", "DatetimeIndex.weekday is deprecated", DeprecationWarning)
            # Without a start the calendar would begin twenty years before today, and the count would move every day.
            bound = exchange_calendars.get_calendar(name).bound_min()
            start = _ORIGIN if bound is None else max(_ORIGIN, bound)
            return exchange_calendars.get_calendar(name, start=start)
    except CalendarError as error:
        raise SettingError(
            f"calendar is {name!r}, which exchange_calendars does not know: {error}", parameter="calendar", value=name
        ) from error
    except (NotImplementedError, ValueError) as error:
        # exchange_calendars 4.13.2 fails with pandas 3.1 for Athens, Belgrade, Bucharest, Nicosia and Tel Aviv.
        raise SettingError(
            f"calendar is {name!r}, which exchange_calendars {exchange_calendars.__version__} cannot make with pandas "
            f"{pd.__version__}; install a newer exchange_calendars, or name another calendar",
            parameter="calendar",
            value=name,
        ) from error


@lru_cache(maxsize=8)
def _sessions(calendar: str) -> Dates:
    """All sessions of a calendar, datetime64[D], sorted."""
    days: Dates = _calendar(calendar).sessions.to_numpy().astype("datetime64[D]")
    days.flags.writeable = False
    return days


@lru_cache(maxsize=8)
def _ordinals(calendar: str) -> Int64s:
    """Ordinal of each day from a calendar's first session to its last, int64; -1 if the day is no session."""
    sessions = _sessions(calendar)
    at = (sessions - sessions[0]).astype(np.int64)
    ordinals = np.full(at[-1] + 1, -1, dtype=np.int64)
    ordinals[at] = np.arange(len(at))
    ordinals.flags.writeable = False
    return ordinals


def last_known_day(calendar: str) -> np.datetime64:
    """The last day that a calendar knows: its fixed end, or its last session if it has none."""
    bound = _calendar(calendar).bound_max()
    last: np.datetime64 = _sessions(calendar)[-1] if bound is None else np.datetime64(bound.date(), "D")
    return last


def ending(calendar: str, day: np.datetime64) -> str | None:
    """One line that says when a calendar ends, if fewer than `FEW_DAYS` days are left of it on a day; else None.

    Raises `SettingError` if the calendar is unknown or cannot be made.
    """
    last = last_known_day(calendar)
    left = int((last - day).astype(np.int64))
    if left >= FEW_DAYS:
        return None
    when = f"ended on {last}" if left < 0 else f"ends on {last}, {left} days after {day}"
    return f"{calendar} {when}; install a newer exchange_calendars: runs that name it are refused from then on"
