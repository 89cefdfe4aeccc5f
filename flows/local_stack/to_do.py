"""What a person has to do about a run that does not go on by itself, as an artifact of the run."""

import json
import shlex
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from flows.common.artifact_keys import artifact_key
from flows.common.by_hand import by_hand
from flows.common.session import scheduled_day
from kline_core._secrets import masked


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
    text = f"{flow} {run.name} crashed: {what} Run it again:\n\n```\n{again(flow, run, deployment)}\n```\n"
    artifact = ArtifactCreate(
        key=artifact_key(flow, "to-do", run.parameters.get("calendar")),
        type="markdown",
        description="What to do about it",
        data=masked(text),
        flow_run_id=run.id,
    )
    # Not `create_artifact`, which also sends an event to the server that this process's own settings name.
    client.request("POST", "/artifacts/", json=artifact.model_dump(mode="json", exclude_unset=True))


def again(flow: str, run: FlowRun, deployment: DeploymentResponse | None) -> str:
    """The command that starts the flow with the same parameters, for the same day."""
    asked = dict(run.parameters)
    calendar = asked.get("calendar")
    if calendar is not None and asked.get("as_of") is None and run.expected_start_time is not None:
        # Without its day, the command would start a run for the day on which it is typed.
        asked["as_of"] = str(scheduled_day(calendar, run.expected_start_time))
    given: dict[str, Any] = {} if deployment is None else deployment.parameters
    words = ["prefect", "deployment", "run", f"{flow}/{by_hand(flow) if deployment is None else deployment.name}"]
    for name, value in sorted(asked.items()):
        if value != given.get(name):
            words += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)
