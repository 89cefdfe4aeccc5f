"""The board of a market over a real server: always of the newest session, whatever became of its run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from prefect import runtime

import flows.daily as daily_module
from flows.backfill import backfill
from flows.daily import daily
from flows.steps import patterns, refresh
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
    # A session of before, chosen symbols of the same one, a day that is none, and one that is far ahead.
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
    assert "; it is at work. [The run](../../runs/flow-run/" in seen[0]["data"]
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


@pytest.mark.long
def test_a_later_run_takes_nothing_from_a_session_with_values(
    api: Server, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(LAST).is_completed()
    (good,) = boards(api)
    title, rest = good["data"].split("\n\n", 1)
    seen, looked = [], patterns.update_patterns

    def look(*given: Any, **more: Any) -> Any:
        seen.extend(boards(api)[:1])
        return looked(*given, **more)

    monkeypatch.setattr(patterns, "update_patterns", look)
    # It waits once, and then fails; the next one has all that it needs.
    late = run(LAST, max_missing_share=0.0, arrival_retries=1, arrival_retry_seconds=0.1)
    assert late.is_failed()
    board = boards(api)[0]
    assert board["flow_run_id"] == run_of(late)
    assert board["description"] == f"{good['description']}; the latest run failed"
    assert board["data"].startswith(f"{title}\n\n**The latest run failed; the values below are from before it.**\n\n")
    assert f"runs/flow-run/{run_of(late)}" in board["data"]
    assert board["data"].endswith(rest)
    again = run(LAST)
    assert again.is_completed()
    assert seen[-1]["data"].startswith(
        f"{title}\n\n**The latest run is at work; the values below are from before it.**"
    )
    assert f"runs/flow-run/{run_of(again)}" in seen[-1]["data"]
    board = boards(api)[0]
    assert (board["flow_run_id"], board["description"]) == (run_of(again), good["description"])
    assert board["data"].startswith(f"{title}\n\n[run](../../runs/flow-run/{run_of(again)})")


@pytest.mark.long
def test_a_run_that_waits_leads_to_its_own_wait(api: Server, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(BEFORE).is_completed()
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(refresh, "time", SimpleNamespace(sleep=lambda _: seen.extend(boards(api)[:1])))
    state = run(LAST, max_missing_share=0.0, arrival_retries=1)
    assert state.is_failed()
    (page,) = (board["data"] for board in seen)
    assert page.startswith(f"# XNYS {LAST}: no values yet\n\nBegun ")
    wait = page.partition("[what it waits for](../../artifacts/artifact/")[2].partition(")")[0]
    artifact = api.get(f"artifacts/{wait}")
    assert (artifact["key"], artifact["flow_run_id"]) == ("daily-xnys-waiting", run_of(state))
    assert f"it waits for bars. [The run](../../runs/flow-run/{run_of(state)}) or [what it waits for](" in page
    # Besides it, there is a link to the board of the session before, which says so.
    assert page.count("artifacts/") == 2


@pytest.mark.long
def test_a_run_of_chosen_symbols_is_none_of_the_market(api: Server, run: Any) -> None:
    # The bar of another symbol has not come.
    state = run(LAST, symbols="S00000,S00001", max_missing_share=0.0)
    assert state.name == "Completed", state.message
    assert api.get(f"flow_runs/{run_of(state)}")["name"] == f"XNYS {LAST} 2 chosen symbols: 2 of 2 scored"
    keys = api.artifacts(run_of(state)).keys()
    assert {"daily-xnys-chosen-summary", "daily-xnys-chosen-symbols", "daily-xnys-chosen-progress"} < keys
    assert all(key.startswith("daily-xnys-chosen-") for key in keys)
    assert boards(api) == []
    late = run(LAST, symbols="S00000,S00002", max_missing_share=0.0)
    assert late.is_failed()
    assert late.message.startswith(f"1 of 2 chosen symbols have no bar of the session of {LAST} on XNYS: S00002")
    left = api.artifacts(run_of(late))
    assert left.keys() == {"daily-xnys-chosen-to-do"}
    assert left["daily-xnys-chosen-to-do"].startswith(f"daily XNYS {LAST} 2 chosen symbols failed: 1 of 2 chosen")
    unknown = run(LAST, symbols="NOPE", arrival_retries=5, arrival_retry_seconds=3_600)
    assert "'NOPE' has no bars" in unknown.message


@pytest.mark.long
def test_no_name_of_a_failed_run_reads_as_a_success(api: Server, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names, settle = [], daily_module.settled

    def named(state: Any) -> Any:
        names.append(api.get(f"flow_runs/{runtime.flow_run.id}")["name"])
        return settle(state)

    monkeypatch.setattr(daily_module, "settled", named)
    # Not even where no hook comes to give the reason.
    monkeypatch.setattr(daily, "on_failure_hooks", [])
    state = run(LAST, max_failed_share=0.0)
    assert state.is_failed()
    assert names == [f"XNYS {LAST}"]
    name = api.get(f"flow_runs/{run_of(state)}")["name"]
    assert name.startswith(f"XNYS {LAST}: {state.message[:30]}")
    assert "scored" not in name
