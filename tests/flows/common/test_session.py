"""Which day a run is for, without a server."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import yaml
from prefect.runtime import flow_run
from prefect.server.schemas.schedules import CronSchedule

from flows.common import session
from flows.common.session import asked_day, closed_session, run_name
from flows.local_stack.deployments import project_file
from kline_core.bars.sessions import sessions_until, trading_day
from kline_core.errors import DateError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    def runtime(scheduled: str, **parameters: Any) -> None:
        monkeypatch.setattr(flow_run, "scheduled_start_time", datetime.fromisoformat(scheduled), raising=False)
        monkeypatch.setattr(flow_run, "parameters", parameters, raising=False)

    return runtime


@pytest.mark.parametrize(
    ("calendar", "scheduled", "day"),
    [
        ("XSHG", "2024-10-08T09:30:00+00:00", "2024-10-08"),
        # Half past six in the evening in New York is the next day in Greenwich in winter.
        ("XNYS", "2024-12-03T23:30:00+00:00", "2024-12-03"),
        ("XNYS", "2024-12-04T04:59:00+00:00", "2024-12-03"),
        ("XSHG", "2024-10-08T16:01:00+00:00", "2024-10-09"),
    ],
)
def test_the_scheduled_day_is_that_of_the_exchange(asked: Any, calendar: str, scheduled: str, day: str) -> None:
    asked(scheduled, calendar=calendar)
    assert asked_day(calendar, None) == np.datetime64(day)
    assert run_name() == f"{calendar} {day}"


@pytest.mark.parametrize(
    ("symbols", "named"),
    [("600519,000001", "2 chosen symbols"), (600519, "1 chosen symbol"), (["A", "B", "C", "A"], "3 chosen symbols")],
)
def test_a_run_of_chosen_symbols_is_not_named_as_one_of_the_market(asked: Any, symbols: Any, named: str) -> None:
    asked("2024-10-08T09:30:00+00:00", calendar="XSHG", symbols=symbols)
    assert run_name() == f"XSHG 2024-10-08 {named}"


def test_a_day_that_is_named_wins(asked: Any) -> None:
    asked("2024-10-08T09:30:00+00:00", calendar="XSHG", as_of=date(2024, 9, 30))
    assert asked_day("XSHG", date(2024, 9, 30)) == np.datetime64("2024-09-30")
    assert run_name() == "XSHG 2024-09-30"
    assert asked_day(None, None) is None


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "all symbols"),
        ({"symbols": "AAPL,MSFT", "as_of": date(2024, 9, 30)}, "AAPL,MSFT 2024-09-30"),
        ({"symbols": ["AAPL", 600519]}, "AAPL,600519"),
        ({"first": date(2024, 1, 2), "last": date(2024, 1, 5)}, "all symbols 2024-01-02 to 2024-01-05"),
        ({"symbols": ["S"] * 100}, "S," * 30 + "..."),
    ],
)
def test_runs_without_a_market_are_named_by_what_was_asked(asked: Any, parameters: dict[str, Any], name: str) -> None:
    asked("2024-10-08T09:30:00+00:00", **parameters)
    assert run_name() == name


def test_a_session_that_is_not_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2024, 10, 8, 6, 59, tzinfo=UTC).astimezone(tz)

    monkeypatch.setattr(session, "datetime", Clock)
    with pytest.raises(DateError, match=r"2024-10-08 on XSHG closes at 2024-10-08 15:00 CST.* 14:59.*as_of=2024-09-30"):
        closed_session("XSHG", np.datetime64("2024-10-08"))
    # Holidays have no close, and the day before is over.
    assert not closed_session("XSHG", np.datetime64("2024-10-07")).is_session
    assert closed_session("XSHG", np.datetime64("2024-09-30")).is_session


def test_the_end_of_the_calendar_is_said() -> None:
    with pytest.raises(DateError, match="newer exchange_calendars"):
        closed_session("XSHG", np.datetime64("2031-01-06"))


SCHEDULES = {
    each["parameters"]["calendar"]: each["schedules"][0]
    for each in yaml.safe_load(project_file().read_text())["deployments"]
    if each.get("parameters", {}).get("calendar")
}


@pytest.mark.slow
@pytest.mark.parametrize("calendar", ["XSHG", "XNYS"])
def test_every_session_has_its_run_after_the_close_whatever_the_clocks_say(asked: Any, calendar: str) -> None:
    """Two years with a leap day, ends of years, half days, and four changes of the clocks in New York."""
    first, last = np.datetime64("2024-01-01"), np.datetime64("2025-12-31")
    schedule = CronSchedule(cron=SCHEDULES[calendar]["cron"], timezone=SCHEDULES[calendar]["timezone"])
    zone = ZoneInfo(SCHEDULES[calendar]["timezone"])
    start, end = datetime(2024, 1, 1, tzinfo=zone), datetime(2025, 12, 31, 23, tzinfo=zone)
    due = asyncio.run(schedule.get_dates(n=1000, start=start, end=end))
    days = {}
    for moment in due:
        asked(moment.astimezone(UTC).isoformat(), calendar=calendar)
        days[asked_day(calendar, None)] = moment.astimezone(UTC)
    assert len(days) == len(due)
    sessions = sessions_until(last, 600, calendar)
    sessions = sessions[sessions >= first]
    assert len(sessions) > 480
    assert set(sessions) <= days.keys()
    closes = {day: trading_day(day, calendar).closes for day in sessions}
    hours = {(days[day].timestamp() - end.timestamp()) / 3600 for day, end in closes.items() if end is not None}
    # Half days of New York close three hours earlier.
    assert hours == ({2.5} if calendar == "XSHG" else {2.5, 5.5})


@pytest.mark.parametrize("day", ["2027-01-04", "2027-02-01"])
def test_a_day_past_the_end_is_refused_and_never_taken_for_a_holiday(day: str) -> None:
    with pytest.raises(DateError, match=f"{day} lies outside the days that calendar XSHG knows.*newer exchange_cal"):
        closed_session("XSHG", np.datetime64(day))
