"""The deployments as a person makes and starts them: server, process work pool, worker, schedule and command line.

The order matters only for the time it takes: all flow runs are started first and then waited for.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

import kline_core
from kline_core.bars.ingest import ingest
from kline_core.store.home import Home
from tests.support.prefect_server import ROOT, SYMBOLS, Server
from tests.support.processes import poll, process

# Beside the deployments as they stand: one that is due every minute, and one of a flow that breaks.
pytestmark = pytest.mark.long

MORE = """
  - name: soon
    entrypoint: flows/daily.py:daily
    work_pool: *kline
    schedules: [{cron: "* * * * *", timezone: Asia/Shanghai}]
    parameters: {home: OTHER}
  - name: broken
    entrypoint: broken.py:daily
    work_pool: *kline
"""
TWO = "S00000,S00001"
OTHER_TASKS = {"extend patterns", "publish summary"}


@dataclass(frozen=True)
class Workplace:
    """A copy of what a clone holds, deployed, with a worker that waits for runs."""

    server: Server
    clone: Path
    home: Path
    started: dict[str, str] = field(default_factory=dict)
    """Ids of flow runs by what they are started for."""

    def prefect(self, *arguments: str, cwd: Path | None = None) -> str:
        where, env = cwd or self.clone, self.server.env
        done = subprocess.run(["prefect", *arguments], cwd=where, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, deployment: str, *parameters: str) -> str:
        """`prefect deployment run`, typed in some other folder; the id of the flow run."""
        options = [word for parameter in parameters for word in ("-p", parameter)]
        said = self.prefect("deployment", "run", deployment, *options, cwd=self.home)
        found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)
        assert found, said
        return found[0]

    def make(self, deployment: str, **parameters: Any) -> str:
        """A run as the form makes it; its id."""
        found = self.server.get(f"deployments/name/{deployment}")["id"]
        return str(self.server.post(f"deployments/{found}/create_flow_run", parameters=parameters)["id"])

    def ended(self, flow_run: str) -> dict[str, Any]:
        """A flow run, once it has ended."""

        def found() -> dict[str, Any] | None:
            run: dict[str, Any] = self.server.get(f"flow_runs/{flow_run}")
            return run if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED") else None

        return poll(found, f"end of flow run {flow_run}")

    def scheduled(self, deployment: str) -> list[dict[str, Any]]:
        """Flow runs that the schedule of a deployment made, the earliest first."""
        only = {"id": {"any_": [deployment]}}
        runs = self.server.post("flow_runs/filter", deployments=only, sort="EXPECTED_START_TIME_ASC")
        return [run for run in runs if run["auto_scheduled"]]


@pytest.fixture(scope="module")
def work(server: Server, bar_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    home, other, clone = (tmp_path_factory.mktemp(name) for name in ("home", "other", "clone"))
    # A home of its own for the run that comes when its minute does: it stores values of all days.
    for each in (home, other):
        ingest([bar_files], Home(each, create=True))
    shutil.copytree(ROOT / "flows", clone / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + MORE.replace("OTHER", str(other)))
    shutil.copy(Path(__file__).with_name("broken.py"), clone)
    work = Workplace(server, clone, home)
    # As a person would: a pool, the deployments as they stand, a worker started in some other folder.
    work.prefect("work-pool", "create", "kline", "--type", "process", "--overwrite")
    work.prefect("--no-prompt", "deploy", "--all")
    env = server.env | {"KLINE_HOME": str(home), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    with process("prefect", "worker", "start", "--pool", "kline", log=home / "worker.log", env=env, cwd=home):
        for name, words in {
            "typed": ("daily/manual", "symbols=S00000,S00002", "samples=20"),
            "listed": ("daily/manual", 'symbols=["S00001"]', "samples=20", f"home={home}"),
        }.items():
            work.started[name] = work.start(*words)
        # Typing a command takes seconds; two are enough to see that it works.
        work.started["broken"] = work.make("daily/broken", samples=20)
        work.started["range"] = work.make("backfill/range", first="2011-01-03", last="2011-01-07", symbols=TWO)
        yield work


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "zone", "at", "calendar"),
    [("a-share", "Asia/Shanghai", time(17, 30), "XSHG"), ("us", "America/New_York", time(18, 30), "XNYS")],
)
def test_the_daily_deployments_are_scheduled_after_the_close(
    work: Workplace, name: str, zone: str, at: time, calendar: str
) -> None:
    daily = work.server.get(f"deployments/name/daily/{name}")
    schedule = daily["schedules"][0]["schedule"]
    assert schedule["timezone"] == zone
    assert daily["parameters"]["calendar"] == calendar
    assert daily["concurrency_options"] == {"collision_strategy": "ENQUEUE", "grace_period_seconds": None}
    assert daily["global_concurrency_limit"]["limit"] == 1
    assert daily["version"] == f"kline {kline_core.__version__}"
    assert name in daily["tags"]
    assert daily["pull_steps"] == [{"prefect.deployments.steps.set_working_directory": {"directory": str(work.clone)}}]

    # With other versions of the server's libraries no run ever appears, and nothing says so.
    runs = poll(lambda: work.scheduled(daily["id"]), "scheduled run")
    times = [datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo(zone)) for run in runs]
    assert {when.time() for when in times} == {at}
    assert all(when.weekday() < 5 for when in times)


def test_everything_is_deployed(work: Workplace) -> None:
    names = {}
    here = [{"prefect.deployments.steps.set_working_directory": {"directory": str(work.clone)}}]
    for deployment in work.server.post("deployments/filter"):
        if deployment["pull_steps"] != here:
            # Other tests deploy to the same server.
            continue
        flow = work.server.get(f"flows/{deployment['flow_id']}")["name"]
        names[f"{flow}/{deployment['name']}"] = [each["active"] for each in deployment["schedules"]]
    assert names == {
        "daily/a-share": [True],
        "daily/us": [True],
        "daily/manual": [],
        "backfill/range": [],
        "evaluate/weekly": [True],
        "maintain/weekly": [True],
        "daily/broken": [],
        # Its schedule goes as soon as one of its runs has begun.
        "daily/soon": names["daily/soon"],
    }


def test_bad_parameters_are_refused_before_a_run_is_made(work: Workplace) -> None:
    manual = work.server.get("deployments/name/daily/manual")["id"]
    for parameters, field_name in ({"samples": 0}, "samples"), ({"calendar": "XNOT"}, "calendar"):
        answer = httpx.post(
            f"{work.server.url}/deployments/{manual}/create_flow_run", json={"parameters": parameters}, timeout=30
        )
        assert answer.is_client_error
        assert field_name in answer.text


def test_a_run_by_hand_has_a_task_run_per_symbol(work: Workplace) -> None:
    run = work.ended(work.started["typed"])
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["state"]["message"].startswith("2 symbols, 40 samples")
    tasks = work.server.task_runs(run["id"], 4)
    assert set(tasks) == OTHER_TASKS | {"S00000", "S00002"}
    assert {task["state_type"] for task in tasks.values()} == {"COMPLETED"}
    rows = json.loads(work.server.artifacts(run["id"])["daily-symbols"])
    assert {row["symbol"] for row in rows} == {"S00000", "S00002"}
    assert run["name"].startswith("S00000,S00002: ")


def test_a_run_by_hand_takes_a_json_list(work: Workplace) -> None:
    run = work.ended(work.started["listed"])
    assert run["state_type"] == "COMPLETED", run["state"]
    assert set(work.server.task_runs(run["id"], 3)) == OTHER_TASKS | {"S00001"}


@pytest.mark.long
def test_a_range_is_filled_in(work: Workplace) -> None:
    run = work.ended(work.started["range"])
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["name"].startswith("S00000,S00001 2011-01-03 to 2011-01-07: ")
    assert run["state"]["message"].startswith("2 symbols, 10 samples = ")
    again = work.ended(work.make("backfill/range", first="2011-01-03", last="2011-01-10", symbols=TWO))
    assert " 12 samples = 2 done + " in again["state"]["message"], again["state"]


def test_one_symbol_that_breaks_does_not_stop_the_others(work: Workplace) -> None:
    run = work.ended(work.started["broken"])
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
    run = work.ended(run["id"])
    assert run["state_type"] == "COMPLETED", run["state"]
    # All symbols, and all their usable dates where there are fewer than 600.
    assert run["state"]["message"].startswith("3 symbols, 1143 samples")
    assert set(work.server.task_runs(run["id"], 5)) == OTHER_TASKS | set(SYMBOLS)
