"""A backup of a home whose `kline up` works, and `kline up` on the backup: its history, and its runs, go on."""

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kline_core.api.backup import back_up
from kline_core.api.data import verify
from kline_core.store.home import Home
from tests.support.desk import kline_up
from tests.support.homes import make_home, market
from tests.support.prefect_server import Server
from tests.support.processes import poll

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
        made = back_up(home, tmp_path / "backup")
        assert made.database
        # All that server and runs have written is its owner's alone.
        assert (tmp_path / "home" / "prefect").stat().st_mode & 0o777 == 0o700
    assert verify(tmp_path / "backup").ok
    results = tmp_path / "backup" / "prefect" / "storage"
    results.mkdir()
    for name, days in (("old", 91), ("young", 1)):
        (results / name).write_text("")
        os.utime(results / name, times=(time.time(), (datetime.now(UTC) - timedelta(days=days)).timestamp()))
    with kline_up(tmp_path / "backup", tmp_path) as (_, said):
        server = Server(said["api"], {}, tmp_path)
        assert server.get(f"flow_runs/{first['id']}")["name"] == first["name"]
        assert server.get("deployments/name/evaluate/weekly")["paused"]
        again = maintained(server)
        assert again["state_type"] == "COMPLETED", again["state"]
        assert again["state"]["message"].endswith(
            "removed 0 runs with 0 artifacts and 1 file of results from the history"
        )
        assert [path.name for path in results.iterdir() if path.name in ("old", "young")] == ["young"]
    assert Home(tmp_path / "backup").read("bars").num_rows == home.read("bars").num_rows
