"""The step that removes what a Prefect server keeps of old flow runs, and old files of results.

Through the server's API, so that it works with SQLite, with PostgreSQL and with a server elsewhere. Prefect's own
service for that (`PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED`) takes the runs of all projects on the server, and with
them the newest artifact of each key; events, which it removes by default, are left to it.

A run goes if it ended before the days to keep, with its task runs, states, logs and artifacts. One that made the
newest artifact of a key stays, since that is what the key's page shows. What is scheduled or under way has not ended.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterFlowRunId,
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from kline_core._text import counted

# Runs asked for at a time; each has a dozen artifacts.
_PAGE = 20


@dataclass(frozen=True, slots=True)
class PrunedHistory:
    """What was removed of the history of runs."""

    before: datetime
    """Runs that ended before this moment were looked at."""
    runs: int
    artifacts: int
    kept: int
    """Runs that stay although they are old, since they show the newest artifact of a key."""
    results: int
    """Files of results."""

    @property
    def headline(self) -> str:
        """The result in one line."""
        if not (self.runs or self.results):
            return "no history to remove"
        return (
            f"removed {counted(self.runs, 'run')} with {counted(self.artifacts, 'artifact')} and "
            f"{counted(self.results, 'file')} of results from the history"
        )

    def text(self) -> str:
        """The result as text: the headline, and what it was about."""
        kept = f"; {counted(self.kept, 'older run')} with the newest artifacts of their keys" if self.kept else ""
        return f"{self.headline}\nkept: what ended since {self.before:%Y-%m-%d}{kept}"


@task(task_run_name="prune history", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def prune_history(flows: Sequence[str], keep_days: int, home: Path | None) -> PrunedHistory:
    """Remove the history of runs of these flows from before the days to keep.

    `home`: folder of the home. Files of results go if they lie in its folder `prefect`; elsewhere other projects may
    have theirs beside them.
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    with get_client(sync_client=True) as client:
        runs, artifacts, kept = remove_runs(client, flows, before)
    place = get_current_settings().results.local_storage_path
    own = home is not None and place.resolve().is_relative_to((home / "prefect").resolve())
    return PrunedHistory(before, runs, artifacts, kept, remove_results(place, before) if own else 0)


def remove_runs(client: SyncPrefectClient, flows: Sequence[str], before: datetime) -> tuple[int, int, int]:
    """Remove the runs of these flows that ended before a moment, page by page.

    Returns the number of runs and artifacts that were removed, and of runs that stay for an artifact. What was removed
    before this is cut off is gone as a whole: of a run the artifacts go first, which nothing else would find.
    """
    old = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime.model_validate({"before_": before}),
    )
    named = FlowFilter(name=FlowFilterName(any_=list(flows)))
    runs = artifacts = kept = 0
    while page := client.read_flow_runs(
        flow_filter=named, flow_run_filter=old, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=kept
    ):
        shown = _with_newest_artifacts(client, [run.id for run in page])
        kept += len(shown)
        for run in page:
            if run.id not in shown:
                artifacts += _remove_artifacts(client, run.id)
                # Another clean-up may have removed it.
                with suppress(ObjectNotFound):
                    client.delete_flow_run(run.id)
                    runs += 1
    return runs, artifacts, kept


def _with_newest_artifacts(client: SyncPrefectClient, runs: list[UUID]) -> set[UUID]:
    theirs = ArtifactCollectionFilter(flow_run_id=ArtifactCollectionFilterFlowRunId(any_=runs))
    newest = client.read_latest_artifacts(artifact_filter=theirs)
    return {artifact.flow_run_id for artifact in newest if artifact.flow_run_id is not None}


def _remove_artifacts(client: SyncPrefectClient, run: UUID) -> int:
    theirs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    removed = 0
    while found := client.read_artifacts(artifact_filter=theirs):
        for artifact in found:
            with suppress(ObjectNotFound):
                client.delete_artifact(artifact.id)
        removed += len(found)
    return removed


def remove_results(folder: Path, before: datetime) -> int:
    """Remove the files of results in a folder that were written before a moment, and return how many there were."""
    removed = 0
    for file in folder.rglob("*"):
        # A run may remove its own, or another clean-up.
        with suppress(FileNotFoundError):
            if file.is_file() and file.stat().st_mtime < before.timestamp():
                file.unlink()
                removed += 1
    return removed
