"""A home's own Prefect server: its environment, its program, and its health.

Its database, logs and temporary files lie in the folder `prefect` of the home. Only child programs get its environment;
this process keeps its own.
"""

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient

from flows.local_stack.processes import MARK, Part
from kline_core.errors import SettingError, StartError

HOST = "127.0.0.1"
READY_SECONDS = 120.0
# The user may name a database server, see the README; by default the database is an SQLite file in the folder.
_DATABASE = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def check_port(port: int) -> None:
    """Raise `SettingError` if the port is out of bounds or in use."""
    if not 1 <= port <= 65535:
        bound = "between 1 and 65535"
        raise SettingError(f"--port is {port}; it must be {bound}", parameter="--port", value=port, bound=bound)
    with socket.socket() as one:
        # As the server does, so that connections that have just ended do not count.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except PermissionError as error:
            raise SettingError(
                f"--port is {port}, which needs rights of the administrator; name one from 1024",
                parameter="--port",
                value=port,
                bound="at least 1024",
            ) from error
        except OSError as error:
            raise SettingError(
                f"port {port} is in use{_listener(port)}; stop that, or name another one, such as --port {free_port()}",
                parameter="--port",
                value=port,
            ) from error


def _listener(port: int) -> str:
    with suppress(psutil.Error):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr[1:2] == (port,) and each.pid is not None:
                return f" by process {each.pid} ({psutil.Process(each.pid).name()})"
    return ""


def api_url(port: int) -> str:
    """URL of the server's API, for programs."""
    return f"http://{HOST}:{port}/api"


def ui_url(port: int) -> str:
    """URL of the server's pages, for people."""
    return f"http://{HOST}:{port}"


def prefect_environment(home: Path, folder: Path, port: int) -> dict[str, str]:
    """Environment of the server and of the programs that work for it.

    The user's Prefect variables name another server or its settings, so only those of the database are inherited.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_DATABASE) or not name.startswith(("PREFECT_", "KLINE_"))
    }
    return inherited | {
        MARK: str(home),
        "KLINE_HOME": str(home),
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": api_url(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # The interface that loads nothing from the network.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # On disk, since a restarted server forgets leases in memory, and a run that cannot renew its lease is
        # terminated.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        # No proxy between these programs; clients read either name.
        "NO_PROXY": HOST,
        "no_proxy": HOST,
        # Programs of this Python environment first, whether or not it was activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def server_part(env: dict[str, str], folder: Path, port: int) -> Part:
    """The server as a child program."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    return Part("server", command, env, folder)


def connect(port: int) -> SyncPrefectClient:
    """A client of the server, for a `with` statement."""
    return SyncPrefectClient(api_url(port), httpx_settings={"trust_env": False})


def wait_until(ready: Callable[[], bool], part: Part, pause: Callable[[float], None]) -> None:
    """Wait until a part is ready.

    Args:
        ready: Tells whether the part is ready; called again and again.
        part: Part to wait for.
        pause: Waits for some seconds, and raises to give up the wait.

    Raises:
        StartError: The part has ended, or is not ready within `READY_SECONDS`.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if not part.alive:
            code = part.code
            raise StartError(
                f"the {part.name} ended with code {code} ({part.last_words()}); see {part.log}",
                part=part.name,
                code=code,
                log=part.log,
            )
        if time.monotonic() > deadline:
            raise StartError(
                f"the {part.name} is not ready after {READY_SECONDS:.0f} s; see {part.log}",
                part=part.name,
                log=part.log,
            )
        pause(0.1)


def answers(port: int) -> bool:
    """Whether the server answers its health check."""
    try:
        # Each question would read the certificates of the machine, which plain HTTP needs not: at ten questions a
        # second, a third of the processor that the server starts on.
        return httpx.get(f"{api_url(port)}/health", timeout=5, trust_env=False, verify=False).is_success
    except httpx.HTTPError:
        return False
