"""The same flow, reporting to a Prefect server on PostgreSQL."""

from pathlib import Path

import pytest

from flows.daily import daily
from tests.support.postgres import binaries, postgres
from tests.support.prefect_server import SYMBOLS, prefect_server, reporting_to

pytestmark = [
    pytest.mark.flows,
    pytest.mark.slow,
    pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed"),
]


@pytest.mark.long
def test_a_run_is_recorded_in_postgresql(bar_files: Path, tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    with (
        postgres() as database,
        prefect_server(tmp_path / "prefect", PREFECT_API_DATABASE_CONNECTION_URL=database) as server,
    ):
        with reporting_to(server):
            state = daily(str(tmp_path / "home"), str(bar_files), samples=20, threads=2, return_state=True)
        assert state.is_completed(), state.message
        flow_run = str(state.state_details.flow_run_id)
        assert set(server.task_runs(flow_run, 6)) == {"refresh bars", "extend patterns", "publish summary", *SYMBOLS}
        assert server.artifacts(flow_run)["daily-progress"] == 100.0
    assert not list((tmp_path / "prefect").glob("*.db"))
