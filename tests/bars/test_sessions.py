from datetime import date, datetime

import exchange_calendars
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.sessions import (
    calendar_names,
    ending,
    last_known_day,
    session_ordinal,
    sessions_until,
    time_zone,
    trading_day,
)
from kline_core.errors import DateError, SettingError

DAY = np.datetime64("2020-01-02", "D")


def test_session_ordinals_count_sessions_and_skip_holidays() -> None:
    # Spring Festival 2020: closed from 24 January to 2 February.
    days = np.array(["2020-01-22", "2020-01-23", "2020-02-03", "2020-02-04"], "datetime64[D]")
    ordinals = session_ordinal(days, "XSHG")
    assert np.diff(ordinals).tolist() == [1, 1, 1]
    # 7,109 sessions from the beginning of the calendar's knowledge in January 1991, and the same asked alone.
    assert session_ordinal(days[2:3], "XSHG")[0] == ordinals[2]
    assert session_ordinal(np.array(["1990-01-02"], "datetime64[D]"), "XNYS").tolist() == [0]
    assert session_ordinal(np.array([], "datetime64[D]"), "XSHG").tolist() == []


@pytest.mark.parametrize(
    ("day", "says"),
    [
        ("2020-01-25", "no session"),
        ("2020-01-27", "no session"),
        ("2199-01-02", "lies outside"),
        ("1980-01-02", "lies outside"),
        ("NaT", "missing"),
    ],
)
def test_session_ordinal_refuses(day: str, says: str) -> None:
    with pytest.raises(DateError, match=says):
        session_ordinal(np.array([day], "datetime64[D]"), "XSHG")


def test_an_unknown_calendar_is_named() -> None:
    with pytest.raises(SettingError, match="XNOPE"):
        session_ordinal(np.array(["2020-01-02"], "datetime64[D]"), "XNOPE")


@pytest.mark.parametrize(
    ("day", "is_session", "around", "words"),
    [
        ("2024-10-08", True, ("2024-09-30", "2024-10-09"), "is a session of XSHG"),
        (
            "2024-10-02",
            False,
            ("2024-09-30", "2024-10-08"),
            "is no session of XSHG (a holiday); the last was 2024-09-30",
        ),
        ("2024-09-29", False, ("2024-09-27", "2024-09-30"), "(a Sunday); the last was 2024-09-27, the next is"),
        ("1990-12-03", True, (None, "1990-12-04"), "is a session"),
    ],
)
def test_trading_days_of_shanghai(day, is_session, around, words):
    found = trading_day(np.datetime64(day), "XSHG")
    assert found.is_session is is_session
    assert tuple(None if each is None else str(each) for each in (found.previous, found.next)) == around
    assert words in found.reason
    # 15:00 in Shanghai.
    assert found.closes == (datetime.fromisoformat(f"{day}T07:00:00+00:00") if is_session else None)


def test_a_half_day_closes_early():
    found = trading_day(np.datetime64("2024-11-29"), "XNYS")
    assert found.closes == datetime.fromisoformat("2024-11-29T13:00:00-05:00")


def test_the_end_of_a_calendar_is_an_error():
    last = trading_day(np.datetime64("2026-12-31"), "XSHG")
    assert last.is_session
    assert last.next is None
    for day in ("2027-01-04", "1990-11-30"):
        with pytest.raises(
            DateError, match=f"{day} lies outside the days that calendar XSHG knows, 1990-12-03 to 2026"
        ):
            trading_day(np.datetime64(day), "XSHG")
    with pytest.raises(SettingError, match="'XNOT'"):
        trading_day(np.datetime64("2024-01-02"), "XNOT")


@given(st.dates(min_value=date(1990, 12, 3), max_value=date(2026, 12, 31)))
def test_every_day_is_between_its_neighbours(day):
    found = trading_day(np.datetime64(day), "XSHG")
    ordinals = session_ordinal(np.array([d for d in (found.previous, found.next) if d is not None]), "XSHG")
    assert found.previous is None or found.previous < found.day
    assert found.next is None or found.next > found.day
    if len(ordinals) == 2:
        assert ordinals[1] - ordinals[0] == (2 if found.is_session else 1)
    newest = sessions_until(found.day, 3, "XSHG")
    assert newest[-1] == (found.day if found.is_session else found.previous)
    assert len(newest) <= 3


def test_names_and_time_zones():
    assert {"XSHG", "XNYS", "XHKG"} <= set(calendar_names())
    assert list(calendar_names()) == sorted(set(calendar_names()))
    assert str(time_zone("XSHG")) == "Asia/Shanghai"
    assert str(time_zone("XNYS")) == "America/New_York"


@pytest.mark.slow
def test_warnings_of_hong_kong_stay_inside():
    # Golden Week's first day only: Hong Kong trades on the others.
    assert not trading_day(np.datetime64("2024-10-01"), "XHKG").is_session
    assert trading_day(np.datetime64("2024-10-02"), "XHKG").is_session


@pytest.mark.parametrize(
    "error", [NotImplementedError("implemented by subclasses"), ValueError("no sessions. " * 1000)]
)
def test_a_calendar_that_the_library_cannot_make_is_named(monkeypatch, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(exchange_calendars, "get_calendar", broken)
    for ask in (
        lambda: trading_day(DAY, "BROKEN"),
        lambda: time_zone("BROKEN"),
        lambda: sessions_until(DAY, 1, "BROKEN"),
    ):
        with pytest.raises(SettingError, match=r"^calendar is 'BROKEN'.*newer exchange_calendars") as caught:
            ask()
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("calendar", "days", "hours"),
    [
        # The Fridays before and the Mondays after the clocks of New York change; Shanghai's do not.
        ("XNYS", ("2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04"), (21, 20, 20, 21)),
        ("XSHG", ("2024-03-08", "2024-03-11", "2024-11-01", "2024-11-04"), (7, 7, 7, 7)),
        # Shanghai had daylight saving until 1991: 15:00 was 06:00 UTC.
        ("XSHG", ("1991-04-12", "1991-04-15", "1991-09-13", "1991-09-16"), (7, 6, 6, 7)),
    ],
)
def test_closes_follow_the_clocks_of_the_exchange(calendar, days, hours):
    found = [trading_day(np.datetime64(day), calendar) for day in days]
    assert [day.closes.hour for day in found] == list(hours)
    zone = time_zone(calendar)
    assert {day.closes.astimezone(zone).hour for day in found} == {16 if calendar == "XNYS" else 15}


@pytest.mark.parametrize(
    ("calendar", "days"),
    [
        ("XSHG", ("2024-02-28", "2024-02-29", "2024-03-01")),
        ("XNYS", ("2024-02-28", "2024-02-29", "2024-03-01")),
        # No leap year, and no session of 29 February that a count of days would make up.
        ("XNYS", ("2023-02-27", "2023-02-28", "2023-03-01")),
        ("XSHG", ("2024-12-31", "2025-01-02", "2025-01-03")),
        ("XNYS", ("2024-12-31", "2025-01-02", "2025-01-03")),
    ],
)
def test_leap_days_and_the_ends_of_years_are_sessions_like_others(calendar, days):
    sessions = np.array(days, "datetime64[D]")
    assert np.diff(session_ordinal(sessions, calendar)).tolist() == [1, 1]
    assert (sessions_until(sessions[2], 3, calendar) == sessions).all()
    middle = trading_day(sessions[1], calendar)
    assert (middle.previous, middle.next) == (sessions[0], sessions[2])


def test_a_calendar_says_in_time_that_it_ends():
    last = last_known_day("XSHG")
    assert ending("XSHG", last - 60) is None
    assert ending("XSHG", last - 59) == (
        f"XSHG ends on {last}, 59 days after {last - 59}; install a newer exchange_calendars: runs that name it are "
        "refused from then on"
    )
    assert ending("XSHG", last).startswith(f"XSHG ends on {last}, 0 days after {last};")
    assert ending("XSHG", last + 1).startswith(f"XSHG ended on {last};")
    with pytest.raises(SettingError, match="'XNOT'"):
        ending("XNOT", last)


def test_no_stride_counts_past_the_end_of_its_calendar():
    last = last_known_day("XSHG")
    assert session_ordinal(np.array([last]), "XSHG")[0] > 0
    with pytest.raises(DateError, match=f"{last + 4} lies outside .* to {last}; use pattern_stride 1 or a newer"):
        session_ordinal(np.array([last, last + 4]), "XSHG")
    with pytest.raises(DateError, match="lies outside"):
        sessions_until(last + 1, 1, "XSHG")
