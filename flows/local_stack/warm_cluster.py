"""Standing Dask cluster of a home: its programs, and the state that its worker keeps loaded."""

import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask

from flows.local_stack.certificates import variable
from flows.local_stack.processes import Part
from flows.local_stack.server import HOST, Place, free_port
from kline_core.compute.opening import MEASURED_SELDOM, open_cluster
from kline_core.compute.program import ProgramError
from kline_core.errors import KlineError, SchedulerError
from kline_core.factor.state_key import StateKey
from kline_core.settings import Settings
from kline_core.store.home import Home


def cluster_parts(env: dict[str, str], folder: Path, address: str, threads: int) -> list[Part]:
    """Scheduler and worker. No nanny beside the worker: `supervision.watch` restarts it, as it does all parts.

    `address`: that of the scheduler; the worker listens on the same interface, with the same protocol.
    """
    program = [sys.executable, "-m", "dask"]
    protocol, _, place = address.partition("://")
    host, _, port = place.partition(":")
    # The status pages know neither TLS nor password, and so stay on loopback. Without an address they listen on every
    # interface, dashboard or not.
    common = ["--protocol", protocol, "--host", host, "--dashboard-address", f"{HOST}:0"]
    worker = [*program, "worker", address, *common, "--nworkers", "1", "--nthreads", str(threads)]
    # No memory limit: above it the worker would wait for ever for memory that stays in use.
    worker += ["--no-nanny", "--memory-limit", "0", "--local-directory", str(folder / "tmp"), "--name", "kline"]
    env = measured_seldom() | env
    # One death may be chance. Work that kills its worker again and again must be known before `supervision.watch` gives
    # the worker up, which Dask's own four deaths would not leave room for.
    env_of_scheduler = env | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    return [
        Part("Dask scheduler", [*program, "scheduler", "--port", port, *common], env_of_scheduler, folder),
        Part("Dask worker", worker, env, folder),
    ]


def measured_seldom() -> dict[str, str]:
    """Variables by which Dask measures itself as seldom as inside a process, but for what the user has set.

    At Dask's own intervals a worker keeps what it measured for an hour, and grows by a hundred MB meanwhile. A
    scheduler keeps its last thousand messages.
    """
    own = dask.config.collect()
    return {
        variable(key): str(value)
        for key, value in MEASURED_SELDOM.items()
        if dask.config.get(key, None, config=own) is None
    }


def cluster_address(place: Place) -> str:
    """Address for a scheduler on a free port, beside the server."""
    return f"{'tcp' if place.certificates is None else 'tls'}://{place.host}:{free_port(place.host)}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the worker holds for the next run."""

    symbols: int
    patterns: int
    why: str | None
    """Why nothing could be loaded; None if something was."""

    def line(self) -> str:
        """The same in one line."""
        if self.why is not None:
            return f"nothing loaded: {self.why}"
        return f"{self.patterns} patterns of {self.symbols} symbols loaded"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {"symbols": self.symbols, "patterns": self.patterns, "why": self.why}


class Warming(threading.Thread):
    """Thread that has the cluster load what the next run needs, as soon as its worker is there.

    A home with nothing to load yet, or with patterns that lag behind its bars, is no error: the next run mends it.
    """

    def __init__(self, address: str, home: Home) -> None:
        """Describe the load; `start` begins it."""
        # A daemon, since it may hang on a dead cluster.
        super().__init__(name="warm-up", daemon=True)
        self.loaded: Loaded | None = None
        self._address, self._home = address, home
        self._over = threading.Event()

    def run(self) -> None:
        """Load, and put the outcome into `loaded`."""
        try:
            self.loaded = self._load()
        except KlineError as error:
            self.loaded = Loaded(0, 0, str(error))

    def cancel(self) -> None:
        """Stop trying to load."""
        self._over.set()

    def _load(self) -> Loaded:
        key = StateKey.newest(self._home, Settings())
        if key.patterns_version is None:
            return Loaded(0, 0, "there are no patterns yet")
        while True:
            try:
                with open_cluster(self._address) as cluster:
                    overview = cluster.load(key)
                return Loaded(len(overview.symbols), overview.n_patterns, None)
            except ProgramError:
                # It would be the same for ever: the package was replaced beneath this process, or the workers.
                raise
            except SchedulerError:
                # Not there yet; if it never comes, `supervision.watch` gives up.
                if self._over.wait(0.2):
                    raise
