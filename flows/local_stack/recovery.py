"""Flow runs that stand as running although their process is gone, because everything was killed at once."""

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
    """Set such runs to Crashed, or to Cancelled where that was asked for; returns their names, and what was done.

    To be called while no worker runs: whatever stands as running then has nobody who would ever end it.
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
        # By force, since no rule about how a run may go on fits one that cannot.
        client.set_flow_run_state(run.id, state, force=True)
        done.append((run.name, f"{state.name}, since {_MESSAGE}"))
    return done


def _elsewhere(run: FlowRun) -> bool:
    """Whether its process may be alive: on another host of the same database, or here."""
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
