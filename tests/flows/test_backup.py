"""A backup of a home whose `kline up` works, and `kline up` on the backup: its history, and its runs, go on."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kline_core.api.backup import back_up
from kline_core.api.data import verify
from kline_core.store.home import Home
from tests.support.command import ask
from tests.support.desk import kline_up
from tests.support.homes import make_home, market
from tests.support.prefect_server import Server
from tests.support.processes import poll
from tests.support.receivers import webhook_receiver

pytestmark = [pytest.mark.long, pytest.mark.flows, pytest.mark.cluster]


def ended(server: Server, flow_run: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        run: dict[str, Any] = server.get(f"flow_runs/{flow_run}")
        return run if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED") else None

    return poll(found, f"end of flow run {flow_run}", 300)


def maintained(server: Server) -> dict[str, Any]:
    weekly = server.get("deployments/name/maintain/weekly")["id"]
    return ended(server, server.post(f"deployments/{weekly}/create_flow_run")["id"])


def test_kline_up_goes_on_with_a_backup(tables: Path, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", market(2, 60))
    # As an earlier version left it, open to all.
    (tmp_path / "home" / "prefect").mkdir(mode=0o755)
    shutil.copy(tables, tmp_path / "home" / "prefect")
    with kline_up(tmp_path / "home", tmp_path) as (_, said):
        server = Server(said["api"], {}, tmp_path)
        first = maintained(server)
        assert first["state_type"] == "COMPLETED", first["state"]
        evaluate = server.get("deployments/name/evaluate/weekly")["id"]
        server.patch(f"deployments/{evaluate}", paused=True)
        bars = home.read("bars").num_rows
        made = back_up(home, tmp_path / "backup")
        assert made.database
        # All that server and runs have written is its owner's alone.
        assert (tmp_path / "home" / "prefect").stat().st_mode & 0o777 == 0o700
    assert verify(tmp_path / "backup").ok
    # It stands in for the home.
    shutil.rmtree(tmp_path / "home")
    results = tmp_path / "backup" / "prefect" / "storage"
    results.mkdir()
    for name, days in (("old", 91), ("young", 1)):
        (results / name).write_text("")
        os.utime(results / name, times=(time.time(), (datetime.now(UTC) - timedelta(days=days)).timestamp()))
    with kline_up(tmp_path / "backup", tmp_path) as (_, said):
        server = Server(said["api"], {}, tmp_path)
        assert said["notes"][0].startswith(f"this home comes from {tmp_path / 'home'}: ")
        assert "for messages that came along are ACTIVE" in said["notes"][0]
        assert server.get(f"flow_runs/{first['id']}")["name"] == first["name"]
        assert server.get("deployments/name/evaluate/weekly")["paused"]
        again = maintained(server)
        assert again["state_type"] == "COMPLETED", again["state"]
        assert again["state"]["message"].endswith(
            "removed 0 runs with 0 artifacts and 1 file of results from the history"
        )
        assert [path.name for path in results.iterdir() if path.name in ("old", "young")] == ["young"]
    assert Home(tmp_path / "backup").read("bars").num_rows == bars


def test_a_backup_beside_its_home_neither_works_nor_sends_on_its_own(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, copy = tmp_path / "home", tmp_path / "backup"
    made = make_home(home, market(2, 60))
    (home / "prefect").mkdir(mode=0o700)
    shutil.copy(tables, home / "prefect")
    with webhook_receiver() as received:
        with kline_up(home, tmp_path) as (_, said):
            server = Server(said["api"], {}, tmp_path)
            assert not any("this home comes from" in note for note in said["notes"])
            assert ask(capsys, "--home", str(home), "notify", "--webhook", received.url)[0] == 0
            due = {"type": "SCHEDULED", "state_details": {"scheduled_time": str(datetime.now(UTC) + timedelta(days=1))}}
            flow = server.post("flows/", name="daily")["id"]
            overdue = server.post("flow_runs/", flow_id=flow, name="overdue", parameters={}, state=due)["id"]
            assert active(server)
            back_up(made, copy)
        # As days later.
        with closing(sqlite3.connect(copy / "prefect" / "prefect.db")) as database:
            assert database.execute("UPDATE flow_run SET next_scheduled_start_time = '2024-01-02 00:00:00'").rowcount
            database.commit()
        with kline_up(copy, tmp_path) as (_, said):
            server = Server(said["api"], {}, tmp_path)
            assert said["notes"][0].startswith(f"this home comes from {home}, which is still there: ")
            assert "1 automation for messages that came along are PAUSED" in said["notes"][0]
            poll(lambda: server.get(f"flow_runs/{overdue}")["state"]["name"] == "Late", "a late run")
            assert [each["enabled"] for each in server.post("automations/filter")] == [False]
            assert active(server) == []
            # Nor has a run begun that was due.
            states = server.post("flow_runs/filter", flow_runs={"deployment_id": {"is_null_": False}})
            assert {each["state_type"] for each in states} <= {"SCHEDULED"}
            # As before, once somebody asks for it.
            assert ask(capsys, "--home", str(copy), "notify", "--webhook", received.url)[0] == 0
            failed = server.post("flow_runs/", flow_id=flow, name="failed", parameters={}, state={"type": "RUNNING"})
            server.post(f"flow_runs/{failed['id']}/set_state", state={"type": "FAILED"}, force=True)
            poll(lambda: received.messages, "message", 120)
            assert [each["run"] for each in received.messages] == ["failed"]
        # The place is its own now.
        with kline_up(copy, tmp_path) as (_, said):
            assert not any("this home comes from" in note for note in said["notes"])
            assert [each["enabled"] for each in Server(said["api"], {}, tmp_path).post("automations/filter")] == [True]


def active(server: Server) -> list[str]:
    found = server.post("deployments/filter")
    return [each["name"] for each in found if any(schedule["active"] for schedule in each["schedules"])]
