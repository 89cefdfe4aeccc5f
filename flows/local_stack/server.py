"""A home's own Prefect server: its environment, its program, and its health.

Its database, logs and temporary files lie in the folder `prefect` of the home. Only child programs get its environment;
this process keeps its own.
"""

import errno
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient

from flows.common.server_words import PASSWORD
from flows.local_stack.certificates import Certificates
from flows.local_stack.processes import MARK, Part
from flows.local_stack.user_settings import inherited
from kline_core.errors import SettingError, StartError

HOST = "127.0.0.1"
READY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens, and with which certificates; None for plain HTTP."""

    port: int
    host: str = HOST
    certificates: Certificates | None = None

    @property
    def ui(self) -> str:
        """URL of the server's pages, for people."""
        return f"{'http' if self.certificates is None else 'https'}://{self.host}:{self.port}"

    @property
    def api(self) -> str:
        """URL of the server's API, for programs."""
        return f"{self.ui}/api"

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """What a client of httpx verifies."""
        # Each question would read the certificates of the machine, which plain HTTP needs not: at ten questions a
        # second, a third of the processor that the server starts on.
        return False if self.certificates is None else self.certificates.trust()


def checked_host(host: str, tls: bool, password: bool) -> str:
    """`host` itself, if what listens there asks others for certificates and a password.

    Raises `SettingError` if it is no IPv4 address of one interface, or is open to a network without TLS and password.
    """
    try:
        address = IPv4Address(host)
    except ValueError:
        address = None
    if address is None or address.is_unspecified or address.is_multicast:
        bound = "one IPv4 address of this machine"
        raise SettingError(
            f"--host is {host}; it must be {bound}, such as 192.168.1.5", parameter="--host", value=host, bound=bound
        )
    if not address.is_loopback and not (tls and password):
        remedies = [*([] if tls else ["give --tls"]), *([] if password else [f"set {PASSWORD}=USER:PASSWORD"])]
        raise SettingError(
            f"--host is {host}, where others could have their own code run; {' and '.join(remedies)}, or leave out "
            "--host",
            parameter="--host",
            value=host,
            bound="loopback, or with TLS and a password",
        )
    return host


def free_port(host: str = HOST) -> int:
    """A free port of an interface, by default of loopback."""
    with socket.socket() as one:
        one.bind((host, 0))
        return int(one.getsockname()[1])


def check_port(port: int, host: str = HOST) -> None:
    """Raise `SettingError` if the port is out of bounds or in use, or the host is no address of this machine."""
    if not 1 <= port <= 65535:
        bound = "between 1 and 65535"
        raise SettingError(f"--port is {port}; it must be {bound}", parameter="--port", value=port, bound=bound)
    with socket.socket() as one:
        # As the server does, so that connections that have just ended do not count.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except PermissionError as error:
            raise SettingError(
                f"--port is {port}, which needs rights of the administrator; name one from 1024",
                parameter="--port",
                value=port,
                bound="at least 1024",
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise SettingError(
                    f"--host is {host}, which is no address of this machine; name one that is",
                    parameter="--host",
                    value=host,
                    bound="an address of this machine",
                ) from error
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


def prefect_environment(home: Path, folder: Path, place: Place) -> dict[str, str]:
    """Environment of the server and of the programs that work for it.

    What the user has set counts, see `user_settings`, which raises `SettingError`.
    """
    direct = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), place.host]))
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # The interface that loads nothing from the network.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # On disk, since a restarted server forgets leases in memory, and a run that cannot renew its lease is
        # terminated.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "flows.local_stack.ordering",
        # Otherwise any page in a browser on this machine may read and change everything.
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"{place.ui},{place.ui.replace(place.host, 'localhost')}",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        # A run is begun seconds after it is due. With Prefect's 15 s, each worker or server that is started again makes
        # runs late, and with them messages that nobody can act on.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "300",
    }
    own = {
        MARK: str(home),
        "KLINE_HOME": str(home),
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": place.api,
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        # No proxy between these programs; clients read either name.
        "NO_PROXY": direct,
        "no_proxy": direct,
        # Programs of this Python environment first, whether or not it was activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }
    return defaults | inherited() | own | ({} if place.certificates is None else place.certificates.environment)


def server_part(env: dict[str, str], folder: Path, place: Place) -> Part:
    """The server as a child program."""
    where = ["--host", place.host, "--port", str(place.port)]
    if place.certificates is None:
        return Part("server", [sys.executable, "-m", "prefect", "server", "start", *where], env, folder)
    # What `prefect server start --background` runs, which has no options for certificates.
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", *where]
    certificate, key = place.certificates.server
    command += ["--workers", "1", "--log-level", env.get("PREFECT_SERVER_LOGGING_LEVEL", "warning").lower()]
    command += ["--ssl-certfile", certificate, *([] if key is None else ["--ssl-keyfile", key])]
    return Part("server", command, env | {"PREFECT__SERVER_FINAL": "1"}, folder)


def connect(place: Place, password: str | None) -> SyncPrefectClient:
    """A client of the server, for a `with` statement."""
    settings: dict[str, Any] = {"trust_env": False}
    if place.certificates is not None:
        settings["verify"] = place.verify
    return SyncPrefectClient(place.api, auth_string=password, httpx_settings=settings)


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


def answers(place: Place) -> bool:
    """Whether the server answers its health check."""
    try:
        return httpx.get(f"{place.api}/health", timeout=5, trust_env=False, verify=place.verify).is_success
    except httpx.HTTPError:
        return False
