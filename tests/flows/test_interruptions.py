"""Runs that are cancelled, whose worker is killed, or whose server goes away: nothing lost, nothing doubled, no hang.

The flow is the daily one, slowed down by doing its work many times over, on a standing cluster of processes.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from kline_core.encoder import Encoder
from kline_core.encoding import LocalEncoding
from kline_core.extend import extend_patterns
from kline_core.ingest import ingest
from kline_core.run_report import RunReport
from kline_core.settings import Settings
from kline_core.synthetic import random_walk
from kline_core.tables import Home
from tests.flows.conftest import ROOT, Server, poll, prefect_server, process
from tests.helpers import scheduler_process
from tests.postgres import free_port

SYMBOLS, BARS = 24, 300
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SLOW = """
  - name: slow
    entrypoint: slow.py:daily
    work_pool: *kline
    concurrency_limit: *queued
"""


@dataclass
class Desk:
    """A server with its deployments, a cluster, and a home that is ready to be run."""

    server: Server
    clone: Path
    home: Path
    scheduler: str

    def prefect(self, *arguments: str) -> str:
        done = subprocess.run(
            ["prefect", *arguments], cwd=self.clone, env=self.server.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        env = self.server.env | {"KLINE_HOME": str(self.home), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        env |= {"KLINE_SCHEDULER": self.scheduler, "PYTHONUNBUFFERED": "1"}
        command = ["prefect", "worker", "start", "--pool", "kline"]
        with process(*command, log=self.home / "worker.log", env=env, cwd=self.clone) as running:
            children = [psutil.Process(running.pid)]
            try:
                yield running
            finally:
                with_children = [each for parent in children if parent.is_running() for each in parent.children(True)]
                for child in with_children:
                    child.kill()

    def start(self) -> str:
        said = self.prefect("deployment", "run", "daily/slow")
        found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)
        assert found, said
        return found[0]

    def progress(self, flow_run: str) -> float:
        return float(self.server.artifacts(flow_run).get("daily-progress") or 0)

    def half_way(self, flow_run: str) -> None:
        """Wait until some of the run is done, and not nearly all."""
        poll(lambda: self.progress(flow_run) > 10, f"progress of {flow_run}")
        assert self.progress(flow_run) < 90

    def ended(self, flow_run: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            run: dict[str, Any] = self.server.get(f"flow_runs/{flow_run}")
            return run if run["state_type"] in ENDED else None

        # A client that has lost its server asks again after 2, 4, 8, 16 and 32 seconds.
        return poll(found, f"end of flow run {flow_run}", 240)

    def values(self) -> list[tuple[Any, ...]]:
        rows = Home(self.home).read("factors", ["symbol", "date", "value", "status", "reason"])
        return sorted(zip(*rows.to_pydict().values(), strict=True), key=str)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with bars and patterns."""
    place = tmp_path_factory.mktemp("ready")
    random_walk(SYMBOLS, BARS, seed=1).to_frame(prefix="S").to_csv(place / "bars.csv", index=False)
    home = Home(place / "home", create=True)
    ingest([place / "bars.csv"], home)
    extend_patterns(home, Settings().patterns, LocalEncoding(Encoder.load()))
    return place / "home"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scheduler_process(tmp_path_factory.mktemp("dask")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def undisturbed(ready: Path, cluster: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The values of a run that nobody disturbs."""
    from kline_core.cluster import open_cluster
    from kline_core.keys import ResourceKey
    from kline_core.run import Request, Run, run_symbols

    place = tmp_path_factory.mktemp("undisturbed") / "home"
    shutil.copytree(ready, place)
    home = Home(place)
    with open_cluster(cluster) as standing:
        report: RunReport = run_symbols(Run(home, standing, ResourceKey.newest(home, Settings()), Request()))
    assert report.count("done")
    rows = home.read("factors", ["symbol", "date", "value", "status", "reason"])
    return sorted(zip(*rows.to_pydict().values(), strict=True), key=str)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "flows", place / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + SLOW)
    shutil.copy(Path(__file__).with_name("slow.py"), place)
    return place


@pytest.fixture
def desk(server: Server, clone: Path, ready: Path, cluster: str, tmp_path: Path) -> Desk:
    return deployed(server, clone, ready, cluster, tmp_path)


def deployed(server: Server, clone: Path, ready: Path, cluster: str, place: Path) -> Desk:
    home = place / "home"
    shutil.copytree(ready, home)
    desk = Desk(server, clone, home, cluster)
    desk.prefect("work-pool", "create", "kline", "--type", "process", "--overwrite")
    desk.prefect("--no-prompt", "deploy", "--name", "daily/slow")
    return desk


def test_a_cancelled_run_stops_the_cluster_and_keeps_what_is_finished(desk: Desk, undisturbed: Any) -> None:
    with desk.worker():
        first = desk.start()
        desk.half_way(first)
        desk.prefect("flow-run", "cancel", first)
        run = desk.ended(first)
        assert run["state_type"] == "CANCELLED", run["state"]
        with Client(desk.scheduler, set_as_default=False) as client:
            # Nothing is left to do.
            poll(lambda: not any(client.processing().values()) and not client.who_has(), "idle cluster", 15)
        kept = desk.values()
        assert 0 < len(kept) < len(undisturbed)
        assert set(kept) <= set(undisturbed)
        again = desk.ended(desk.start())
    assert again["state_type"] == "COMPLETED", again["state"]
    failed = sum(row[3] == "failed" for row in undisturbed)
    reused = sum(row[3] == "ok" for row in kept)
    assert again["state"]["message"].endswith(f" + {failed} failed + {reused} re-used")
    assert desk.values() == undisturbed


def test_a_killed_worker_loses_nothing(desk: Desk, undisturbed: Any) -> None:
    with ExitStack() as first_life:
        running = first_life.enter_context(desk.worker())
        run = desk.start()
        desk.half_way(run)
        (child,) = [each for each in psutil.Process(running.pid).children() if "prefect" in " ".join(each.cmdline())]
        running.kill()
        running.wait(15)
    with desk.worker():
        # Prefect ends a flow's process that has lost its worker; it stores what is finished, and says that it crashed.
        ended = desk.ended(run)
        assert ended["state_type"] in ("COMPLETED", "CRASHED"), ended["state"]["message"]
        child.wait(30)
        kept = desk.values()
        assert kept
        assert set(kept) <= set(undisturbed)
        again = desk.ended(desk.start())
    assert again["state_type"] == "COMPLETED", again["state"]
    assert again["state"]["message"].endswith(f" + {sum(row[3] == 'ok' for row in kept)} re-used")
    assert desk.values() == undisturbed


def test_a_server_that_starts_again_during_a_run(
    clone: Path, ready: Path, cluster: str, undisturbed: Any, tmp_path: Path
) -> None:
    (tmp_path / "prefect").mkdir()
    port = free_port()
    with ExitStack() as stack:
        with prefect_server(tmp_path / "prefect", port) as server:
            desk = deployed(server, clone, ready, cluster, tmp_path)
            stack.enter_context(desk.worker())
            run = desk.start()
            desk.half_way(run)
        with prefect_server(tmp_path / "prefect", port):
            first = desk.ended(run)
            assert first["state_type"] in ("COMPLETED", "FAILED", "CRASHED"), first["state"]
            again = desk.ended(desk.start())
            assert again["state_type"] == "COMPLETED", again["state"]
            assert desk.values() == undisturbed
