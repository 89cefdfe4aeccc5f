"""A worker that is killed beneath the runs it has begun, and `kline up` with it: real processes, the daily flow."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

import kline_core as kl
from flows.local_stack.processes import marked
from kline_core.encoder.synthetic import random_walk
from tests.support.desk import kline_up
from tests.support.prefect_server import ROOT, Server, environment
from tests.support.processes import free_port, poll

pytestmark = [pytest.mark.flows, pytest.mark.cluster, pytest.mark.long]

SYMBOLS = 4
MORE = """
  - name: slow
    entrypoint: slow.py:daily
    work_pool: *kline
    schedules: []
"""
PUBLISHED = {f"daily-{name}" for name in ("progress", "summary", "symbols", "ranking", "values", "matches", "history")}


@dataclass
class Desk:
    """A server with a deployment of the daily flow that stands still half way, and the home."""

    server: Server
    home: Path
    errors: Path

    def start(self, **state: str) -> str:
        deployment = self.server.get("deployments/name/daily/slow")["id"]
        more = {"state": state} if state else {}
        return str(self.server.post(f"deployments/{deployment}/create_flow_run", **more)["id"])

    def half_way(self) -> str:
        (self.home / "hold").write_text(str(SYMBOLS // 2))
        run = self.start()
        poll(lambda: float(self.server.artifacts(run).get("daily-progress") or 0) == 50, f"half of {run}")
        return run

    def ended(self, run: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            answer: dict[str, Any] = self.server.get(f"flow_runs/{run}")
            return answer if answer["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        return poll(found, f"end of flow run {run}", 240)

    def states(self, run: str) -> list[str]:
        return [each["type"] for each in self.server.get(f"flow_run_states/?flow_run_id={run}")]


@pytest.fixture
def place(tables: Path, tmp_path: Path) -> Path:
    """A folder with a clone that deploys one flow more, and a home with bars."""
    shutil.copytree(ROOT / "flows", tmp_path / "clone" / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "clone" / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + MORE)
    shutil.copy(Path(__file__).parents[1] / "slow.py", tmp_path / "clone")
    kl.ingest(tmp_path / "home", random_walk(SYMBOLS, 300, seed=1).to_frame(prefix="S"))
    (tmp_path / "home" / "prefect").mkdir()
    shutil.copy(tables, tmp_path / "home" / "prefect")
    return tmp_path


def test_runs_of_a_worker_that_is_started_again(place: Path) -> None:
    with kline_up(place / "home", place / "clone") as (_, said):
        desk = Desk(Server(said["api"], {}, place), place / "home", place / "up.log")
        working = desk.half_way()
        # The worker has taken it up, and its process has not begun.
        taken = desk.start(type="PENDING")
        psutil.Process(said["processes"]["worker"]).kill()
        poll(lambda: "before it began. It is queued again" in desk.errors.read_text(), "recovery")
        assert "the worker ended with code -9 and is started again" in desk.errors.read_text()
        desk.home.joinpath("hold").unlink()
        for run in (working, taken):
            ended = desk.ended(run)
            assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
            assert set(desk.server.artifacts(run)) == PUBLISHED
            states = desk.states(run)
            assert (states.count("RUNNING"), states[-1]) == (1, "COMPLETED"), states
        # What it had still to say stands where the rest of it does.
        assert "Finished in state Completed" in (desk.home / "prefect" / "logs" / "worker.log").read_text()


@contextmanager
def alone(place: Path) -> Iterator[tuple[subprocess.Popen[bytes], Desk]]:
    """`kline up`, whose parts are ended one by one."""
    home, port = place / "home", free_port()
    command = [sys.executable, "-m", "kline_core.cli", "--home", str(home), "up", "--port", str(port)]
    try:
        with (place / "up.log").open("wb") as log:
            running = subprocess.Popen(command, stdout=log, stderr=log, cwd=place / "clone", env=environment(place))
        desk = Desk(Server(f"http://127.0.0.1:{port}/api", {}, place), home, place / "up.log")
        poll(lambda: "Ready after" in desk.errors.read_text() or running.poll() is not None, "kline up")
        yield running, desk
    finally:
        for process in marked(home):
            process.kill()
        running.kill()
        running.wait(15)


def test_all_but_the_server_killed_leaves_a_reason(place: Path) -> None:
    with alone(place) as (running, desk):
        run = desk.half_way()
        running.kill()
        for process in marked(desk.home):
            words = " ".join(process.cmdline())
            if "prefect worker" in words or " dask " in words:
                os.kill(process.pid, signal.SIGKILL)
        ended = desk.ended(run)
        assert ended["state_type"] == "FAILED", ended["state"]
        assert "see whether it still runs, and run again" in ended["state"]["message"]
        assert "daily-to-do" in desk.server.artifacts(run)
        assert desk.states(run)[-1] == "FAILED"
