"""A real Prefect server on a loopback port of its own, and what it is asked."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from tests.support.processes import free_port, poll, process

ROOT = Path(__file__).parents[2]


SYMBOLS = ["S00000", "S00001", "S00002"]
# Reads no certificates, which takes a while and plain HTTP needs not. Every question has a connection of its own, since
# servers are killed and started again between two of them.
CLIENT = httpx.Client(verify=False, trust_env=False, timeout=30, headers={"Connection": "close"})


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
                response = CLIENT.request(method, f"{self.url}/{path}", json=body)
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


def environment(folder: Path) -> dict[str, str]:
    """Environment of a server with its state in a folder."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KLINE_", "DASK_"))}
    return env | {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # The scripts of this environment come first, whether or not it was activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
    }


def empty_tables(shared: Path) -> Path:
    """The SQLite file of a server that nobody has used yet, made once in a folder that several processes may share.

    Making it runs all of Prefect's migrations, ten seconds and more of every server that starts without.
    """
    made, folder = shared / "tables", shared / "tables.new"
    with (shared / "tables.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            command = ["prefect", "server", "database", "upgrade", "-y"]
            done = subprocess.run(command, env=environment(folder), cwd=shared, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            folder.rename(made)
    return made / "prefect.db"


@contextmanager
def prefect_server(folder: Path, port: int | None = None, tables: Path | None = None, **more: str) -> Iterator[Server]:
    """A Prefect server with its state in a folder; `more` goes into its environment.

    A new one starts on a copy of `tables`, unless it is to make its own.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = environment(folder) | {"PREFECT_API_URL": url}
    if tables is not None and not (folder / tables.name).exists():
        shutil.copy(tables, folder)
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with process(*command, log=folder / "server.log", env=env | more, cwd=folder) as running:

        def ready() -> bool:
            assert running.poll() is None, (folder / "server.log").read_text()
            try:
                return CLIENT.get(f"{url}/health").is_success
            except httpx.TransportError:
                return False

        poll(ready, "Prefect server")
        yield Server(url, env, folder)


@contextmanager
def reporting_to(server: Server) -> Iterator[None]:
    """Flows that this process runs itself report to the server."""
    # What is still to be sent is sent while its server is there, by threads that know one server alone.
    _send_all()
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: server.folder / "client"}):
        yield
        _send_all()


def _send_all() -> None:
    APILogWorker.drain_all()
    EventsWorker.drain_all()
