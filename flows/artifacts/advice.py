"""What to do after a failed flow run: one line with the reason, and the command that runs it again.

The artifacts of one flow and market are one series, those of its chosen symbols another. A later run that completes
closes it.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, State, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import ArtifactCollection, FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, ParameterTypeError, PrefectException
from prefect.logging.loggers import flow_run_logger
from prefect.settings import PREFECT_API_URL

from flows.artifacts.result_line import plain_reason
from flows.common.artifact_keys import to_do_key
from flows.common.by_hand import CONTINUED, command_again, day_of, deployment_of
from flows.common.parameters import symbol_list
from flows.common.session import without_result
from kline_core._logging import one_line
from kline_core._secrets import masked
from kline_core.errors import KlineError, SettingError

_ANSWERS = (KlineError, ParameterTypeError)
"""Errors that are answers for a person."""
_DONE = "done: "


def leave_advice(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Log what went wrong, and publish it with the command that runs it again; a hook of failed and crashed runs.

    Hooks of a run whose process was killed run in another one, without the run's context.
    """
    ended = state.name.lower() if state.name else "ended"
    line = masked(f"{flow.name} {without_result(flow_run.name)} {ended}: {plain_reason(state).rstrip('.')}")
    # A defect alone has a traceback, and it comes last: any other error is an answer.
    error = getattr(state.data, "result", None)
    defect = error if isinstance(error, Exception) and not isinstance(error, _ANSWERS) else None
    logger = flow_run_logger(flow_run, flow)
    with get_client(sync_client=True) as client:
        deployment = deployment_of(client, flow_run)
        command = again(flow, flow_run, None if deployment is None else deployment.name)
        then = "What was finished is stored. When that is mended, run it again:"
        logger.error("%s. %s %s", line, then, masked(" ".join(command)), exc_info=defect)
        # A page is too narrow for the whole command.
        page = f"{line}\n\n{then}\n\n```\n{masked(CONTINUED.join(command))}\n```\n"
        _publish(client, to_do_key(flow.name, flow_run.parameters), page, "What to do about it", flow_run.id)


def again(flow: Flow[Any, Any], flow_run: FlowRun, deployment: str | None) -> list[str]:
    """The command that starts the flow with the same parameters, for the same day, as it is typed in a shell.

    `deployment`: name of the run's deployment; None if it has none. Returns the command itself, and each parameter.
    """
    defaults = {name: each.get("default") for name, each in flow.parameters.properties.items()}
    return command_again(flow.name, flow_run, deployment, defaults, PREFECT_API_URL.value())


def settled(state: State[Any]) -> State[Any]:
    """The state in which the current flow run is about to end, as it is.

    If it is completed, what is left to do of earlier runs of its flow and market is marked as done. A run of chosen
    symbols does not do that for one of others, nor one for a day before that of the other. A server that does not
    answer causes a warning in the log.
    """
    context = FlowRunContext.get()
    if not state.is_completed() or context is None or context.flow_run is None or context.flow is None:
        return state
    run = context.flow_run
    # What is left of chosen symbols is done by a run of all as well.
    keys = sorted({to_do_key(context.flow.name, run.parameters | {"symbols": each}) for each in (None, "chosen")})
    try:
        with get_client(sync_client=True) as client:
            for to_do in _open(client, keys):
                if _settles(client, run, to_do):
                    line = f"{_DONE}run {run.name} completed on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
                    page = f"{line}\n\nIt was to do before: {str(to_do.data).splitlines()[0]}\n"
                    _publish(client, str(to_do.key), page, "Nothing is left to do", run.id)
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("the artifact %s may be out of date (%s)", keys[0], one_line(error))
    return state


def _open(client: SyncPrefectClient, keys: list[str]) -> list[ArtifactCollection]:
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=keys))
    found = client.read_latest_artifacts(artifact_filter=wanted)
    return [each for each in found if each.data and not str(each.data).startswith(_DONE)]


def _settles(client: SyncPrefectClient, run: FlowRun, to_do: ArtifactCollection) -> bool:
    """Whether a completed run did what the run that left it did not do."""
    try:
        other = None if to_do.flow_run_id is None else client.read_flow_run(to_do.flow_run_id)
    except ObjectNotFound:
        other = None
    if other is None:
        return not run.parameters.get("symbols")
    if not _symbols_of(run, other):
        return False
    done, left = day_of(run), day_of(other)
    return done is None or left is None or done >= left


def _symbols_of(run: FlowRun, other: FlowRun) -> bool:
    """Whether a run is of all symbols that another one was of."""
    chosen, others = _chosen(run), _chosen(other)
    return chosen is None or (others is not None and others <= chosen)


def _chosen(run: FlowRun) -> set[str] | None:
    """Symbols that a run was asked for; None for all."""
    asked = run.parameters.get("symbols")
    try:
        return None if asked is None else set(symbol_list(asked) or ())
    except (SettingError, TypeError):
        # The run was refused for them, and there are none to make up for.
        return set()


def _publish(client: SyncPrefectClient, key: str, page: str, description: str, flow_run: UUID) -> None:
    # By the client, since `create_markdown_artifact` takes the run from a context, which hooks may lack.
    client.create_artifact(
        ArtifactCreate(key=key, type="markdown", data=page, description=description, flow_run_id=flow_run)
    )
