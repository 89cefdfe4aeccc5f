"""The deployments as a person makes and starts them: server, process work pool, worker, schedule and command line.

The order matters only for the time it takes: all flow runs are started first and then waited for.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kline_core.ingest import ingest
from kline_core.tables import Home
from tests.flows.conftest import ROOT, SYMBOLS, Server, poll, process

# Beside the two deployments as they stand: one that is due every minute, and one of a flow that breaks.
MORE = """
  - name: soon
    entrypoint: flows/daily.py:daily
    work_pool: *kline
    schedules: [{cron: "* * * * *", timezone: Asia/Shanghai}]
  - name: broken
    entrypoint: broken.py:daily
    work_pool: *kline
"""
OTHER_TASKS = {"extend patterns", "publish summary"}


@dataclass(frozen=True)
class Workplace:
    """A copy of what a clone holds, deployed, with a worker that waits for runs."""

    server: Server
    clone: Path
    home: Path

    def prefect(self, *arguments: str, cwd: Path | None = None) -> str:
        where, env = cwd or self.clone, self.server.env
        done = subprocess.run(["prefect", *arguments], cwd=where, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, deployment: str, name: str, *parameters: str) -> None:
        """`prefect deployment run`, typed in some other folder."""
        options = [word for parameter in parameters for word in ("-p", parameter)]
        self.prefect("deployment", "run", deployment, "--flow-run-name", name, *options, cwd=self.home)

    def ended(self, name: str) -> dict[str, Any]:
        """The flow run of that name, once it has ended."""

        def found() -> dict[str, Any] | None:
            runs = self.server.post("flow_runs/filter", flow_runs={"name": {"any_": [name]}})
            return next((run for run in runs if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")), None)

        return poll(found, f"end of flow run {name}")

    def scheduled(self, deployment: str) -> list[dict[str, Any]]:
        """Flow runs that the schedule of a deployment made, the earliest first."""
        only = {"id": {"any_": [deployment]}}
        runs = self.server.post("flow_runs/filter", deployments=only, sort="EXPECTED_START_TIME_ASC")
        return [run for run in runs if run["auto_scheduled"]]


@pytest.fixture(scope="module")
def work(server: Server, bar_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    home, clone = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("clone")
    ingest([bar_files], Home(home, create=True))
    shutil.copytree(ROOT / "flows", clone / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + MORE)
    shutil.copy(Path(__file__).with_name("broken.py"), clone)
    work = Workplace(server, clone, home)
    # As a person would: a pool, the deployments as they stand, a worker started in some other folder.
    work.prefect("work-pool", "create", "kline", "--type", "process", "--overwrite")
    work.prefect("--no-prompt", "deploy", "--all")
    env = server.env | {"KLINE_HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    with process("prefect", "worker", "start", "--pool", "kline", log=home / "worker.log", env=env, cwd=home):
        work.start("daily/manual", "typed", "symbols=S00000,S00002", "samples=20")
        work.start("daily/manual", "listed", 'symbols=["S00001"]', "samples=20", f"home={home}")
        work.start("daily/broken", "broken", "samples=20")
        yield work


def test_the_daily_deployment_is_scheduled_after_the_close(work: Workplace) -> None:
    daily = work.server.get("deployments/name/daily/daily")
    schedule = daily["schedules"][0]["schedule"]
    assert (schedule["cron"], schedule["timezone"]) == ("30 17 * * 1-5", "Asia/Shanghai")
    assert daily["pull_steps"] == [{"prefect.deployments.steps.set_working_directory": {"directory": str(work.clone)}}]

    # With other versions of the server's libraries no run ever appears, and nothing says so.
    runs = poll(lambda: work.scheduled(daily["id"]), "scheduled run")
    times = [datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo("Asia/Shanghai")) for run in runs]
    assert {when.time() for when in times} == {time(17, 30)}
    assert all(when.weekday() < 5 for when in times)
    assert work.server.get("deployments/name/daily/manual")["schedules"] == []


def test_a_run_by_hand_has_a_task_run_per_symbol(work: Workplace) -> None:
    run = work.ended("typed")
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["state"]["message"].startswith("2 symbols, 40 samples")
    tasks = work.server.task_runs(run["id"], 4)
    assert set(tasks) == OTHER_TASKS | {"S00000", "S00002"}
    assert {task["state_type"] for task in tasks.values()} == {"COMPLETED"}
    latest = json.loads(work.server.artifacts(run["id"])["daily-latest"])
    assert [row["symbol"] for row in latest] == ["S00000", "S00002"]


def test_a_run_by_hand_takes_a_json_list(work: Workplace) -> None:
    run = work.ended("listed")
    assert run["state_type"] == "COMPLETED", run["state"]
    assert set(work.server.task_runs(run["id"], 3)) == OTHER_TASKS | {"S00001"}


def test_one_symbol_that_breaks_does_not_stop_the_others(work: Workplace) -> None:
    run = work.ended("broken")
    assert run["state_type"] == "FAILED"
    assert run["state"]["message"].startswith(
        "1 of 3 symbols broke: S00001 (ValueError: bars on fire); stored: 2 symbols, 40 samples"
    )
    tasks = work.server.task_runs(run["id"], 5)
    assert [tasks[name]["state_type"] for name in SYMBOLS] == ["COMPLETED", "FAILED", "COMPLETED"]
    page = work.server.artifacts(run["id"])["daily-summary"]
    assert "### Symbols that broke\n\n- **S00001**: `ValueError: bars on fire`" in page


def test_a_scheduled_run_comes_by_itself(work: Workplace) -> None:
    soon = work.server.get("deployments/name/daily/soon")

    def begun() -> dict[str, Any] | None:
        return next((run for run in work.scheduled(soon["id"]) if run["state_type"] != "SCHEDULED"), None)

    run = poll(begun, "run that is due")
    # One is enough.
    work.server.delete(f"deployments/{soon['id']}/schedules/{soon['schedules'][0]['id']}")
    run = work.ended(run["name"])
    assert run["state_type"] == "COMPLETED", run["state"]
    # All symbols, and all their usable dates where there are fewer than 600.
    assert run["state"]["message"].startswith("3 symbols, 1143 samples")
    assert set(work.server.task_runs(run["id"], 5)) == OTHER_TASKS | set(SYMBOLS)
