"""Recovery of abandoned flow runs: the server has them as running, but their process is gone.

That happens if server, worker and flow runs are all killed at once.
"""

import os
import socket
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Crashed

_UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_PAGE = 200
_MESSAGE = "its process is gone: kline was killed while it worked. What was finished is stored; run it again."


def end_abandoned(client: SyncPrefectClient) -> list[tuple[str, str]]:
    """Set abandoned runs to Crashed, or to Cancelled if that was asked for; returns their names and new states.

    Call it while no worker runs: no process would ever end the runs that the server then has as running.
    """
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=len(found)):
        found += page
    done = []
    for run in found:
        if _elsewhere(run):
            continue
        asked = run.state_type == StateType.CANCELLING
        state: State[Any] = Cancelled(message=_MESSAGE) if asked else Crashed(message=_MESSAGE)
        # Forced, since Prefect's rules for transitions assume that a run can continue.
        client.set_flow_run_state(run.id, state, force=True)
        done.append((run.name, f"{state.name}, since {_MESSAGE}"))
    return done


def _elsewhere(run: FlowRun) -> bool:
    """Whether the run's process may be alive, on another host of the same database or here."""
    host, _, pid = (run.infrastructure_pid or "").rpartition(":")
    if not pid.isdigit():
        return False
    if host and host != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(pid))
        return int(pid) != os.getpid() and process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id)
    except (psutil.Error, OSError):
        return False
