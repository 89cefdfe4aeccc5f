"""What a run says while it waits for bars, without a server."""

import logging
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from flows.steps import waiting
from flows.steps.waiting import Outlook, WaitNotice
from kline_core.bars.arrivals import Arrivals
from kline_core.bars.sessions import trading_day
from kline_core.errors import BarsMissingError, SourceError

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 27, 20, 17, tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (NOW, "next look 20:27, gives up 22:17 (Asia/Shanghai)"),
        # On another machine's clock, and over midnight.
        (NOW.astimezone(ZoneInfo("UTC")), "next look 20:27, gives up 22:17 (Asia/Shanghai)"),
        (NOW + timedelta(hours=2), "next look 22:27, gives up 2026-11-28 00:17 (Asia/Shanghai)"),
    ],
)
def test_the_next_look_and_the_last_one_are_told_by_the_clock_of_the_exchange(now: datetime, said: str) -> None:
    assert Outlook(now, looks_left=12, seconds=600).line(SHANGHAI) == said


def test_a_wait_for_chosen_symbols_says_so_and_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, UUID]] = []
    shown: list[str] = []

    def show(notice: WaitNotice, line: str, _: list[str]) -> None:
        notice._id = notice._id or UUID(int=7)
        shown.append(line)

    monkeypatch.setattr(WaitNotice, "_show", show)
    monkeypatch.setattr(WaitNotice, "_name_state", lambda *_: None)
    monkeypatch.setattr(waiting, "get_run_logger", lambda: logging.getLogger("wait"))
    monkeypatch.setattr(waiting, "_now", lambda: NOW)
    session = trading_day(np.datetime64("2026-11-27"), "XSHG")
    follow = lambda does, artifact: told.append((does, artifact))  # noqa: E731
    with WaitNotice(session, None, "daily-xshg-chosen-waiting", "chosen symbols", follow) as notice:
        for _ in range(2):
            notice.say(BarsMissingError("late", missing=["A"], expected=2, session=session.day), 2, 60)
        notice.arrived(Arrivals("XSHG", session.day, 2, [], session.day, 0.0, [], 40))
    assert shown[0].startswith("waiting for 1 of 2 chosen symbols, next look 20:18")
    assert shown[-1].startswith("2 of 2 chosen symbols have a bar of 2026-11-27 since ")
    assert told == [("waits for bars", UUID(int=7)), ("is at work", UUID(int=7))]


def test_a_wait_names_the_first_symbols_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(WaitNotice, "_show", lambda _, line, more: shown.append((line, more)))
    monkeypatch.setattr(WaitNotice, "_name_state", lambda *_: None)
    monkeypatch.setattr(waiting, "get_run_logger", lambda: logging.getLogger("wait"))
    monkeypatch.setattr(waiting, "_now", lambda: NOW)
    session = trading_day(np.datetime64("2026-11-27"), "XSHG")
    missing = [f"S{number:05}" for number in range(30)]
    with WaitNotice(session, "/srv/bars", "daily-xshg-waiting") as notice:
        notice.say(BarsMissingError("late", missing=missing, expected=40, session=session.day), 2, 60)
        notice.say(SourceError("the vendor sleeps"), 1, 60)
    (line, (symbols, where, said)), (other, _) = shown
    assert line == "waiting for 30 of 40 symbols, next look 20:18, gives up 20:19 (Asia/Shanghai)"
    assert symbols.startswith("Without a bar of 2026-11-27: S00000, S00001, ")
    assert "S00029" not in symbols
    assert where == "They should come from `/srv/bars`."
    assert said == "The last look said: late"
    assert other.startswith("waiting for bars of 2026-11-27, next look 20:18, gives up 20:18")
