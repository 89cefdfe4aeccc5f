from datetime import date, datetime

import exchange_calendars
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.sessions import calendar_names, session_ordinal, sessions_until, time_zone, trading_day
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
