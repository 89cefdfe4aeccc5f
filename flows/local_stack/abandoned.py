"""Flow runs that the server has as under way, and whose process is gone.

A process is known by the flow run in its environment, not by its number, which after a reboot may be another's. Where
other machines may work for the same server or database, only runs of the home's own worker are looked after, which is
known by a name that no other home has.
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType

from flows.local_stack.deployments import POOL
from flows.local_stack.notes import write_whole
from flows.local_stack.processes import FLOW_RUN, MARK

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_PAGE = 200
_WORKER_LABEL = "prefect.worker.name"
_WORKER_FILE = "worker"
OF_A_DATABASE = (
    "PREFECT_API_DATABASE_CONNECTION_URL",
    *(f"PREFECT_SERVER_DATABASE_{name}" for name in ("CONNECTION_URL", "DRIVER", "HOST")),
)
"""Variables that name another database for the server than that in the home."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which runs of a server have their processes where."""

    worker: str
    """Name of the home's own worker."""
    alone: bool
    """Whether all processes that work for the server are on this machine."""
    home: str
    """Folder of the home, as in `processes.MARK`."""

    @classmethod
    def of(cls, folder: Path, host: str, env: Mapping[str, str]) -> Self:
        """What a home's server reaches.

        Args:
            folder: The home's folder `prefect`, which keeps the name of its worker.
            host: Address on which the server listens.
            env: Environment of the server. One that names a database may share it with servers of other machines.
        """
        file = folder / _WORKER_FILE
        worker = file.read_text(errors="replace").strip() if file.is_file() else ""
        if not worker:
            worker = f"kline-up-{uuid.uuid4().hex[:8]}"
            write_whole(file, f"{worker}\n")
        alone = ip_address(host).is_loopback and env.keys().isdisjoint(OF_A_DATABASE)
        return cls(worker, alone, str(folder.parent))


def abandoned(client: SyncPrefectClient, reach: Reach) -> list[FlowRun]:
    """Runs that are under way without a process, those first that are due first.

    Call it while the home's worker does not run, and nothing that it started.
    """
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=len(found)):
        found += page
    alive = _flow_runs_here(reach.home)
    gone = [run for run in found if str(run.id) not in alive and not _elsewhere(run, reach)]
    return sorted(gone, key=lambda run: run.expected_start_time or datetime.now(UTC))


def _elsewhere(run: FlowRun, reach: Reach) -> bool:
    """Whether the run's process may be alive on another machine."""
    if run.work_pool_name not in (None, POOL):
        return True
    # Without a name no worker has begun to start it, or it was started by hand.
    worker = run.labels.get(_WORKER_LABEL)
    return not reach.alone and worker != reach.worker and (worker is not None or run.deployment_id is None)


def _flow_runs_here(home: str) -> set[str]:
    """Flow runs that processes of this machine work on, those of other homes aside: a copy has runs of the same id."""
    found = set()
    for process in psutil.process_iter():
        # Other users' programs hide their environment, and ended ones have none.
        with suppress(psutil.Error, OSError):
            environ = process.environ()
            if environ.get(MARK, home) == home:
                found.add(environ.get(FLOW_RUN, ""))
    return found
