"""Bars that are delivered while flow runs work, against a real server: no night fails for it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import flows.backfill
import flows.daily
import kline_core as kl
from flows.backfill import backfill
from flows.daily import daily
from kline_core.encoder.synthetic import random_walk
from kline_core.store.home import Home
from tests.support.prefect_server import Server
from tests.support.processes import poll, process

BARS, DAYS = 400, 700
FRAME = random_walk(3, DAYS, seed=1).to_frame(prefix="S")
PLACE = FRAME.groupby("symbol").cumcount()
RUNS = {
    "daily": (daily, {"samples": 10}),
    "backfill": (backfill, {"symbols": "S00001"}),
}


@pytest.fixture(scope="module", autouse=True)
def api(reporting: Server) -> Server:
    return reporting


@pytest.fixture
def home(tmp_path: Path) -> Path:
    kl.ingest(tmp_path / "home", FRAME[PLACE < BARS])
    return tmp_path / "home"


def one_day_more(home: Path) -> None:
    kl.ingest(home, FRAME[PLACE == BARS])


def another_history(home: Path) -> None:
    """The vendor delivers all bars of a symbol again, and others."""
    rows = FRAME[(PLACE < BARS) & (FRAME["symbol"] == "S00001")].copy()
    rows[["open", "high", "low", "close"]] *= 2 - PLACE[rows.index].to_numpy()[:, None] / BARS
    assert kl.ingest(home, rows).updated


def values(home: Path) -> list[tuple[Any, ...]]:
    rows = Home(home).read("factors", ["symbol", "date", "value", "status", "reason", "history"])
    return sorted(zip(*rows.to_pydict().values(), strict=True), key=str)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "deliver"),
    [
        ("daily", one_day_more),
        pytest.param("daily", another_history, marks=pytest.mark.long),
        pytest.param("backfill", one_day_more, marks=pytest.mark.long),
        pytest.param("backfill", another_history, marks=pytest.mark.long),
    ],
)
def test_a_delivery_after_the_patterns_are_extended(
    api: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, deliver: Any
) -> None:
    run, asked = RUNS[kind]
    asked = {"threads": 2, "max_failed_share": 1.0, "return_state": True} | asked
    kl.ingest(tmp_path / "undisturbed", FRAME[PLACE < BARS])
    undisturbed = run(home=str(tmp_path / "undisturbed"), **asked)
    module = getattr(flows, kind)
    extend = module.update

    def overtaken(store: Home, *more: Any, **asked: Any) -> Any:
        updated = extend(store, *more, **asked)
        deliver(home)
        return updated

    monkeypatch.setattr(module, "update", overtaken)
    state = run(home=str(home), **asked)
    assert state.is_completed(), state.message
    came = Home(home).version("bars")
    assert state.message == (
        f"{undisturbed.message}; bars came during the run (version {came}), which read version {came - 1}: "
        "the next run takes them"
    )
    assert values(home) == values(tmp_path / "undisturbed")
    page = api.artifacts(str(state.state_details.flow_run_id))[f"{kind}-summary"]
    assert f"- version of bars: {came - 1}\n" in page
    monkeypatch.setattr(module, "update", extend)
    following = run(home=str(home), **asked)
    assert following.is_completed(), following.message
    assert "bars came" not in following.message


@pytest.fixture
def deliveries(home: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts a vendor, which delivers day after day, as fast as `kline ingest` takes them."""
    folder = tmp_path / "deliveries"
    folder.mkdir()
    for number in range(BARS, DAYS):
        FRAME[number == PLACE].to_csv(folder / f"{number}.csv", index=False)
    vendor = (
        "import sys, kline_core as kl\n"
        "from pathlib import Path\n"
        "for file in sorted(Path(sys.argv[1]).iterdir()): kl.ingest(sys.argv[2], file)"
    )
    command = [sys.executable, "-c", vendor, str(folder), str(home)]
    with ExitStack() as open_:
        yield lambda env: open_.enter_context(process(*command, log=tmp_path / "vendor.log", env=env, cwd=tmp_path))


@pytest.mark.long
def test_two_runs_at_once_while_bars_come_all_the_time(
    api: Server, home: Path, tmp_path: Path, deliveries: Any
) -> None:
    env = api.env | {"KLINE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    before = Home(home).version("bars")
    vendor = deliveries(env)
    poll(lambda: Home(home).version("bars") != before, "deliveries")
    command, folder = [sys.executable, "-m", "flows.daily"], Path(flows.__file__).parents[1]
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    with ExitStack() as open_:
        runs = [open_.enter_context(process(*command, log=log, env=env, cwd=folder)) for log in logs]
        poll(lambda: all(run.poll() is not None for run in runs), "end of both runs", 240)
        assert vendor.poll() is None, "bars came until the end"
    said = "\n".join(log.read_text() for log in logs)
    assert [run.returncode for run in runs] == [0, 0], said
    assert said.count("bars came during the run") >= 2
    for run in answer("runs", home)["runs"]:
        assert run["state"] == "done"
        assert answer("replay", home, run["run_id"])["same"], run["run_id"]


def answer(command: str, home: Path, *words: str) -> Any:
    done = subprocess.run(
        ["kline", "--home", str(home), command, *words, "--json"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
