"""Which board takes the place of which, without a server."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from prefect import State
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Completed, Failed, Running

from flows.artifacts import board_series
from flows.artifacts.board import Scope
from flows.artifacts.board_series import board_begins, board_ends, board_follows, scope_of, show_values
from flows.daily import daily

DAY, BEFORE = "2024-10-10", "2024-10-09"
GOOD = f"# XNYS {DAY}: 3 of 3 scored\n\n[run](x)\n\n### Alarms\n\nNone."


class Boards:
    """A server that keeps artifacts, the newest last."""

    def __init__(self) -> None:
        self.all: list[SimpleNamespace] = []

    def __enter__(self) -> "Boards":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_artifacts(self, **_: Any) -> list[SimpleNamespace]:
        return self.all[-1:]

    def request(self, method: str, path: str, json: dict[str, Any], path_params: dict[str, UUID] | None = None) -> None:
        assert path.startswith("/artifacts/")
        if method == "POST":
            empty: dict[str, Any] = dict.fromkeys(ArtifactCreate.model_fields)
            made = empty | json | {"id": uuid4(), "flow_run_id": UUID(json["flow_run_id"])}
            self.all.append(SimpleNamespace(**made))
            return
        assert path_params is not None
        (there,) = [each for each in self.all if each.id == path_params["id"]]
        vars(there).update(json)

    @property
    def newest(self) -> SimpleNamespace:
        return self.all[-1]


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch) -> Boards:
    made = Boards()
    monkeypatch.setattr(board_series, "get_client", lambda **_: made)
    return made


def run_for(day: str = DAY, **asked: Any) -> FlowRun:
    return FlowRun(flow_id=uuid4(), parameters={"calendar": "XNYS", "as_of": day} | asked, state=Running())


def begins(run: FlowRun) -> None:
    board_begins(daily, run, Running(timestamp=datetime(2024, 10, 10, 22, 30, tzinfo=UTC)))


def ends(run: FlowRun, state: State[Any]) -> None:
    board_ends(daily, run, state)


def scores(run: FlowRun, page: str = GOOD, line: str = "3 of 3 scored", scored: int = 3, failed: bool = False) -> None:
    scope = scope_of(run)
    assert scope is not None
    show_values(scope, run.id, page, line, scored, failed)


def follows(monkeypatch: pytest.MonkeyPatch, run: FlowRun, what: str, does: str) -> UUID:
    monkeypatch.setattr(board_series.FlowRunContext, "get", lambda: SimpleNamespace(flow_run=run))
    artifact = uuid4()
    board_follows(what, does, artifact)
    return artifact


def a_good_board(run: FlowRun) -> None:
    begins(run)
    scores(run)
    ends(run, Completed())


def test_a_run_has_one_board_from_its_begin_to_its_end(boards: Boards) -> None:
    run = run_for()
    begins(run)
    assert boards.newest.data.startswith(f"# XNYS {DAY}: no values yet\n\nBegun 2024-10-10 18:30 EDT; it is at work. ")
    scores(run)
    ends(run, Completed())
    (board,) = boards.all
    assert (board.data, board.description) == (GOOD, f"XNYS {DAY}: 3 of 3 scored")


@pytest.mark.parametrize("again", [False, True], ids=["another run", "the same run, tried again"])
@pytest.mark.parametrize(
    ("state", "says"),
    [
        (Failed(message="no bars"), "failed"),
        (Cancelling(message="on request"), "was cancelled"),
        (Completed(message="nothing to do"), "completed without values"),
    ],
)
def test_a_session_with_values_keeps_them_whatever_becomes_of_a_later_run(
    boards: Boards, monkeypatch: pytest.MonkeyPatch, state: State[Any], says: str, again: bool
) -> None:
    first = run_for()
    a_good_board(first)
    later = first if again else run_for()
    begins(later)
    for does in "waits for bars", "is at work":
        follows(monkeypatch, later, "its own", does)
        assert boards.newest.description == f"XNYS {DAY}: 3 of 3 scored; the latest run {does}"
    ends(later, state)
    board = boards.newest
    assert board.description == f"XNYS {DAY}: 3 of 3 scored; the latest run {says}"
    title, note, *_ = board.data.split("\n\n")
    assert title == GOOD.partition("\n\n")[0]
    assert note == f"**The latest run {says}; the values below are from before it.**"
    assert f"](../../runs/flow-run/{later.id})" in board.data
    assert state.message in board.data
    assert board.data.endswith(GOOD.partition("\n\n")[2])
    assert board.data.count("The latest run") == 1
    # The board of the earlier run stays as it was.
    assert again or boards.all[0].data == GOOD
    third = run_for()
    begins(third)
    scores(third, page="# better")
    ends(third, Completed())
    assert (boards.newest.data, boards.newest.description) == ("# better", f"XNYS {DAY}: 3 of 3 scored")


def test_a_run_that_fails_with_fewer_values_takes_no_place(boards: Boards) -> None:
    a_good_board(run_for())
    later = run_for()
    begins(later)
    scores(later, page="# poor", line="1 of 3 scored", scored=1, failed=True)
    ends(later, Failed(message="2 of 3 symbols broke"))
    assert "# poor" not in boards.newest.data
    assert "2 of 3 symbols broke" in boards.newest.data
    assert boards.newest.description == f"XNYS {DAY}: 3 of 3 scored; the latest run failed"
    # One that completes has what holds now, be it less.
    corrected = run_for()
    begins(corrected)
    scores(corrected, page="# corrected", line="2 of 3 scored", scored=2)
    ends(corrected, Completed())
    assert boards.newest.data == "# corrected"
    none = run_for()
    scores(none, page="# none", line="0 of 3 scored", scored=0)
    assert boards.newest.data == "# corrected"


def test_a_new_session_begins_without_values_and_leads_to_those_before(boards: Boards) -> None:
    a_good_board(run_for(BEFORE))
    good = boards.newest.id
    for run in run_for(), run_for():
        begins(run)
        ends(run, Failed(message="no bars"))
        assert boards.newest.data.startswith(f"# XNYS {DAY}: failed\n\n````\nno bars\n````")
        assert f"artifacts/artifact/{good}" in boards.newest.data
    a_good_board(run_for())
    newest = dict(vars(boards.newest))
    late = run_for(BEFORE)
    a_good_board(late)
    ends(late, Failed(message="no bars"))
    assert vars(boards.newest) == newest


def test_chosen_symbols_have_no_board(boards: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_for(symbols="AAPL,MSFT")
    begins(run)
    follows(monkeypatch, run, "its progress", "is at work")
    ends(run, Failed(message="no bars"))
    assert boards.all == []
    # But their session.
    assert scope_of(run) == Scope("XNYS", np.datetime64(DAY))


def test_a_run_that_waits_leads_to_nothing_of_the_session_before(
    boards: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_for()
    begins(run)
    assert "artifacts/" not in boards.newest.data
    wait = follows(monkeypatch, run, "what it waits for", "waits for bars")
    link = f"[The run](../../runs/flow-run/{run.id}) or [what it waits for](../../artifacts/artifact/{wait}) says"
    assert f"it waits for bars. {link}" in boards.newest.data
