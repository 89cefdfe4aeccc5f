"""Runs that are cancelled, whose worker is killed, or whose server goes away: nothing lost, nothing doubled, no hang.

The flows stand still half way as long as they are told to, on a standing cluster of processes. Server, worker and
cluster are shared; every test has a home of its own.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from kline_core.bars.ingest import ingest
from kline_core.compute.opening import open_cluster
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.compute.run_report import RunReport
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.synthetic import random_walk
from kline_core.factor.state_key import StateKey
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.settings import Settings
from kline_core.store.home import Home
from tests.support.prefect_server import ROOT, prefect_server
from tests.support.processes import free_port, poll, process, scheduler_process
from tests.support.run_logs import errors_of, log_of

pytestmark = [pytest.mark.flows, pytest.mark.cluster, pytest.mark.slow]

SYMBOLS, BARS = 8, 300
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# What each flow publishes, and how it is asked for all that there is.
PUBLISHED = {
    "daily": {"progress", "summary", "symbols", "ranking", "values", "matches", "history"},
    "backfill": {"progress", "summary"},
    "evaluate": {"report", "picture", "decay", "reliability"},
    "maintain": {"report"},
}
ASKED: dict[str, dict[str, Any]] = {"backfill": {"first": "2000-01-01"}}


class Office:
    """A server with a deployment of the flow, and a worker; either may be killed and started again."""

    def __init__(self, place: Path, clone: Path, scheduler: str, tables: Path) -> None:
        self._place, self._clone, self.scheduler, self._tables = place, clone, scheduler, tables
        self._port = free_port()
        self._serving, self._working = ExitStack(), ExitStack()

    def __enter__(self) -> "Office":
        self.start_server()
        self.server.post("work_pools/", name="kline", type="process")
        self.deployments = {flow: self.deploy(flow) for flow in PUBLISHED}
        self.start_worker()
        return self

    def __exit__(self, *_: object) -> None:
        with self._serving, self._working:
            left = psutil.Process(self.worker.pid).children(True) if self.worker.poll() is None else []
        for child in left:
            if child.is_running():
                child.kill()

    def deploy(self, flow: str) -> str:
        """Deployment of a flow that stands still half way; its id."""
        here = {"prefect.deployments.steps.set_working_directory": {"directory": str(self._clone)}}
        made = self.server.post(
            "deployments/",
            name="slow",
            flow_id=self.server.post("flows/", name=flow)["id"],
            entrypoint=f"slow.py:{flow}",
            pull_steps=[here],
            work_pool_name="kline",
            concurrency_limit=1,
            concurrency_options={"collision_strategy": "ENQUEUE"},
        )
        return str(made["id"])

    def start_server(self) -> None:
        self.server = self._serving.enter_context(prefect_server(self._place, self._port, self._tables))

    def stop_server(self) -> None:
        self._serving.close()

    def start_worker(self) -> None:
        env = self.server.env | {"KLINE_SCHEDULER": self.scheduler, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        command = ["prefect", "worker", "start", "--pool", "kline", "--name", "office"]
        log = self._place / "worker.log"
        self.worker = self._working.enter_context(process(*command, log=log, env=env, cwd=self._clone))

    def kill_worker(self) -> psutil.Process:
        """Returns the flow's process, which it leaves behind."""
        children = psutil.Process(self.worker.pid).children()
        (child,) = [each for each in children if "prefect" in " ".join(each.cmdline())]
        self.worker.kill()
        self.worker.wait(15)
        return child

    def wait_for_worker(self) -> None:
        """Until the worker has told the server again that it is there."""

        def seen() -> Any:
            workers = self.server.post("work_pools/kline/workers/filter")
            return max((each["last_heartbeat_time"] for each in workers if each["name"] == "office"), default="")

        before = seen()
        poll(lambda: seen() > before, "a worker that polls")

    def start_run(self, flow: str, **asked: Any) -> str:
        made = self.server.post(f"deployments/{self.deployments[flow]}/create_flow_run", parameters=asked)
        return str(made["id"])


class Desk:
    """The office, and a home that is ready to be run."""

    def __init__(self, office: Office, home: Path) -> None:
        self.office, self.home = office, home

    def start(self, **asked: Any) -> str:
        return self.office.start_run("daily", **({"home": str(self.home)} | asked))

    def half_way(self, flow: str = "daily") -> str:
        """A run of which half is done, and the rest will not be until it is let go."""
        (self.home / "hold").write_text(str(SYMBOLS // 2))
        flow_run = self.office.start_run(flow, home=str(self.home), **ASKED.get(flow, {}))
        if "progress" in PUBLISHED[flow]:
            poll(lambda: self.progress(flow_run, flow) == 50, f"half of {flow_run}")
        else:
            poll((self.home / "held").exists, f"{flow_run} at work")
        return flow_run

    def cancelled(self, flow_run: str) -> dict[str, Any]:
        """The run, once it has ended after somebody pressed Cancel on its page."""
        self.office.server.post(f"flow_runs/{flow_run}/set_state", state={"type": "CANCELLING"})
        return self.ended(flow_run)

    def let_go(self) -> None:
        (self.home / "hold").unlink()

    def progress(self, flow_run: str, flow: str) -> float:
        return float(self.office.server.artifacts(flow_run).get(f"{flow}-progress") or 0)

    def published(self, flow_run: str, flow: str) -> set[str]:
        """What of `PUBLISHED` there is, and what else, by keys that belong to the flow."""
        return {key.removeprefix(f"{flow}-") for key in self.office.server.artifacts(flow_run)}

    def states(self, flow_run: str) -> list[str]:
        """Types of all states that the run was in, in order."""
        return [each["type"] for each in self.office.server.get(f"flow_run_states/?flow_run_id={flow_run}")]

    def ended(self, flow_run: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            run: dict[str, Any] = self.office.server.get(f"flow_runs/{flow_run}")
            return run if run["state_type"] in ENDED else None

        # A client that has lost its server asks again after 2, 4, 8, 16 and 32 seconds.
        return poll(found, f"end of flow run {flow_run}", 240)

    def run_again(self) -> RunReport:
        """What is left, without the server; everything that was stored is used."""
        return run_here(self.home, self.office.scheduler)

    def values(self) -> list[tuple[Any, ...]]:
        return values(self.home)


def run_here(place: Path, scheduler: str) -> RunReport:
    home = Home(place)
    with open_cluster(scheduler) as standing:
        return run_symbols(Run(home, standing, StateKey.newest(home, Settings()), Request()))


def values(home: Path) -> list[tuple[Any, ...]]:
    rows = Home(home).read("factors", ["symbol", "date", "value", "status", "reason"])
    return sorted(zip(*rows.to_pydict().values(), strict=True), key=str)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with bars and patterns."""
    place = tmp_path_factory.mktemp("ready")
    random_walk(SYMBOLS, BARS, seed=1).to_frame(prefix="S").to_csv(place / "bars.csv", index=False)
    home = Home(place / "home", create=True)
    ingest([place / "bars.csv"], home)
    update_patterns(home, Settings().patterns, LocalWindowEncoder(Encoder.load()))
    return place / "home"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scheduler_process(tmp_path_factory.mktemp("dask")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def undisturbed(ready: Path, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The values of a run that nobody disturbs."""
    place = tmp_path_factory.mktemp("undisturbed") / "home"
    shutil.copytree(ready, place)
    assert run_here(place, cluster).count("done")
    return values(place)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "flows", place / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("slow.py"), place)
    return place


@pytest.fixture(scope="module")
def office(clone: Path, cluster: str, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with Office(tmp_path_factory.mktemp("office"), clone, cluster, tables) as office:
        yield office


@pytest.fixture
def desk(office: Office, ready: Path, tmp_path: Path) -> Desk:
    shutil.copytree(ready, tmp_path / "home")
    return Desk(office, tmp_path / "home")


@pytest.mark.long
def test_a_cancelled_run_stops_the_cluster_and_keeps_what_is_finished(desk: Desk, undisturbed: Any) -> None:
    first = desk.half_way()
    run = desk.cancelled(first)
    assert run["state_type"] == "CANCELLED", run["state"]
    log = log_of(desk.office.server, first, "cancelled on request")
    assert errors_of(log) == []
    (line,) = (message for _, message in log if message.startswith("cancelled on request"))
    kept = desk.values()
    done = sum(row[3] == "ok" for row in kept)
    assert line == (f"cancelled on request: {done} values that it computed are stored, and the next run does the rest")
    assert task_states(desk, first) == {"COMPLETED", "CANCELLED"}
    assert "daily-to-do" not in desk.office.server.artifacts(first)
    with Client(desk.office.scheduler, set_as_default=False) as client:
        # Nothing is left to do.
        poll(lambda: not any(client.processing().values()) and not client.who_has(), "idle cluster", 15)
    assert 0 < len(kept) < len(undisturbed)
    assert set(kept) <= set(undisturbed)
    desk.let_go()
    again = desk.run_again()
    assert again.count("failed") == sum(row[3] == "failed" for row in undisturbed)
    assert again.count("reused") == sum(row[3] == "ok" for row in kept)
    assert desk.values() == undisturbed


def task_states(desk: Desk, flow_run: str) -> set[str]:
    """States in which the task runs of a flow run ended; records of them lag behind."""

    def ended() -> set[str] | None:
        found = desk.office.server.post("task_runs/filter", flow_runs={"id": {"any_": [flow_run]}})
        states = {str(each["state_type"]) for each in found}
        return states if found and states <= set(ENDED) else None

    states: set[str] = poll(ended, f"end of the task runs of {flow_run}", 30)
    return states


@pytest.mark.long
def test_a_run_that_waits_for_bars_is_cancelled_within_seconds(desk: Desk, tmp_path: Path) -> None:
    server = desk.office.server
    (tmp_path / "delivered").mkdir()
    asked = {"source": str(tmp_path / "delivered"), "home": str(tmp_path / "new"), "calendar": "XSHG"}
    waiting = desk.start(**asked, as_of="2024-10-08")
    poll(lambda: server.get(f"flow_runs/{waiting}")["state_name"] == "Waiting", "wait")
    page = server.artifacts(waiting)["daily-xshg-waiting"]
    assert page.startswith("## waiting for bars of 2024-10-08, next look ")
    assert str(tmp_path / "delivered") in page
    began = time.monotonic()
    assert desk.cancelled(waiting)["state_type"] == "CANCELLED"
    # Ten minutes before it would have looked again.
    assert time.monotonic() - began < 60
    log = log_of(server, waiting, "cancelled on request")
    assert errors_of(log) == []
    assert task_states(desk, waiting) == {"CANCELLED"}
    assert server.artifacts(waiting)["daily-xshg-waiting"].startswith("## ended at ")


@pytest.mark.long
@pytest.mark.parametrize("flow", PUBLISHED)
def test_a_run_outlives_its_worker(desk: Desk, undisturbed: Any, flow: str) -> None:
    if flow == "evaluate":
        desk.run_again()
    run = desk.half_way(flow)
    child = desk.office.kill_worker()
    # Another one takes its place, and leaves the run alone.
    desk.office.start_worker()
    desk.office.wait_for_worker()
    assert child.is_running()
    desk.let_go()
    ended = desk.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    child.wait(60)
    assert desk.published(run, flow) == PUBLISHED[flow]
    assert ended["run_count"] == 1
    states = desk.states(run)
    assert (states.count("RUNNING"), states[-1]) == (1, "COMPLETED"), states
    if flow == "daily":
        assert desk.values() == undisturbed


@pytest.mark.long
def test_a_run_outlives_a_server_that_is_away_for_a_while(desk: Desk, undisturbed: Any) -> None:
    run = desk.half_way()
    desk.office.stop_server()
    # The rest is done while nobody listens.
    desk.let_go()
    desk.office.start_server()
    ended = desk.ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert desk.published(run, "daily") == PUBLISHED["daily"]
    assert desk.values() == undisturbed
