"""The nightly run on the members of an index, from a vendor on loopback; the flow runs in this process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.daily import daily
from kline_core.cli.parser import main
from kline_core.sources import line
from kline_core.store.home import Home
from tests.support.prefect_server import Server
from tests.support.vendors import LAST, Vendor, bars_of, led

NAMES = ["600519.SH", "000001.SZ", "300750.SZ"]


@pytest.fixture(scope="module", autouse=True)
def api(reporting: Server) -> Server:
    return reporting


@pytest.fixture(params=["akshare", pytest.param("baostock", marks=pytest.mark.long)])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(line, "FIRST_WAIT", 0.0)
    vendor = Vendor({name: bars_of(name, 150, 1, {5: 1.0}) for name in NAMES}, members={"2020-01": NAMES})
    with led(monkeypatch, vendor, tmp_path / "cache") as lead:
        lead(request.param)
        yield f"{request.param}:csi300", vendor


@pytest.mark.long
def test_from_nothing_to_a_nightly_run(
    api: Server, source: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, vendor = source
    home, day = tmp_path / "home", str(LAST)
    # The first two of three commands; the third, `kline up --source`, starts what runs below.
    vendor.until = LAST - 2
    assert main(["--home", str(home), "fetch", text]) == 0
    assert main(["--home", str(home), "index"]) == 0
    assert "3 fetched" in capsys.readouterr().out
    vendor.until = LAST
    vendor.faults[NAMES[1]] = ["error"]
    state = daily(*(str(home), text, "XSHG"), samples=5, as_of=day, max_failed_share=1.0, threads=2, return_state=True)
    assert state.is_completed(), state.message
    shown = api.artifacts(str(state.state_details.flow_run_id))
    assert "6 new + 0 updated + 30 stored already + 0 rejected" in shown["daily-xshg-summary"]
    assert "session: 3 of 3 symbols have its bar" in shown["daily-xshg-summary"]
    assert {row["symbol"]: row["newest"] for row in json.loads(shown["daily-xshg-symbols"])} == dict.fromkeys(
        NAMES, day
    )
    # Another day, on which the vendor answers nobody: waited for, and then said.
    vendor.faults |= {name: ["error"] * 99 for name in NAMES}
    failed = daily(
        *(str(home), text, "XSHG"),
        samples=5,
        as_of=day,
        arrival_retries=1,
        arrival_retry_seconds=0,
        threads=2,
        return_state=True,
    )
    assert failed.is_failed()
    assert "nothing could be fetched: 000001.SZ: " in str(failed.message)
    assert Home(home).row_count("members") >= 3
