"""What a person has to do about a run that does not go on by itself, as an artifact of the run."""

import shlex
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from flows.common.session import scheduled_day
from kline_core._secrets import masked
from kline_core.bars.sessions import calendar_names


def leave_to_do(
    client: SyncPrefectClient, flow: str, run: FlowRun, deployment: DeploymentResponse | None, what: str
) -> None:
    """Publish what became of a run, and the command that runs it again, as a flow's own hook does after a failure.

    Args:
        client: Client of the server.
        flow: Name of the run's flow.
        run: The run, whose process is gone.
        deployment: Its deployment, if it has one.
        what: What became of it, in sentences.
    """
    # Only now: it draws pictures too, and what does that takes long to import.
    from flows.artifacts.advice import to_do_key

    command = " \\\n  ".join(_again(client, flow, run, deployment))
    artifact = ArtifactCreate(
        key=to_do_key(flow, run.parameters),
        type="markdown",
        description="What to do about it",
        data=masked(f"{flow} {run.name} crashed: {what} Run it again:\n\n```\n{command}\n```\n"),
        flow_run_id=run.id,
    )
    # Not `create_artifact`, which also sends an event to the server that this process's own settings name.
    client.request("POST", "/artifacts/", json=artifact.model_dump(mode="json", exclude_unset=True))


def _again(client: SyncPrefectClient, flow: str, run: FlowRun, deployment: DeploymentResponse | None) -> list[str]:
    """The command that starts the flow with the same parameters, for the same day: itself, and each parameter."""
    from flows.artifacts.advice import BY_HAND, typed

    asked = dict(run.parameters)
    if asked.get("calendar") in calendar_names() and asked.get("as_of") is None and run.expected_start_time is not None:
        # Without its day, the command would start a run for the day on which it is typed.
        asked["as_of"] = str(scheduled_day(asked["calendar"], run.expected_start_time))
    given: dict[str, Any] = {} if deployment is None else deployment.parameters
    deployed = BY_HAND.get(flow, "manual") if deployment is None else deployment.name
    # A shell does not know the server of `kline up`.
    server = f"PREFECT_API_URL={shlex.quote(str(client.api_url).rstrip('/'))}"
    differing = (f"{name}={typed(value)}" for name, value in sorted(asked.items()) if value != given.get(name))
    return [f"{server} prefect deployment run {flow}/{deployed}", *(f"-p {shlex.quote(each)}" for each in differing)]
