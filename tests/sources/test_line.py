"""Turns, limits and retries by themselves: a clock that is told, and no pauses."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kline_core.errors import SettingError, SourceError
from kline_core.sources import line
from kline_core.sources.line import ATTEMPTS, ExhaustedError, Line
from kline_core.sources.source import Limits


class Time:
    """A clock that moves by pauses alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return False


def made(at_once: int = 1, per_minute: int = 1000) -> tuple[Line, Time]:
    time = Time()
    return Line("vendor", Limits(at_once=at_once, per_minute=per_minute), time, time.pause), time


def test_no_minute_has_more_requests_than_the_vendor_bears() -> None:
    asking, time = made(per_minute=3)
    begun = []
    for step in range(10):
        asking(lambda: begun.append(time.now))
        time.now += 0.5 * (step % 3)
    for at, moment in enumerate(begun[3:]):
        assert moment - begun[at] >= 60
    # And not longer than it has to: the fourth waits for the first to be a minute old.
    assert begun[3] == begun[0] + 60


def test_attempts_count_as_requests_too() -> None:
    asking, time = made(per_minute=2)
    begun = []

    def request() -> None:
        begun.append(time.now)
        if len(begun) < 4:
            raise ConnectionError("busy")

    asking(request)
    assert begun[2] - begun[0] >= 60


def test_only_so_many_run_at_once() -> None:
    asking, _ = made(at_once=2)
    running, most, lock, both = 0, 0, threading.Lock(), threading.Barrier(2)

    def request() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(timeout=10)
        with lock:
            running -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: asking(request), range(6)))
    assert most == 2


def test_what_may_pass_is_tried_again_with_longer_and_longer_pauses() -> None:
    asking, time = made()
    answers = iter([ValueError("a page, no JSON"), KeyError("data"), "bars"])

    def request() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert asking(request) == "bars"
    first, second = time.pauses
    assert line.FIRST_WAIT <= first <= 2 * line.FIRST_WAIT <= second


def test_at_last_it_says_what_failed_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSHARE_TOKEN", "0123456789abcdef")
    asking, time = made()
    count = 0

    def request() -> None:
        nonlocal count
        count += 1
        raise ConnectionError("cannot post token=0123456789abcdef")

    with pytest.raises(ExhaustedError) as caught:
        asking(request)
    assert count == ATTEMPTS == len(time.pauses) + 1
    assert str(caught.value) == (
        f"vendor failed {ATTEMPTS} times, at last with ConnectionError: cannot post token=***; try again later"
    )


def test_what_is_raised_on_purpose_is_final() -> None:
    asking, time = made()

    def request() -> None:
        raise SettingError("no such index")

    with pytest.raises(SettingError):
        asking(request)
    assert time.pauses == []


def test_after_a_stop_nothing_begins_and_nothing_waits() -> None:
    asking = Line("vendor", Limits(at_once=1, per_minute=1))
    assert asking(lambda: 1) == 1
    stopped = threading.Event()

    def ask() -> None:
        with pytest.raises(SourceError, match="was stopped"):
            asking(lambda: 2)
        stopped.set()

    # It waits for a minute to pass.
    waiting = threading.Thread(target=ask)
    waiting.start()
    asking.stop()
    waiting.join(timeout=10)
    assert stopped.is_set()
    with pytest.raises(SourceError, match="was stopped"):
        asking(lambda: 3)
