"""What a person has to do about a run that does not go on by itself, as an artifact of the run."""

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse

from flows.common import artifacts
from flows.common.artifact_keys import to_do_key
from flows.common.by_hand import CONTINUED, command_again
from flows.common.session import without_result
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
    given = {} if deployment is None else deployment.parameters
    name = None if deployment is None else deployment.name
    command = CONTINUED.join(command_again(flow, run, name, given, str(client.api_url).rstrip("/")))
    artifact = ArtifactCreate(
        key=to_do_key(flow, run.parameters),
        type="markdown",
        description="What to do about it",
        data=masked(f"{flow} {without_result(run.name)} crashed: {what} Run it again:\n\n```\n{command}\n```\n"),
        flow_run_id=run.id,
    )
    artifacts.create(client, artifact)
