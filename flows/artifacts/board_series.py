"""The series of boards of each market on the Prefect server: its newest artifact is the newest session's.

A run of all symbols has one artifact in it, made when it starts to work and updated until it ends. So a run that is
killed leaves one that says that it has no values yet, not that of the session before. Where its session has values
already, the artifact shows them, beneath a note on how the run is. Runs of chosen symbols have none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import httpx
import numpy as np
from prefect import Flow, State, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from flows.artifacts.board import (
    COMPLETED,
    Ended,
    Scope,
    Status,
    ended_without,
    under_way,
    with_note,
    without_note,
    without_values,
)
from flows.artifacts.links import artifact_link, run_link
from flows.artifacts.result_line import reason_of
from flows.common import artifacts
from flows.common.artifact_keys import artifact_key
from flows.common.session import scheduled_day
from kline_core._logging import one_line
from kline_core.bars.sessions import calendar_names, time_zone, trading_day
from kline_core.dates import parse_date
from kline_core.errors import DateError, KlineError

WORKS: Final = "is at work"
"""What a run does that does not wait."""
# Notes on an artifact. Texts of at most 500 characters: the server cuts off what is longer.
_SESSION: Final = "session"
_VALUES: Final = "values"
"""What its page of values says in one line; there if it has one."""
_VALUES_OF: Final = "values_of"
"""The run that they are of."""
_SCORED: Final = "scored"
"""How many symbols have a value there."""
_NOTE: Final = "note"
"""Length of what the page says of a later run."""
_BEFORE, _BEFORE_LINE = "before", "before_line"
"""The newest artifact with values of another session, and what it says in one line."""


def board_begins(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  Prefect's
    """Let the board say that a session is worked on, if the run is for one that is over."""
    _show_under_way(flow_run, state, WORKS, [])


def board_follows(what: str, does: str, artifact: UUID) -> None:
    """Let the board of the flow run that works say what it does, and link to an artifact that tells how far it is.

    Before that there is no link to such a one: the newest of its series is of the session before. A server that does
    not answer causes a warning in the log.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    assert run is not None, "it works"
    assert run.state is not None, "it works"
    try:
        _show_under_way(run, run.state, does, [artifact_link(what, artifact)])
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("the board may be out of date (%s)", one_line(error))


def _show_under_way(flow_run: FlowRun, state: State[Any], does: str, more: list[str]) -> None:
    scope = _board_of(flow_run)
    if scope is None:
        return
    since = state.timestamp.astimezone(time_zone(scope.calendar))
    with _series(scope, flow_run.id) as board:
        board.show_status(under_way(since, does, [run_link("The run", flow_run.id), *more]))


def board_ends(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  Prefect's
    """Let the board say that the run of a session ended without its values, and why."""
    with get_client(sync_client=True) as client:
        end_board(client, flow_run, state)


def end_board(client: SyncPrefectClient, flow_run: FlowRun, state: State[Any]) -> None:
    """The same by a client of any server."""
    scope = _board_of(flow_run)
    if scope is None:
        return
    # Prefect calls its hooks of a cancellation while it is under way.
    name = "cancelled" if state.is_cancelling() else (state.name or "ended").lower()
    ended = COMPLETED if state.is_completed() else name
    board = _Series(client, scope, flow_run.id)
    # With the reason, if it is one that was known by then.
    if not board.shows_values_of_run:
        board.show_status(ended_without(ended, reason_of(state), run_link("the run", flow_run.id)))


def show_values(scope: Scope, flow_run: UUID, page: str, line: str, scored: int, failed: bool) -> None:
    """Publish the page of a session that has values, unless the board is of a newer session.

    Nor if it shows more of the same session, and the run is about to fail, or has none: `board_ends` says so there.

    Args:
        scope: What the run is for.
        flow_run: The run.
        page: The page.
        line: The same in one line.
        scored: How many symbols have a value.
        failed: Whether the run is about to fail.
    """
    with _series(scope, flow_run) as board:
        board.show_values(page, line, scored, failed)


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
    return Scope(calendar, day)


def _board_of(flow_run: FlowRun) -> Scope | None:
    """What a run is for that has a board: one of all symbols."""
    return None if flow_run.parameters.get("symbols") is not None else scope_of(flow_run)


class _Series:
    """The boards of a market, as one run sees and continues them."""

    def __init__(self, client: SyncPrefectClient, scope: Scope, run: UUID) -> None:
        self._client, self._scope, self._run = client, scope, run
        self.key = artifact_key("board", None, scope.calendar)
        self._newest = _newest(client, self.key)
        self._notes: dict[str, str] = {} if self._newest is None else self._newest.metadata_ or {}

    @property
    def shows_values_of_run(self) -> bool:
        """Whether the newest board has the values of this run, and nothing is said of a later try."""
        return self._notes.get(_VALUES_OF) == str(self._run) and self._notes[_NOTE] == "0"

    def show_status(self, status: Status) -> None:
        """Say how the run is: above the values of its session if there are some, else on a page without."""
        kept = {name: it for name, it in self._notes.items() if name in (_VALUES, _VALUES_OF, _SCORED)}
        if self._newest is None or not self._has_values:
            line = f"{self._scope.name}: {status.line}"
            self._put(without_values(self._scope, status, self._before), line, {})
            return
        bare = without_note(str(self._newest.data), int(self._notes[_NOTE]))
        page, length = with_note(bare, status)
        self._put(page, f"{self._notes[_VALUES]}; the latest run {status.does}", kept | {_NOTE: str(length)})

    def show_values(self, page: str, line: str, scored: int, failed: bool) -> None:
        """Make a page of values the newest board, unless that has more of them, see the function `show_values`."""
        if self._has_values and (failed or not scored) and scored < int(self._notes[_SCORED]):
            return
        line = f"{self._scope.name}: {line}"
        self._put(page, line, {_VALUES: line, _VALUES_OF: str(self._run), _SCORED: str(scored), _NOTE: "0"})

    @property
    def _has_values(self) -> bool:
        """Whether the newest board has values of this session, of whichever run."""
        return _VALUES in self._notes and self._notes[_SESSION] == str(self._scope.session)

    @property
    def _before(self) -> Ended | None:
        """The newest board with values of another session."""
        if self._newest is not None and _VALUES in self._notes and not self._has_values:
            return Ended(self._notes[_VALUES], str(self._newest.id))
        line, artifact = self._notes.get(_BEFORE_LINE), self._notes.get(_BEFORE)
        return None if line is None or artifact is None else Ended(line, artifact)

    def _put(self, page: str, line: str, notes: dict[str, str]) -> None:
        """Make it the newest board, unless that is of a newer session."""
        if self._notes and np.datetime64(self._notes[_SESSION]) > self._scope.session:
            return
        notes |= {_SESSION: str(self._scope.session)}
        if (before := self._before) is not None:
            notes |= {_BEFORE: before.artifact, _BEFORE_LINE: before.line}
        if self._newest is not None and self._newest.flow_run_id == self._run:
            changed = ArtifactUpdate(data=page, description=line, metadata_=notes)
            artifacts.update(self._client, self._newest.id, changed)
            return
        made = ArtifactCreate(
            key=self.key, type="markdown", data=page, description=line, metadata_=notes, flow_run_id=self._run
        )
        artifacts.create(self._client, made)


@contextmanager
def _series(scope: Scope, run: UUID) -> Iterator[_Series]:
    with get_client(sync_client=True) as client:
        yield _Series(client, scope, run)


def _newest(client: SyncPrefectClient, key: str) -> Artifact | None:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.CREATED_DESC, limit=1
    )
    return found[0] if found else None
