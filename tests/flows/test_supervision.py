"""What is watched, locked and listened for, without servers."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from flows.local_stack import supervision
from flows.local_stack.locking import locked, write_note
from flows.local_stack.processes import MARK, Part, end_all, marked
from flows.local_stack.server import check_port, prefect_environment
from flows.local_stack.signals import Signals, StoppedError
from flows.local_stack.supervision import TRIES, watch
from kline_core.errors import HomeError, SettingError, StartError
from tests.flows.conftest import poll
from tests.postgres import free_port


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
    with pytest.raises(StoppedError):
        watch([part], clock.pause, said.append, restarted.append)  # type: ignore[list-item]
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
        watch([part], clock.pause, lambda _: None, lambda _: None)
    assert len(part.starts) == TRIES


def test_a_home_is_locked_once(tmp_path: Path) -> None:
    with locked(tmp_path) as folder:
        write_note(folder, {"ui": "http://127.0.0.1:1"})
        who = rf"\(process {os.getpid()}\) at http://127.0.0.1:1; .* `kill {os.getpid()}`"
        with pytest.raises(HomeError, match=who), locked(tmp_path):
            pass
        assert (folder / "up.json").exists()
    assert list((tmp_path / "prefect").iterdir()) == []
    with locked(tmp_path):
        pass


def test_whoever_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib, flows.local_stack.locking as l\nwith l.locked(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60).returncode == 9
    assert (tmp_path / "prefect" / "up.json").exists()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "prefect").write_text("a file")
    with pytest.raises(HomeError, match="cannot be used"), locked(tmp_path):
        pass


def test_a_signal_ends_the_wait_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        signals.pause(0)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(StoppedError):
            signals.pause(60)
        with pytest.raises(StoppedError):
            signals.pause(60)
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.count == 2
    assert signal.getsignal(signal.SIGTERM) == before


def test_programs_are_found_by_their_mark_and_ended(tmp_path: Path) -> None:
    # The second does not end when it is asked to, and its parent is gone.
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {deaf!r}]); time.sleep(600)"
    part = Part("some part", [sys.executable, "-c", parent], os.environ | {MARK: str(tmp_path)}, tmp_path)
    assert part.code is None
    assert not part.alive
    part.start()
    poll(lambda: part.log.read_text() == "deaf\n", "both programs")
    assert part.log.name == "some-part.log"
    assert len(marked(tmp_path)) == 2
    assert marked(tmp_path, flow_runs_only=True) == []
    assert marked(tmp_path / "other") == []
    part.end(10)
    assert part.code == -signal.SIGTERM
    left = marked(tmp_path)
    assert len(left) == 1
    end_all(left, lambda: 0.0)
    assert marked(tmp_path) == []
    part.end(10)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    port = free_port()
    check_port(port)
    code = f"import socket\ns = socket.create_server(('127.0.0.1', {port}))\nprint('there', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "there\n"
        with pytest.raises(SettingError, match=rf"port {port} is in use by process {other.pid} .*--port \d+"):
            check_port(port)
        other.communicate("\n")
    for port in (0, -1, 65536):
        with pytest.raises(SettingError, match=f"--port is {port}; it must be between 1 and 65535"):
            check_port(port)


def test_only_the_database_of_the_users_prefect_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://a/b", "PREFECT_SERVER_DATABASE_PASSWORD": "x"}
    for name, value in (
        kept | {"PREFECT_API_KEY": "secret", "PREFECT_PROFILE": "cloud", "KLINE_SCHEDULER": "y"}
    ).items():
        monkeypatch.setenv(name, value)
    env = prefect_environment(tmp_path, tmp_path / "prefect", 4999)
    assert kept.items() <= env.items()
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE", "KLINE_SCHEDULER"} & env.keys()
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4999/api"
    assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
