"""Recovery of abandoned flow runs: the server has them as under way, but their process is gone.

That happens if server, worker and flow runs are all killed at once, as by a power loss. Then

1. a run that was being cancelled is Cancelled;
2. a run that never began is queued again;
3. a run of `FLOWS`, which use again what is stored, goes on by itself if it was stopped together with `kline up`, if it
   only waited for bars, or if it is interrupted for the first time;
4. any other is Crashed, and leaves a person the command that runs it again.

A run that goes on is the same one: it keeps its page, its day and its place before the runs that are due after it and
waited for its slot. Task runs end with the process that worked on them.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import AwaitingConcurrencySlot, AwaitingRetry, Cancelled, Crashed, Scheduled

from flows.common.by_hand import deployment_of
from flows.common.flow_names import FLOWS
from flows.common.session import with_result, without_result
from flows.common.states import INTERRUPTED, STOPPED, WAITING
from flows.local_stack.abandoned import Reach, abandoned
from flows.local_stack.pages import end_pages
from flows.local_stack.stored import stored_values
from flows.local_stack.to_do import leave_to_do

MOST_TASK_RUNS = 2_000
"""Task runs that are ended at one start; what is left waits for the next."""
_STORING = ("daily", "backfill")
_UNDER_WAY = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_ENDED = [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
_PAGE = 200
_RECORDED_LATE = timedelta(minutes=10)
"""The server records task runs some time after they end."""
_GIVE_WAY = timedelta(minutes=1)
"""How long runs that wait for a slot leave it to the one that had it: a worker starts within seconds."""
_GONE = "Its process is gone: the machine or kline was stopped"
_STOPPED = "kline up was stopped"


def recover(client: SyncPrefectClient, home: str, reach: Reach, stopped: Collection[str] = ()) -> list[str]:
    """Queue abandoned runs again, or end them; one line for each says what became of it.

    Args:
        client: Client of the home's server, while no worker of the home runs.
        home: Home of runs that name none.
        reach: Which runs are looked after.
        stopped: Ids of runs that a stop of `kline up` has ended.
    """
    lines, going_on = [], []
    for run in abandoned(client, reach):
        asked = run.state_type == StateType.CANCELLING
        _end_task_runs(client, FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), Cancelled if asked else Crashed)
        flow = client.read_flow(run.flow_id).name
        deployment = deployment_of(client, run)
        state = _next_state(client, home, flow, run, deployment, str(run.id) in stopped)
        message = state.message or ""
        if state.type == StateType.SCHEDULED:
            _forget_process(client, run)
        elif state.type == StateType.CRASHED and flow in FLOWS:
            leave_to_do(client, flow, run, deployment, message)
        if run.state_type != StateType.PENDING:
            # It may have named its result, and then not ended.
            client.update_flow_run(run.id, name=with_result(run.name, message))
        # Forced, since Prefect's rules for transitions assume that a run can continue.
        client.set_flow_run_state(run.id, state, force=True)
        end_pages(client, flow, run, state)
        lines.append(f"{flow} {without_result(run.name)}: {message}")
        if state.type == StateType.SCHEDULED and deployment is not None and deployment.global_concurrency_limit:
            going_on.append((deployment, run))
    _let_go_first(client, going_on)
    long_ago = FlowRunFilterEndTime.model_validate({"before_": datetime.now(UTC) - _RECORDED_LATE})
    ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=_ENDED))
    _end_task_runs(client, FlowRunFilter(state=ended, end_time=long_ago), Crashed)
    return lines


def _next_state(
    client: SyncPrefectClient,
    home: str,
    flow: str,
    run: FlowRun,
    deployment: DeploymentResponse | None,
    stopped: bool,
) -> State[Any]:
    """State of an abandoned run from now on."""
    # In the place that it had: before those that were due later, whose sessions come later.
    due = run.expected_start_time
    if run.state_type == StateType.PENDING:
        happened = f"{_GONE} before it began."
        if deployment is None:
            return Crashed(message=f"{happened} It does not begin by itself.")
        return AwaitingRetry(scheduled_time=due, message=f"{happened} It is queued again.")
    gone = _STOPPED if stopped else _GONE
    states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
    # A wait has done nothing that could have killed its process.
    before = any(state.name == INTERRUPTED and last.name != WAITING for last, state in pairwise(states))
    waited = run.state_name == WAITING
    began = max((state.timestamp for state in states if state.type == StateType.RUNNING), default=None)
    stored = f" {stored_values(run, home, began, before)}." if flow in _STORING and began is not None else ""
    if run.state_type == StateType.CANCELLING:
        return Cancelled(message=f"{gone} while it was being cancelled.{stored}")
    does = "waited for bars" if waited else "worked"
    again = stopped or waited
    happened = f"{gone} while it {does}{', for the second time' if before and not again else ''}.{stored}"
    if flow in FLOWS and deployment is not None and (again or not before):
        message = f"{happened} It goes on by itself{'' if again else ', once'}."
        return Scheduled(name=STOPPED if stopped else INTERRUPTED, scheduled_time=due, message=message)
    return Crashed(message=f"{happened} It does not go on by itself.")


def _forget_process(client: SyncPrefectClient, run: FlowRun) -> None:
    """Take the process from a run that is to be queued again, so that it can be cancelled meanwhile."""
    client.request("PATCH", "/flow_runs/{id}", path_params={"id": run.id}, json={"infrastructure_pid": None})


def _let_go_first(client: SyncPrefectClient, going_on: Sequence[tuple[DeploymentResponse, FlowRun]]) -> None:
    """Have the other runs of their deployments that are due wait, since a worker takes all at once, in any order."""
    now = datetime.now(UTC)
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime.model_validate({"before_": now + _GIVE_WAY}),
    )
    first = {run.id for _, run in going_on}
    for deployment in {deployment.id for deployment, _ in going_on}:
        of = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
        for run in client.read_flow_runs(deployment_filter=of, flow_run_filter=due):
            if run.id not in first:
                client.set_flow_run_state(run.id, AwaitingConcurrencySlot(scheduled_time=now + _GIVE_WAY), force=True)


def _end_task_runs(client: SyncPrefectClient, of: FlowRunFilter, end: Callable[..., State[Any]]) -> None:
    """End the task runs that are under way."""
    wanted = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNDER_WAY)))
    # What is ended is no longer found.
    for _ in range(MOST_TASK_RUNS // _PAGE):
        page = client.read_task_runs(flow_run_filter=of, task_run_filter=wanted, limit=_PAGE)
        for task_run in page:
            client.set_task_run_state(task_run.id, end(message="The process of its flow run is gone."), force=True)
        if len(page) < _PAGE:
            return
