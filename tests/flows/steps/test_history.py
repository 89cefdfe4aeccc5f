"""What is removed of a server's history, and what is not, over a real server."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient

from flows.maintain import maintain
from flows.steps.history import PrunedHistory, remove_results, remove_runs
from kline_core.store.home import Home
from tests.support.homes import add_bars, market
from tests.support.postgres import binaries, postgres
from tests.support.prefect_server import Server, prefect_server, reporting_to
from tests.support.processes import poll

SOON = datetime.now(UTC) + timedelta(hours=12)
"""A moment before which every run of these tests has ended."""


@task(cache_policy=NO_CACHE)
def score(key: str) -> None:
    create_markdown_artifact("a page", key=key)


def ran(name: str, key: str) -> str:
    """A run of a flow of that name, with a task run and an artifact; its id."""
    state = flow(name=name)(lambda: score(key))(return_state=True)
    assert state.is_completed()
    return str(state.state_details.flow_run_id)


def count(server: Server, what: str, flow_run: str) -> int:
    return len(server.post(f"{what}/filter", flow_runs={"id": {"any_": [flow_run]}}))


def check_that_old_runs_go(server: Server) -> None:
    """Old runs go with all that is theirs; others, and what has not ended, stay."""
    old, newest = ran("pruned", "pruned-page"), ran("pruned", "pruned-page")
    other = ran("another", "another-page")
    waiting = server.post("flow_runs/", flow_id=server.get(f"flow_runs/{old}")["flow_id"], state={"type": "SCHEDULED"})
    at_work = server.post("flow_runs/", flow_id=server.get(f"flow_runs/{old}")["flow_id"], state={"type": "RUNNING"})
    # Records of task runs lag behind.
    poll(lambda: count(server, "task_runs", old) == 1, "task run")
    poll(lambda: count(server, "task_runs", newest) == 1, "task run")
    with SyncPrefectClient(server.url) as client:
        assert remove_runs(client, ["pruned"], SOON - timedelta(days=2)) == (0, 0, 0)
        assert remove_runs(client, ["pruned"], SOON) == (1, 1, 1)
        left = {run["id"] for run in server.post("flow_runs/filter")}
        assert left >= {newest, other, waiting["id"], at_work["id"]}
        assert old not in left
        assert [count(server, what, old) for what in ("task_runs", "artifacts")] == [0, 0]
        assert [count(server, what, newest) for what in ("task_runs", "artifacts")] == [1, 1]
        # Once a newer run shows the key, the older one goes too.
        ran("pruned", "pruned-page")
        assert remove_runs(client, ["pruned"], SOON) == (1, 1, 1)
        assert server.get("artifacts/pruned-page/latest")["data"] == "a page"


def test_old_runs_go_and_others_stay(reporting: Server) -> None:
    check_that_old_runs_go(reporting)


@pytest.mark.long
@pytest.mark.flows
@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
def test_old_runs_go_from_postgresql(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    with (
        postgres() as database,
        prefect_server(tmp_path / "prefect", PREFECT_API_DATABASE_CONNECTION_URL=database) as server,
        reporting_to(server),
    ):
        check_that_old_runs_go(server)


@pytest.mark.long
def test_pages_are_turned_until_nothing_is_left(reporting: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.steps.history._PAGE", 2)
    for key in ("leaf-one", "leaf-two", "leaf-three", "leaf-one", "leaf-one", "leaf-one"):
        ran("leaves", key)
    with SyncPrefectClient(reporting.url) as client:
        assert remove_runs(client, ["leaves"], SOON) == (3, 3, 3)
        assert remove_runs(client, ["leaves"], SOON) == (0, 0, 3)


@contextmanager
def written(server: Server) -> Iterator[sqlite3.Connection]:
    """The server's database, to make a run look old."""
    with closing(sqlite3.connect(server.folder / "prefect.db", timeout=60)) as connection:
        yield connection
        connection.commit()


def rows_of(connection: sqlite3.Connection, ids: list[str]) -> dict[str, int]:
    """Rows of each table of which one of the columns of ids holds one of these."""
    found: dict[str, int] = {}
    marks = ",".join("?" * len(ids))
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info('{table}')") if row[1].endswith("id")]
        for column in columns:
            count = connection.execute(f'SELECT count(*) FROM "{table}" WHERE "{column}" IN ({marks})', ids).fetchone()
            found[table] = found.get(table, 0) + int(count[0])
    return {table: count for table, count in found.items() if count}


@pytest.mark.long
def test_maintain_removes_what_is_older_than_the_days_to_keep(reporting: Server, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    add_bars(home, market(1, 10))
    old, young = (maintain(home.uri, return_state=True).state_details.flow_run_id for _ in range(2))
    for run in (old, young):
        poll(lambda run=run: count(reporting, "task_runs", str(run)) == 4, "task runs")
    poll(lambda: count(reporting, "logs", str(old)), "logs")
    with written(reporting) as connection:
        past = (datetime.now(UTC) - timedelta(days=91)).isoformat(sep=" ")
        connection.execute("UPDATE flow_run SET end_time = ? WHERE id IN (?, ?)", (past, str(old), str(young)))
        ids = [str(old), str(young)]
        ids += [run["id"] for run in reporting.post("task_runs/filter", flow_runs={"id": {"any_": ids}})]
        there = rows_of(connection, ids)
        assert len(ids) == 10
        assert {"flow_run", "task_run", "log", "artifact", "flow_run_state", "task_run_state"} <= there.keys()
    state = maintain(home.uri, history_keep_days=None, return_state=True)
    assert "history" not in state.message
    state = maintain(home.uri, history_keep_days=92, return_state=True)
    assert state.message.endswith("; no history to remove")
    state = maintain(home.uri, return_state=True)
    assert state.message.endswith("; removed 2 runs with 2 artifacts and 0 files of results from the history")
    assert not reporting.post("flow_runs/filter", flow_runs={"id": {"any_": [str(old), str(young)]}})
    poll(lambda: not reporting.post("logs/filter", logs={"flow_run_id": {"any_": [str(old)]}}), "end of the logs")
    with written(reporting) as connection:
        assert rows_of(connection, ids) == {}
    page = reporting.artifacts(str(state.state_details.flow_run_id))["maintain-report"]
    assert "kept: what ended since " in page


def test_old_files_of_results_go(tmp_path: Path) -> None:
    for name, days in (("old", 91), ("young", 89), ("below/old", 91)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
        past = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(tmp_path / name, (past, past))
    assert remove_results(tmp_path, datetime.now(UTC) - timedelta(days=90)) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["young"]
    assert remove_results(tmp_path / "nowhere", SOON) == 0


def test_what_was_kept_is_said() -> None:
    found = PrunedHistory(datetime(2026, 8, 29, tzinfo=UTC), 0, 0, 1, 0)
    assert found.text() == (
        "no history to remove\nkept: what ended since 2026-08-29; 1 older run with the newest artifacts of their keys"
    )
