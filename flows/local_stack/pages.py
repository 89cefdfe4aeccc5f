"""Pages of a flow run whose process is gone, which ended before they could say so."""

from typing import Any, Final

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import ArtifactSort

from flows.common import artifacts
from flows.common.states import WAITING

_WAITS: Final = "-waiting"
_ENDED: Final = "its run was stopped before the bars had arrived"


def end_pages(client: SyncPrefectClient, flow: str, run: FlowRun, state: State[Any]) -> None:
    """Let the board of an abandoned run, and the page on what it waited for, say what became of it.

    Args:
        client: Client of the home's server.
        flow: Name of its flow.
        run: The run, as it was found.
        state: Its state from now on.
    """
    if flow == "daily" and state.is_final():
        # Loaded for such a run alone, since it takes a tenth of what a start loads.
        from flows.artifacts.board_series import end_board

        end_board(client, run, state)
    if run.state_name == WAITING:
        _end_wait(client, run, state)


def _end_wait(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> None:
    found = client.read_artifacts(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_=_WAITS)),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    for each in found:
        page = f"## {_ENDED}\n\n{state.message}\n"
        artifacts.update(client, each.id, ArtifactUpdate(data=page, description=_ENDED))
