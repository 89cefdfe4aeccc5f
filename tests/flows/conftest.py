"""A real Prefect server on a loopback port of its own, one for all tests of the flows."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from kline_core.encoder.synthetic import random_walk
from tests.postgres import free_port

ROOT = Path(__file__).parents[2]
SYMBOLS = ["S00000", "S00001", "S00002"]
# Ordinary runs are done within seconds; a machine that is busy with something else may take this long.
PATIENCE = 90.0


def poll(ask: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise TimeoutError(f"no {what} within {seconds:g} s")


@contextmanager
def process(*command: str, log: Path, env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the background, ended by its process id."""
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd)
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait(15)


@dataclass(frozen=True)
class Server:
    """The server, asked over HTTP as it is."""

    url: str
    env: dict[str, str]
    """For programs that talk to it."""
    folder: Path

    def post(self, path: str, **body: Any) -> Any:
        return self._answer("POST", path, body).json()

    def get(self, path: str) -> Any:
        return self._answer("GET", path).json()

    def patch(self, path: str, **body: Any) -> None:
        self._answer("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._answer("DELETE", path)

    def _answer(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        def answer() -> httpx.Response | None:
            try:
                response = httpx.request(method, f"{self.url}/{path}", json=body, timeout=30)
            except httpx.ReadTimeout:
                # A server that is just starting again may take its time; what only reads may be asked again.
                if method != "GET" and not path.endswith("/filter"):
                    raise
                return None
            # Its SQLite file was busy; Prefect's own clients ask again as well.
            return None if response.status_code == 503 else response.raise_for_status()

        found: httpx.Response = poll(answer, f"answer to {path}", 100)
        return found

    def task_runs(self, flow_run: str, expected: int) -> dict[str, dict[str, Any]]:
        """Task runs of a flow run by name, once `expected` of them are recorded as ended: records lag behind."""

        def ended() -> list[dict[str, Any]]:
            found = self.post("task_runs/filter", flow_runs={"id": {"any_": [flow_run]}})
            return found if sum(run["state_type"] in ("COMPLETED", "FAILED") for run in found) >= expected else []

        runs = poll(ended, f"{expected} task runs of {flow_run}", 20)
        assert len(runs) == expected, sorted(run["name"] for run in runs)
        return {run["name"]: run for run in runs}

    def artifacts(self, flow_run: str) -> dict[str, Any]:
        """Artifacts of a flow run by key."""
        found = self.post("artifacts/filter", flow_runs={"id": {"any_": [flow_run]}})
        return {artifact["key"]: artifact["data"] for artifact in found if artifact["key"]}


@contextmanager
def prefect_server(folder: Path, port: int | None = None, **more: str) -> Iterator[Server]:
    """A Prefect server with its state in a folder; `more` goes into its environment."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KLINE_", "DASK_"))}
    env |= {
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # The scripts of this environment come first, whether or not it was activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
    }
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with process(*command, log=folder / "server.log", env=env | more, cwd=folder) as running:

        def ready() -> bool:
            assert running.poll() is None, (folder / "server.log").read_text()
            try:
                return httpx.get(f"{url}/health").is_success
            except httpx.TransportError:
                return False

        poll(ready, "Prefect server")
        yield Server(url, env, folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@contextmanager
def reporting_to(server: Server) -> Iterator[None]:
    """Flows that this process runs itself report to the server."""
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.folder / "client"}):
        yield
        # What is still to be sent is sent while the server is there.
        APILogWorker.instance().drain()
        EventsWorker.drain_all()


@pytest.fixture(scope="module")
def reporting(server: Server) -> Iterator[Server]:
    """The server, to which flows of this process report."""
    with reporting_to(server):
        yield server


@pytest.fixture(scope="session")
def bar_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three symbols with 400 bars each."""
    folder = tmp_path_factory.mktemp("bars")
    frame = random_walk(3, 400, seed=1).to_frame(prefix="S")
    for symbol, bars in frame.groupby("symbol"):
        bars.to_csv(folder / f"{symbol}.csv", index=False)
    return folder
