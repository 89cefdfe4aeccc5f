"""What is watched and started again, on a clock of its own and without servers."""

from pathlib import Path
from typing import Any

import pytest

from flows.local_stack import supervision
from flows.local_stack.signals import StoppedError
from flows.local_stack.supervision import TRIES, watch
from kline_core.errors import StartError


class Clock:
    """Time that passes when it is waited for."""

    def __init__(self, seconds: float) -> None:
        self.now, self._until = 0.0, seconds

    def monotonic(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self._until:
            raise StoppedError


class Mortal:
    """A part that lives for so many seconds each time; without any more, for ever."""

    def __init__(self, clock: Clock, *lives: float) -> None:
        self.name, self.log, self.code, self.pid = "part", Path("part.log"), 3, 1
        self._clock, self._lives = clock, list(lives)
        self.starts: list[float] = []
        self.start()

    def start(self) -> None:
        self.started = self._clock.now
        self.starts.append(self.started)
        self._dies = self.started + (self._lives.pop(0) if self._lives else 1e9)

    @property
    def alive(self) -> bool:
        return self._clock.now < self._dies

    def last_words(self) -> str:
        return "out of memory"


def watched(monkeypatch: pytest.MonkeyPatch, seconds: float, *lives: float) -> tuple[Mortal, list[str], list[Any]]:
    clock = Clock(seconds)
    monkeypatch.setattr(supervision, "time", clock)
    part, said, restarted = Mortal(clock, *lives), list[str](), list[Any]()

    def restart(each: Any) -> None:
        each.start()
        restarted.append(each)

    with pytest.raises(StoppedError):
        watch([part], clock.pause, said.append, restart)  # type: ignore[list-item]
    return part, said, restarted


def test_what_dies_is_started_again_at_once_and_then_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    part, said, restarted = watched(monkeypatch, 100, 1, 1, 1)
    assert part.starts == [0, 1, 3, 6]
    assert restarted == [part] * 3
    assert said[0] == "the part ended with code 3 and is started again; see part.log"
    assert said[2] == "the part ended with code 3 and is started again in 2 s; see part.log"


def test_one_that_was_steady_for_a_while_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    part, said, _ = watched(monkeypatch, 2000, *[supervision.STEADY_SECONDS + 1] * (TRIES + 2))
    assert len(said) == TRIES + 2
    assert not any(" in " in line for line in said)
    assert len(part.starts) == TRIES + 3


def test_one_that_never_stays_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1000)
    monkeypatch.setattr(supervision, "time", clock)
    part: Any = Mortal(clock, *[1] * TRIES)
    with pytest.raises(StartError, match=r"the part ended 6 times in a row, at last with code 3 \(out of memory\)"):
        watch([part], clock.pause, lambda _: None, lambda each: each.start())
    assert len(part.starts) == TRIES
