"""The board of a market over a real server: always of the newest session, whatever became of its run."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.backfill import backfill
from flows.daily import daily
from flows.steps import patterns
from kline_core.bars.sessions import sessions_until
from kline_core.errors import HomeError
from tests.support.prefect_server import Server
from tests.support.vendor_folder import deliver

SESSIONS = sessions_until(pd.Timestamp("2024-10-10").to_numpy().astype("datetime64[D]"), 90, "XNYS")
LAST, BEFORE = (str(day) for day in SESSIONS[[-1, -2]])


@pytest.fixture(scope="module", autouse=True)
def api(reporting: Server) -> Server:
    return reporting


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Bars of three symbols up to the last session, without those of S00002 on it."""
    folder = tmp_path / "delivered"
    folder.mkdir()
    deliver(folder, SESSIONS, LAST, {"S00002": BEFORE})
    return folder


@pytest.fixture
def run(tmp_path: Path, source: Path) -> Any:
    def ran(day: str, **parameters: Any) -> Any:
        given = {"samples": 5, "threads": 1, "max_failed_share": 1.0, "max_missing_share": 0.4, "arrival_retries": 0}
        given |= {"home": str(tmp_path / "home"), "source": str(source), "calendar": "XNYS", "as_of": day}
        return daily(**(given | parameters), return_state=True)

    return ran


@pytest.fixture(autouse=True)
def market(api: Server) -> None:
    """No boards of other tests."""
    for artifact in boards(api):
        api.delete(f"artifacts/{artifact['id']}")


def boards(api: Server) -> list[dict[str, Any]]:
    """Boards of the market, the newest first."""
    found: list[dict[str, Any]] = api.post(
        "artifacts/filter", artifacts={"key": {"any_": ["board-xnys"]}}, sort="CREATED_DESC"
    )
    return found


def run_of(state: Any) -> str:
    return str(state.state_details.flow_run_id)


@pytest.mark.long
def test_the_board_is_of_the_newest_session(api: Server, run: Any) -> None:
    first = run(BEFORE)
    assert first.is_completed(), first.message
    (board,) = boards(api)
    assert board["description"] == f"XNYS {BEFORE}: 3 of 3 scored"
    second = run(LAST)
    assert second.is_completed(), second.message
    board, _ = boards(api)
    said = f"XNYS {LAST}: 2 of 3 scored (1 no traded bar of the session)"
    assert board["flow_run_id"] == run_of(second)
    assert board["description"] == f"{said}; 1 alarm"
    page = board["data"]
    assert page.startswith(f"# {said}\n\n[run](../../runs/flow-run/{run_of(second)}) · [summary](")
    assert "### Alarms\n\n- 1 symbols without a bar of the session\n" in page
    assert f"### Movers since {BEFORE}\n" in page
    assert "### Values\n\n![Distribution of the values of" in page
    assert api.get(f"flow_runs/{run_of(second)}")["name"] == f"{said}; 1 alarm"
    for artifact in set(page.split("artifacts/artifact/")[1:]):
        assert api.get(f"artifacts/{artifact.partition(')')[0]}")["flow_run_id"] == run_of(second)


@pytest.mark.long
def test_nothing_takes_the_place_of_a_newer_session(api: Server, run: Any) -> None:
    assert run(LAST).is_completed()
    board = boards(api)
    # A session of before, some symbols of the same one, a day that is none, and one that is far ahead.
    for late in run(BEFORE), run(LAST, symbols="S00000"), run("2024-10-05"), run("2031-01-06"):
        assert boards(api) == board, late.message


@pytest.mark.long
def test_a_session_that_failed_is_the_newest_too(api: Server, run: Any) -> None:
    assert run(BEFORE).is_completed()
    (good,) = boards(api)
    failed = run(LAST, max_missing_share=0.0)
    assert failed.is_failed()
    board, before = boards(api)
    assert before == good
    why = f"1 of 3 symbols have no bar of the session of {LAST} on XNYS: S00002"
    assert board["description"].startswith(f"XNYS {LAST}: failed: {why}")
    assert board["data"].startswith(f"# XNYS {LAST}: failed\n\n````\n{why}")
    assert board["data"].endswith(f"[{good['description']}](../../artifacts/artifact/{good['id']})")
    assert api.get(f"flow_runs/{run_of(failed)}")["name"].startswith(f"XNYS {LAST}: {why[:40]}")
    # Once more: what was there before is still the one with values.
    again = run(LAST, source="/nowhere")
    assert again.is_failed()
    assert f"artifacts/artifact/{good['id']}" in boards(api)[0]["data"]
    assert run(LAST).is_completed()
    assert "2 of 3 scored" in boards(api)[0]["description"]


@pytest.mark.long
def test_values_of_a_run_that_fails_afterwards_stay(api: Server, run: Any) -> None:
    state = run(LAST, max_failed_share=0.0)
    assert state.is_failed()
    (board,) = boards(api)
    assert "### Coverage" in board["data"]
    assert f"### Alarms\n\n- {state.message.partition(':')[0]}" in board["data"]


@pytest.mark.long
def test_while_a_session_is_worked_on_the_board_says_so(api: Server, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(*_: Any, **__: Any) -> Any:
        seen.extend(boards(api))
        raise HomeError("no room")

    monkeypatch.setattr(patterns, "update_patterns", look)
    state = run(LAST)
    assert state.is_failed()
    assert seen[0]["data"].startswith(f"# XNYS {LAST}: no values yet\n\nBegun ")
    (board,) = boards(api)
    assert board["id"] == seen[0]["id"]
    assert "no room" in board["data"]


@pytest.mark.long
def test_runs_of_no_market_have_no_board(api: Server, run: Any, tmp_path: Path) -> None:
    assert run(None, calendar=None).is_completed()
    state = backfill(home=str(tmp_path / "home"), first=LAST, max_failed_share=1.0, threads=1, return_state=True)
    assert state.is_completed()
    name = api.get(f"flow_runs/{run_of(state)}")["name"]
    assert name.startswith(f"all symbols {LAST}: 2 symbols, 2 samples = ")
    assert boards(api) == []
