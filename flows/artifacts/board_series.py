"""The series of boards of each market on the Prefect server: its newest artifact is the newest session's.

A run has one artifact in it, made when it starts to work and updated when it ends. So a run that is killed leaves one
that says that it has no values yet, not that of the session before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
from prefect import Flow, State
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import ArtifactSort

from flows.artifacts.board import COMPLETED, WHOLE, Ended, Scope, under_way, without_values
from flows.artifacts.links import run_link, series_link
from flows.artifacts.result_line import reason_of
from flows.common.artifact_keys import artifact_key
from flows.common.parameters import symbol_list
from flows.common.session import scheduled_day
from kline_core.bars.sessions import calendar_names, time_zone, trading_day
from kline_core.dates import parse_date
from kline_core.errors import DateError, KlineError

_ENDED: Final = "ended"
"""Note on an artifact whose page has values."""


def board_begins(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  Prefect's
    """Let the board say that a session is worked on, if the run is for one that is over."""
    scope = scope_of(flow_run)
    if scope is None:
        return
    since = state.timestamp.astimezone(time_zone(scope.calendar))
    progress = series_link("its progress", artifact_key("daily", "progress", scope.calendar))
    with _series(scope, flow_run.id) as board:
        run = run_link("the run", flow_run.id)
        board.show(under_way(scope, since, f"{run}, or {progress},", board.before), "no values yet")


def board_ends(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  Prefect's
    """Let the board say that the run of a session ended without its values, and why."""
    scope = scope_of(flow_run)
    if scope is None:
        return
    # Prefect calls its hooks of a cancellation while it is under way.
    name = "cancelled" if state.is_cancelling() else (state.name or "ended").lower()
    reason, ended = reason_of(state), COMPLETED if state.is_completed() else name
    with _series(scope, flow_run.id) as board:
        if board.has_values_of_run:
            # With the reason, if it is one that was known by then.
            return
        page = without_values(scope, ended, reason, run_link("the run", flow_run.id), board.before)
        board.show(page, f"{ended}: {reason}")


def scope_of(flow_run: FlowRun) -> Scope | None:
    """What a run is for; None if it names no calendar, or a day on which there is nothing to do, or not yet.

    A day past the end of the calendar is one on which there may be something.
    """
    asked = flow_run.parameters
    calendar = asked.get("calendar")
    # What does not fit was refused; there is no session then.
    if calendar not in calendar_names():
        return None
    as_of, due = asked.get("as_of"), flow_run.expected_start_time
    now = datetime.now(UTC)
    try:
        day = scheduled_day(calendar, due or now) if as_of is None else parse_date(str(as_of), "as_of")
        chosen = symbol_list(asked.get("symbols"))
    except KlineError:
        return None
    try:
        found = trading_day(day, calendar)
    except DateError:
        # Not one to come: its board would stand in the way of every session until then.
        if day > scheduled_day(calendar, now):
            return None
    else:
        if found.closes is None or now < found.closes:
            return None
    return Scope(calendar, day, WHOLE if chosen is None else len(chosen))


class _Series:
    """The boards of a market, as one run sees and continues them."""

    def __init__(self, client: SyncPrefectClient, scope: Scope, run: UUID) -> None:
        self._client, self._scope, self._run = client, scope, run
        self.key = artifact_key("board", None, scope.calendar)
        self._newest = _newest(client, self.key)
        self._notes: dict[str, str] = {} if self._newest is None else self._newest.metadata_ or {}

    @property
    def _is_own(self) -> bool:
        return self._newest is not None and self._newest.flow_run_id == self._run

    @property
    def has_values_of_run(self) -> bool:
        """Whether the newest board has the values of this run."""
        return self._is_own and self._notes.get("state") == _ENDED

    @property
    def before(self) -> Ended | None:
        """The newest board with values but this run's."""
        if not self._is_own and self._newest is not None and self._notes.get("state") == _ENDED:
            return Ended(self._newest.description or "", str(self._newest.id))
        line, artifact = self._notes.get("before_line"), self._notes.get("before")
        return None if line is None or artifact is None else Ended(line, artifact)

    def show(self, page: str, line: str, state: str = "") -> None:
        """Make it the newest board, unless the newest one is of a newer session or of more symbols."""
        notes = self._notes
        if notes and not self._scope.replaces(
            Scope(self._scope.calendar, np.datetime64(notes["session"]), int(notes["symbols"]))
        ):
            return
        made = {"session": str(self._scope.session), "symbols": str(self._scope.symbols), "state": state}
        if (before := self.before) is not None:
            made |= {"before": before.artifact, "before_line": before.line}
        description = f"{self._scope.name}: {line}"
        if self._is_own and self._newest is not None:
            self._client.update_artifact(
                self._newest.id, ArtifactUpdate(data=page, description=description, metadata_=made)
            )
            return
        self._client.create_artifact(
            ArtifactCreate(
                key=self.key,
                type="markdown",
                data=page,
                description=description,
                metadata_=made,
                flow_run_id=self._run,
            )
        )


def show_values(scope: Scope, flow_run: UUID, page: str, line: str) -> None:
    """Publish the page of a session that has values, unless the board is of a newer session or of more symbols."""
    with _series(scope, flow_run) as board:
        board.show(page, line, _ENDED)


@contextmanager
def _series(scope: Scope, run: UUID) -> Iterator[_Series]:
    with get_client(sync_client=True) as client:
        yield _Series(client, scope, run)


def _newest(client: SyncPrefectClient, key: str) -> Artifact | None:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.CREATED_DESC, limit=1
    )
    return found[0] if found else None
