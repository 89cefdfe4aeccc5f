"""From nothing to a run of the nightly deployment on the members of an index: three commands, typed as in the README.

What is typed starts programs, which start programs: all of them find the vendor on loopback, by a module that Python
imports when it starts.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kline_core.store.home import Home
from tests.support.desk import kline_up
from tests.support.prefect_server import ROOT, Server
from tests.support.processes import poll
from tests.support.vendors import LAST, Vendor, bars_of, tcp_vendor

NAMES = ["600519.SH", "000001.SZ", "300750.SZ"]
LED = """
try:
    from baostock.common import contants
except ImportError:
    pass
else:
    contants.BAOSTOCK_SERVER_IP, contants.BAOSTOCK_SERVER_PORT = "127.0.0.1", {port}
"""


@pytest.mark.long
@pytest.mark.flows
@pytest.mark.slow
def test_from_nothing_to_a_nightly_run_by_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("baostock")
    vendor = Vendor({name: bars_of(name, 150, 1, {5: 1.0}) for name in NAMES}, members={"2020-01": NAMES})
    home = tmp_path / "home"

    def typed(*words: str) -> str:
        command = [sys.executable, "-m", "kline_core.cli", "--home", str(home), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    with tcp_vendor(vendor) as port:
        (tmp_path / "led").mkdir()
        (tmp_path / "led" / "sitecustomize.py").write_text(LED.format(port=port))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path / "led"), str(ROOT))))
        vendor.until = LAST - 2
        assert "3 fetched" in typed("fetch", "baostock:csi300")
        typed("index")
        vendor.until = LAST
        with kline_up(home, ROOT, "--source", "baostock:csi300") as (_, said):
            server = Server(said["api"], dict(os.environ), tmp_path)
            deployment = server.get("deployments/name/daily/a-share")
            assert deployment["parameters"]["source"] == "baostock:csi300"
            # By hand: the vendor's last session was years ago, so that the schedule is paused.
            asked: dict[str, Any] = {"as_of": str(LAST), "samples": 5, "max_failed_share": 1.0}
            run = server.post(f"deployments/{deployment['id']}/create_flow_run", parameters=asked)["id"]

            def ended() -> dict[str, Any] | None:
                found: dict[str, Any] = server.get(f"flow_runs/{run}")
                return found if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED") else None

            state = poll(ended, "end of the run", 180)
            assert state["state_type"] == "COMPLETED", state["state"]["message"]
            shown = server.artifacts(run)
            assert "6 new + 0 updated + 30 stored already + 0 rejected" in shown["daily-xshg-summary"]
    rows = Home(home).read("factors", ["symbol", "date"]).to_pandas()
    assert rows.groupby("symbol").size().to_dict() == dict.fromkeys(NAMES, 5)
    assert str(rows["date"].max()) == str(LAST)
