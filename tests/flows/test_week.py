"""A week at the desk: seven sessions and a holiday under `kline up`, on each of which something goes wrong.

At its end every session has the values that an undisturbed week gives, bit for bit, with no help but that one run was
asked for again; and who asked for messages has got one for each thing that went wrong. A short week has what happens
without a process of its own, as the flow is called.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

import flows.daily
import kline_core as kl
from flows.daily import daily
from flows.steps.waiting import WaitNotice
from kline_core.bars.sessions import sessions_until
from kline_core.encoder.synthetic import random_walk
from kline_core.store.home import Home
from tests.support.command import ask
from tests.support.desk import power_loss, start_up, stop
from tests.support.prefect_server import ROOT, Server
from tests.support.processes import poll
from tests.support.receivers import Received, webhook_receiver

pytestmark = [pytest.mark.flows, pytest.mark.slow]

SYMBOLS, HISTORY = 6, 130
HOLIDAY = "2024-11-28"
WEEK = ["2024-11-25", "2024-11-26", "2024-11-27", "2024-11-29", "2024-12-02", "2024-12-03", "2024-12-04"]
ON = ("--on", "failed", "--on", "interrupted", "--on", "incomplete")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
DEPLOYMENT = """
  - name: week
    entrypoint: slow.py:daily
    work_pool: *kline
    concurrency_limit: *queued
    parameters: {calendar: XNYS, source: null, max_failed_share: 1.0, arrival_retries: 200, arrival_retry_seconds: 1.0}
"""


class Desk:
    """`kline up` of a home, the folder of its vendor, and what is asked of them."""

    def __init__(self, place: Path, tables: Path) -> None:
        self.home, self.vendor, self._clone = place / "home", place / "vendor", place / "clone"
        shutil.copytree(ROOT / "flows", self._clone / "flows", ignore=shutil.ignore_patterns("__pycache__"))
        (self._clone / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + DEPLOYMENT)
        shutil.copy(Path(__file__).with_name("slow.py"), self._clone)
        self.vendor.mkdir()
        self._days = deliveries(place / "days")
        self.deliver("history")
        kl.ingest(Home(self.home, create=True), self.vendor)
        kl.update_patterns(self.home)
        (self.home / "prefect").mkdir()
        shutil.copy(tables, self.home / "prefect")

    def deliver(self, day: str) -> None:
        shutil.copy(self._days / f"{day}.csv", self.vendor)

    def command(self, *words: str) -> str:
        """What a command of the home says; it must end well."""
        done = subprocess.run(
            ["kline", "--home", str(self.home), *words], env=self.env(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def env(self) -> dict[str, str]:
        clean = {name: it for name, it in os.environ.items() if not name.startswith(("PREFECT_", "KLINE_", "DASK_"))}
        return clean | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"}

    def open(self) -> None:
        self.up, said = start_up(self.home, self._clone, "--source", str(self.vendor))
        self.server = Server(said["api"], self.env() | {"PREFECT_API_URL": said["api"]}, self.home)
        self.deployment = self.server.get("deployments/name/daily/week")["id"]

    def close(self) -> None:
        assert stop(self.up) == 0

    def lose_power(self) -> None:
        power_loss(self.up, self.home)

    def kill_worker(self) -> None:
        (worker,) = (
            each for each in psutil.Process(self.up.pid).children() if "worker start" in " ".join(each.cmdline())
        )
        worker.kill()

    def start(self, day: str, **asked: Any) -> str:
        made = self.server.post(f"deployments/{self.deployment}/create_flow_run", parameters={"as_of": day} | asked)
        return str(made["id"])

    @contextmanager
    def half_way(self, day: str) -> Iterator[str]:
        """A run of which half is done; the rest is once the block has ended."""
        (self.home / "hold").write_text(str(SYMBOLS // 2))
        run = self.start(day)
        poll(lambda: self.progress(run) == 50, f"half of {day}", 120)
        try:
            yield run
        finally:
            (self.home / "hold").unlink()

    def progress(self, run: str) -> float:
        return float(self.server.artifacts(run).get("daily-xnys-progress") or 0)

    def ended(self, run: str) -> tuple[str, str]:
        def found() -> tuple[str, str] | None:
            state = self.server.get(f"flow_runs/{run}")["state"]
            return (state["type"], state["message"] or "") if state["type"] in ENDED else None

        return poll(found, f"end of flow run {run}", 240)

    def completed(self, run: str) -> str:
        kind, message = self.ended(run)
        assert kind == "COMPLETED", message
        return message


def deliveries(folder: Path) -> Path:
    """A file of the bars before the week, and one for each of its sessions."""
    folder.mkdir(parents=True)
    sessions = sessions_until(np.datetime64(WEEK[-1]), HISTORY + len(WEEK), "XNYS")
    assert [str(day) for day in sessions[HISTORY:]] == WEEK
    frame = random_walk(SYMBOLS, len(sessions), seed=1).to_frame(prefix="S")
    frame["date"] = np.tile(sessions, SYMBOLS)
    frame[frame["date"] < pd.Timestamp(WEEK[0])].to_csv(folder / "history.csv", index=False)
    for day in WEEK:
        frame[frame["date"] == pd.Timestamp(day)].to_csv(folder / f"{day}.csv", index=False)
    return folder


def undisturbed(place: Path, week: Sequence[str] = WEEK) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a week on which nothing happens."""
    days, home = deliveries(place / "days"), Home(place / "home", create=True)
    kl.ingest(home, days / "history.csv")
    for day in week:
        kl.ingest(home, days / f"{day}.csv")
        kl.update_patterns(home)
        kl.compute_factor(home, samples=600, as_of=day, max_failed_share=1.0)
    return rows(home)


def rows(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """Stored values and matches, without the run and the moment that they come from."""
    found = {}
    for table in ("factors", "matches"):
        stored = home.read(table)
        columns = [name for name in stored.column_names if name not in ("run_id", "computed_at")]
        found[table] = sorted(zip(*stored.select(columns).to_pydict().values(), strict=True), key=str)
    return found


@pytest.mark.long
def test_a_week_at_the_desk(tmp_path: Path, tables: Path) -> None:
    desk = Desk(tmp_path, tables)
    with webhook_receiver() as received:
        desk.open()
        try:
            # Not late ones: how long a run waits for a process is the machine's affair.
            desk.command("notify", "--webhook", received.url, *ON)
            bars_come_late(desk, WEEK[0])
            the_worker_is_killed(desk, WEEK[1])
            the_power_fails(desk, WEEK[2])
            assert "nothing to do" in desk.completed(desk.start(HOLIDAY))
            bars_of_the_next_day_come_during_the_run(desk, WEEK[3], WEEK[4])
            a_file_is_bad(desk, WEEK[4])
            somebody_cancels(desk, WEEK[5])
            bars_do_not_come_in_time_and_the_run_is_asked_for_again(desk, WEEK[6])
            one_message_for_each_thing_that_went_wrong(received)
        finally:
            desk.close()
    assert rows(Home(desk.home)) == undisturbed(tmp_path / "calm")


def bars_come_late(desk: Desk, day: str) -> None:
    run = desk.start(day)
    poll(lambda: "daily-xnys-waiting" in desk.server.artifacts(run), "artifact on waiting", 120)
    desk.deliver(day)
    desk.completed(run)


def the_worker_is_killed(desk: Desk, day: str) -> None:
    desk.deliver(day)
    with desk.half_way(day) as run:
        desk.kill_worker()
    desk.completed(run)


def the_power_fails(desk: Desk, day: str) -> None:
    desk.deliver(day)
    with desk.half_way(day) as run:
        desk.lose_power()
    desk.open()
    desk.completed(run)


def bars_of_the_next_day_come_during_the_run(desk: Desk, day: str, following: str) -> None:
    desk.deliver(day)
    with desk.half_way(day) as run:
        desk.deliver(following)
        desk.command("ingest", str(desk.vendor))
    desk.completed(run)


def a_file_is_bad(desk: Desk, day: str) -> None:
    bad = desk.vendor / "bad.csv"
    bad.write_text("gone,wrong\n1,2\n")
    assert "1 files of bars could not be used" in desk.completed(desk.start(day))
    bad.unlink()


def somebody_cancels(desk: Desk, day: str) -> None:
    desk.deliver(day)
    with desk.half_way(day) as run:
        # As the page does whose button is pressed.
        desk.server.post(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"})
        assert desk.ended(run)[0] == "CANCELLED"


def bars_do_not_come_in_time_and_the_run_is_asked_for_again(desk: Desk, day: str) -> None:
    run = desk.start(day, arrival_retries=1)
    assert desk.ended(run)[0] == "FAILED"
    to_do = poll(lambda: desk.server.artifacts(run).get("daily-xnys-to-do"), "what to do")
    typed = to_do.split("```")[1].strip().removeprefix("sh\n")
    desk.deliver(day)
    done = subprocess.run(
        f"{typed} --watch", shell=True, env=desk.server.env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


def one_message_for_each_thing_that_went_wrong(received: Received) -> None:
    wanted = [(f"XNYS {WEEK[2]}", "Interrupted"), (f"XNYS {WEEK[4]}", "Incomplete"), (f"XNYS {WEEK[6]}", "Failed")]
    poll(lambda: len(received.messages) >= len(wanted), "messages", 120)
    assert sorted((each["run"], each["state"]) for each in received.messages) == wanted


@pytest.mark.usefixtures("reporting")
def test_a_short_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    week, days = WEEK[:4], deliveries(tmp_path / "days")
    home, vendor = Home(tmp_path / "home", create=True), tmp_path / "vendor"
    vendor.mkdir()

    def deliver(day: str) -> None:
        shutil.copy(days / f"{day}.csv", vendor)

    def ended(day: str, retries: int = 0) -> tuple[str, str]:
        asked = {"source": str(vendor), "calendar": "XNYS", "as_of": day, "max_failed_share": 1.0, "threads": 2}
        wait = {"arrival_retries": retries, "arrival_retry_seconds": 0.1}
        state = daily(str(home.uri), **asked, **wait, return_state=True)
        return state.name, state.message or ""

    deliver("history")
    with webhook_receiver() as received, monkeypatch.context() as patch:
        assert ask(capsys, "--home", str(home.uri), "notify", "--webhook", received.url, *ON)[0] == 0
        say, extend = WaitNotice.say, flows.daily.update

        def come_late(self: WaitNotice, *what: Any) -> None:
            say(self, *what)
            deliver(week[0])

        patch.setattr(WaitNotice, "say", come_late)
        assert ended(week[0], retries=1)[0] == "Completed"
        patch.setattr(WaitNotice, "say", say)

        deliver(week[1])

        def overtaken(*given: Any, **more: Any) -> Any:
            updated = extend(*given, **more)
            deliver(week[2])
            kl.ingest(home, vendor)
            return updated

        patch.setattr(flows.daily, "update", overtaken)
        name, message = ended(week[1])
        assert name == "Completed"
        assert "bars came during the run" in message
        patch.setattr(flows.daily, "update", extend)

        assert ended(HOLIDAY)[1].startswith("nothing to do")
        bad = vendor / "bad.csv"
        bad.write_text("gone,wrong\n1,2\n")
        assert ended(week[2])[0] == "Incomplete"
        bad.unlink()
        assert ended(week[3])[0] == "Failed"
        deliver(week[3])
        assert ended(week[3])[0] == "Completed"
        poll(lambda: len(received.messages) >= 2, "messages")
        assert [(each["run"], each["state"]) for each in received.messages] == [
            (f"XNYS {week[2]}", "Incomplete"),
            (f"XNYS {week[3]}", "Failed"),
        ]
    assert rows(home) == undisturbed(tmp_path / "calm", week)
