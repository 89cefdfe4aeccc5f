"""`kline up` is stopped, or killed with all its programs, and started again: each session has its values.

What ran is half done, has a process that has not begun to work, waits for its turn, or is being cancelled.
"""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.local_stack.processes import FLOW_RUN, marked
from kline_core.bars.ingest import ingest
from kline_core.cli.parser import main
from kline_core.encoder.synthetic import random_walk
from kline_core.store.home import Home
from tests.support.desk import power_loss, start_up, stop
from tests.support.prefect_server import ROOT, Server, environment
from tests.support.processes import poll

pytestmark = [pytest.mark.flows, pytest.mark.slow, pytest.mark.long]

SYMBOLS, BARS = 6, 200
MORE = """
  - name: held
    entrypoint: eager.py:daily
    work_pool: *kline
    concurrency_limit: *queued
  - name: free
    entrypoint: eager.py:daily
    work_pool: *kline
  - name: shut
    entrypoint: shut.py:daily
    work_pool: *kline
    concurrency_limit: *queued
"""
GONE = "Its process is gone: the machine or kline was stopped"
SECONDS = 300.0
"""Three deployments are made at a start, and a run waits half a minute for a slot that is taken."""


@dataclass
class Desk:
    """A home and a clone that deploys flows which stand still; the server is that of the newest `kline up`."""

    home: Path
    clone: Path
    running: subprocess.Popen[str]
    server: Server
    notes: list[str]

    @property
    def seen(self) -> Home:
        return Home(self.home)

    def power_loss(self) -> None:
        power_loss(self.running, self.home)

    def open(self) -> None:
        self.running, said = start_up(self.home, self.clone)
        self.server = Server(said["api"], environment(self.home) | {"PREFECT_API_URL": said["api"]}, self.home)
        self.notes = said["notes"]

    def start(self, name: str, due: datetime | None = None, **asked: Any) -> str:
        deployment = self.server.get(f"deployments/name/daily/{name}")["id"]
        more = {} if due is None else {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": str(due)}}}
        return str(self.server.post(f"deployments/{deployment}/create_flow_run", parameters=asked, **more)["id"])

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(f"flow_runs/{run}")
        return found

    def newest(self, name: str) -> dict[str, Any]:
        """The run of a deployment that was made last."""
        of = {"name": {"any_": [name]}}
        found = self.server.post("flow_runs/filter", deployments=of, sort="EXPECTED_START_TIME_DESC", limit=1)
        newest: dict[str, Any] = found[0]
        return newest

    def half_way(self, run: str, attempt: int = 1) -> None:
        def found() -> bool:
            there = self.server.post("artifacts/filter", flow_runs={"id": {"any_": [run]}})
            shown = [each["data"] for each in there if each["key"] == "daily-progress"]
            # Oldest last.
            return len(shown) == attempt and float(shown[0]) == 50

        poll(found, f"half of {run}", SECONDS)

    def until(self, run: str, state: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            there = self.run(run)
            ended = there["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            assert there["state_name"] == state or not ended, there["state"]
            return there if there["state_name"] == state else None

        answer: dict[str, Any] = poll(found, f"{state} of {run}", SECONDS)
        return answer

    def messages(self, run: str, state: str) -> list[str]:
        """Messages of the states of a name that a run has gone through."""
        states = self.server.get(f"flow_run_states/?flow_run_id={run}")
        return [each["message"] for each in states if each["name"] == state]

    def values(self) -> list[Any]:
        return values(self.home)


def values(home: Path) -> list[Any]:
    found = []
    for table, columns in (
        ("factors", ["value", "status", "reason"]),
        ("matches", ["rank", "match_symbol", "match_end"]),
    ):
        rows = Home(home).read(table, ["symbol", "date", *columns]).to_pydict()
        found += sorted(zip(*rows.values(), strict=True), key=str)
    return found


@pytest.fixture
def desk(tables: Path, tmp_path: Path) -> Iterator[Desk]:
    clone, home = tmp_path / "clone", tmp_path / "home"
    shutil.copytree(ROOT / "flows", clone / "flows", symlinks=False, ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + MORE)
    for name in ("slow", "eager", "shut"):
        shutil.copy(Path(__file__).with_name(f"{name}.py"), clone)
    random_walk(SYMBOLS, BARS, seed=1).to_frame(prefix="S").to_csv(tmp_path / "bars.csv", index=False)
    ingest([tmp_path / "bars.csv"], Home(home, create=True))
    assert main(["--home", str(home), "index"]) == 0
    shutil.copytree(home, tmp_path / "undisturbed")
    assert main(["--home", str(tmp_path / "undisturbed"), "run"]) == 0
    (home / "prefect").mkdir()
    shutil.copy(tables, home / "prefect")
    running, said = start_up(home, clone)
    server = Server(said["api"], environment(home) | {"PREFECT_API_URL": said["api"]}, home)
    desk = Desk(home.resolve(), clone, running, server, said["notes"])
    try:
        yield desk
    finally:
        if desk.running.poll() is None:
            power_loss(desk.running, desk.home)


def test_after_a_power_loss_every_session_has_its_values(desk: Desk) -> None:
    (desk.home / "hold").write_text(str(SYMBOLS // 2))
    working = desk.start("held")
    desk.half_way(working)
    waiting = desk.start("held", symbols=["S00000"])
    desk.until(waiting, "AwaitingConcurrencySlot")
    (desk.home / "shut").touch()
    # National day.
    unbegun = desk.start("shut", datetime(2024, 10, 1, 9, 30, tzinfo=UTC), calendar="XSHG")
    poll(lambda: desk.run(unbegun)["infrastructure_pid"], "process", SECONDS)
    assert desk.run(unbegun)["state_type"] == "PENDING"
    desk.power_loss()
    stored = desk.seen.read("factors", ["status"])["status"].to_pylist().count("ok")
    assert stored

    desk.open()
    assert len(desk.notes) == 2
    assert desk.notes[0].endswith(f"{GONE} before it began. It is queued again.")
    happened = f"{GONE} while it worked. {stored} values of it are stored. It goes on by itself, once."
    assert desk.notes[1] == f"daily all symbols: {happened}"
    # Unhelped, on the slot that the power loss had left taken.
    desk.half_way(working, attempt=2)
    assert desk.messages(working, "Interrupted") == [happened]
    assert desk.run(waiting)["run_count"] == 0
    (desk.home / "shut").unlink()
    ended = desk.until(unbegun, "Completed")
    assert ended["name"] == "XSHG 2024-10-01: no session"
    assert ended["state"]["message"].startswith("nothing to do")
    assert ended["run_count"] == 1
    cancelled = desk.start("free")
    desk.half_way(cancelled)
    # Nobody is there any more who would do it.
    runs = {each.environ()[FLOW_RUN]: each for each in marked(desk.home, flow_runs_only=True)}
    (worker,) = [each for each in marked(desk.home) if {"worker", "--pool"} <= set(each.cmdline())]
    for each in (worker, runs[cancelled]):
        each.send_signal(signal.SIGSTOP)
    desk.server.post(f"flow_runs/{cancelled}/set_state", state={"type": "CANCELLING"})
    desk.power_loss()
    (desk.home / "hold").unlink()

    desk.open()
    message = (
        f"{GONE} while it worked, for the second time. No more values of it are stored. It does not go on by itself."
    )
    assert set(desk.notes) == {
        f"daily all symbols: {message}",
        f"daily all symbols: {GONE} while it was being cancelled. No values of it are stored.",
    }
    assert desk.until(working, "Crashed")["state"]["message"] == message
    assert desk.until(cancelled, "Cancelled")["state"]["message"].startswith(f"{GONE} while it was being cancelled.")
    text = desk.server.artifacts(working)["daily-to-do"]
    command = re.findall("```\n(.*)\n```", text, re.DOTALL)[0]
    assert command == f"PREFECT_API_URL={desk.server.url} \\\n  prefect deployment run daily/held"
    assert desk.until(waiting, "Completed")["run_count"] == 1
    subprocess.run(["sh", "-c", command], env=environment(desk.home), check=True, capture_output=True)
    poll(lambda: desk.newest("held")["state_name"] == "Completed", "end of the run that was typed", SECONDS)

    assert desk.values() == values(desk.home.with_name("undisturbed"))
    under_way = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING", "PAUSED"]}}}
    assert desk.server.post("flow_runs/filter", flow_runs=under_way) == []
    # Records lag behind.
    poll(lambda: desk.server.post("task_runs/filter", task_runs=under_way) == [], "end of all task runs")
    limits = desk.server.post("v2/concurrency_limits/filter")
    assert limits
    assert {limit["active_slots"] for limit in limits} == {0}
    assert stop(desk.running) == 0


def test_a_run_at_work_goes_on_after_kline_up_was_stopped(desk: Desk) -> None:
    (desk.home / "hold").write_text(str(SYMBOLS // 2))
    working = desk.start("held")
    desk.half_way(working)
    assert stop(desk.running) == 0
    stored = desk.seen.read("factors", ["status"])["status"].to_pylist().count("ok")
    (desk.home / "hold").unlink()

    desk.open()
    happened = f"kline up was stopped while it worked. {stored} values of it are stored. It goes on by itself."
    assert desk.notes == [f"daily all symbols: {happened}"]
    assert desk.messages(working, "Stopped") == [happened]
    desk.until(working, "Completed")
    assert desk.values() == values(desk.home.with_name("undisturbed"))
    # No message went out meanwhile.
    assert desk.messages(working, "Crashed") == []
    assert stop(desk.running) == 0
