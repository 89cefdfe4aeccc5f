"""Sessions, holidays and bars that arrive late, on a real server."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from flows.daily import daily
from flows.steps import refresh as bars_module
from kline_core.api.data import ingest
from kline_core.bars.sessions import sessions_until
from kline_core.encoder.synthetic import random_walk
from kline_core.errors import BarsMissingError, DateError
from kline_core.store.home import Home
from tests.support.prefect_server import Server
from tests.support.run_logs import errors_of, log_of
from tests.support.vendor_folder import deliver

SESSIONS = sessions_until(pd.Timestamp("2024-10-09").to_numpy().astype("datetime64[D]"), 120, "XSHG")


@pytest.fixture(scope="module", autouse=True)
def api(reporting: Server) -> Server:
    return reporting


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Bars of three symbols up to 2024-10-08, without those of S00002 on that day."""
    folder = tmp_path / "delivered"
    folder.mkdir()
    deliver(folder, SESSIONS, "2024-10-08", {"S00002": "2024-09-30"})
    return folder


def run(home: Path, source: Path, **parameters: Any) -> Any:
    given = {"samples": 20, "threads": 2, "calendar": "XSHG", "max_failed_share": 1.0, "arrival_retry_seconds": 0.1}
    return daily(home=str(home), source=str(source), **(given | parameters), return_state=True)


def name_of(api: Server, state: Any) -> str:
    return str(api.get(f"flow_runs/{state.state_details.flow_run_id}")["name"])


def test_on_a_holiday_the_run_ends_at_once_with_the_reason(api: Server, tmp_path: Path, source: Path) -> None:
    state = run(tmp_path / "home", source, as_of="2024-10-02")
    assert state.is_completed()
    assert state.message == (
        "nothing to do: 2024-10-02 is no session of XSHG (a holiday); the last was 2024-09-30, the next is 2024-10-08"
    )
    assert not (tmp_path / "home").exists()
    assert name_of(api, state) == "XSHG 2024-10-02: no session"


def test_past_the_end_of_the_calendar(tmp_path: Path, source: Path) -> None:
    state = run(tmp_path / "home", source, as_of="2031-01-06")
    assert state.is_failed()
    assert "2031-01-06 lies outside the days that calendar XSHG knows" in state.message
    with pytest.raises(DateError):
        state.result()


def test_bars_that_do_not_arrive_fail_the_run_and_are_named(api: Server, tmp_path: Path, source: Path) -> None:
    state = run(tmp_path / "home", source, as_of="2024-10-08", arrival_retries=2)
    assert state.is_failed()
    assert "1 of 3 symbols have no bar of the session of 2024-10-08 on XSHG: S00002; the newest bar" in state.message
    with pytest.raises(BarsMissingError):
        state.result()
    run_id = str(state.state_details.flow_run_id)
    runs = api.task_runs(run_id, 1)
    assert runs["refresh bars"]["run_count"] == 1
    home = Home(tmp_path / "home")
    assert home.read("bars").num_rows > 0
    assert home.version("factors") is None
    shown = api.artifacts(run_id)
    assert shown["daily-xshg-waiting"].startswith("## gave up at ")
    assert "S00002" in shown["daily-xshg-waiting"]
    reason, _, _, _, fence, *command, end = shown["daily-xshg-to-do"].splitlines()
    assert reason == f"daily XSHG 2024-10-08 failed: {state.message}"
    assert fence == end == "```"
    assert command[:2] == [f"PREFECT_API_URL={api.url} \\", "  prefect deployment run daily/manual \\"]
    assert "  -p as_of=2024-10-08 \\" in command
    assert not command[-1].endswith("\\")
    # The reason is the first red line, of the task, then of the run; nothing else is red, and none has a traceback.
    errors = errors_of(log_of(api, run_id))
    assert errors[0] == state.message
    assert errors[1].startswith(reason)
    assert len(errors) == 2
    assert not any("Traceback" in error for error in errors)


def test_bars_that_arrive_late_are_waited_for(
    api: Server, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    arrivals = bars_module.arrivals

    def late(*given: Any) -> Any:
        looked.append(given)
        found = arrivals(*given)
        if len(looked) == 2:
            deliver(source, SESSIONS, "2024-10-08", {})
        return found

    monkeypatch.setattr(bars_module, "arrivals", late)
    state = run(tmp_path / "home", source, as_of="2024-10-08", arrival_retries=5)
    assert state.is_completed(), state.message
    assert len(looked) == 3
    run_id = str(state.state_details.flow_run_id)
    shown = api.artifacts(run_id)
    assert "- session: 3 of 3 symbols have its bar" in shown["daily-xshg-summary"]
    assert shown["daily-xshg-waiting"].startswith("## 3 of 3 symbols have a bar of 2024-10-08 since ")
    log = log_of(api, run_id)
    assert errors_of(log) == []
    (first, second) = (message for _, message in log if message.startswith("waiting for "))
    assert first.startswith("waiting for 1 of 3 symbols, next look ")
    assert first.endswith(" (Asia/Shanghai)")
    assert ", gives up " in second
    states = api.get(f"flow_run_states/?flow_run_id={run_id}")
    names = [each["name"] for each in sorted(states, key=lambda each: each["timestamp"])]
    assert names[-3:] == ["Waiting", "Running", "Completed"]


def test_a_delivery_that_is_still_empty_is_waited_for(tmp_path: Path, api: Server) -> None:
    (tmp_path / "empty").mkdir()
    state = run(tmp_path / "home", tmp_path / "empty", as_of="2024-10-08", arrival_retries=1)
    assert state.is_failed()
    log = log_of(api, str(state.state_details.flow_run_id))
    (waited,) = (message for _, message in log if message.startswith("waiting for "))
    assert waited.startswith("waiting for bars of 2024-10-08, next look ")


def to_do(api: Server) -> str:
    """The newest of the series, which is what its page shows."""
    (newest,) = api.post("artifacts/latest/filter", artifacts={"key": {"any_": ["daily-xshg-to-do"]}})
    return str(newest["data"])


@pytest.mark.long
def test_what_is_left_to_do_is_done_once_a_later_run_completes(api: Server, tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    assert run(home, source, as_of="2024-10-08", arrival_retries=0).is_failed()
    left = to_do(api)
    assert left.startswith("daily XSHG 2024-10-08 failed: ")
    # On a holiday there is nothing to do, and it does not make up for what was.
    assert run(home, source, as_of="2024-10-02").is_completed()
    # Neither does a run of fewer symbols.
    assert run(home, source, as_of="2024-10-08", symbols="S00001", max_missing_share=1.0).is_completed()
    assert to_do(api) == left
    deliver(source, SESSIONS, "2024-10-08", {})
    assert run(home, source, as_of="2024-10-08").is_completed()
    done, _, before = to_do(api).splitlines()
    assert done.startswith(f"done: run XSHG 2024-10-08 completed on {datetime.now(UTC):%Y}-")
    assert before == f"It was to do before: {left.splitlines()[0]}"


@pytest.mark.long
def test_a_day_that_the_calendar_does_not_know_leaves_a_to_do(api: Server, tmp_path: Path, source: Path) -> None:
    state = run(tmp_path / "home", source, as_of="2031-01-06")
    shown = api.artifacts(str(state.state_details.flow_run_id))
    assert shown["daily-xshg-to-do"].startswith("daily XSHG 2031-01-06 failed: 2031-01-06 lies outside the days")


def test_a_few_missing_symbols_are_said_and_do_not_stop_the_run(api: Server, tmp_path: Path, source: Path) -> None:
    state = run(tmp_path / "home", source, as_of="2024-10-08", max_missing_share=0.4)
    assert state.is_completed()
    assert state.name == "Incomplete"
    assert state.message.endswith(
        "; 1 symbols without a bar of the session; no bar of 2024-10-08: S00002; the next run takes them up"
    )
    page = api.artifacts(str(state.state_details.flow_run_id))["daily-xshg-summary"]
    assert "- no bar of the session: S00002" in page


def test_no_bar_after_the_day_is_used(tmp_path: Path, source: Path) -> None:
    deliver(source, SESSIONS, "2024-10-09", {})
    assert run(tmp_path / "home", source, as_of="2024-10-08").is_completed()
    days = Home(tmp_path / "home").read("factors", ["date"])["date"].to_pylist()
    assert str(max(days)) == "2024-10-08"


def test_bars_of_another_exchange_are_refused(tmp_path: Path, source: Path) -> None:
    deliver(source, SESSIONS, "2024-10-09", {})
    state = run(tmp_path / "home", source, calendar="XNYS", as_of="2024-10-08")
    assert state.is_failed()
    assert "calendar is XNYS, but " in state.message
    assert "name the calendar of this home's exchange" in state.message


def test_a_run_for_another_market_than_the_homes_has_nothing_to_do(tmp_path: Path) -> None:
    """As that of a schedule which was deployed when the home was empty."""
    frame = random_walk(1, len(SESSIONS), seed=3).to_frame().assign(date=SESSIONS, symbol="600519.SH")
    ingest(tmp_path / "home", frame)
    state = daily(home=str(tmp_path / "home"), calendar="XNYS", as_of="2024-10-08", threads=2, return_state=True)
    assert (state.type.value, state.message) == (
        "COMPLETED",
        "nothing to do: this home is of the market CN (XSHG) and holds no bars of XNYS; `kline up` pauses its schedule "
        "at the next start",
    )


@pytest.mark.long
def test_a_run_that_is_tried_again_later_is_still_for_its_day(api: Server, tmp_path: Path, source: Path) -> None:
    given = {"home": str(tmp_path / "home"), "source": str(source), "calendar": "XSHG", "arrival_retries": 0}
    given |= {"samples": 20, "threads": 2, "max_failed_share": 1.0}
    flow = api.post("flows/", name="daily")["id"]
    deployment = api.post("deployments/", name="retried", flow_id=flow)["id"]
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2024-10-08T09:30:00+00:00"}}
    made = api.post(f"deployments/{deployment}/create_flow_run", parameters=given, state=due)["id"]
    with get_client(sync_client=True) as client:
        state = run_flow(daily, client.read_flow_run(made), return_type="state")
        assert "S00002" in state.message
        # Bars of the next day have come as well; what Retry on the page of the run sends, far from its day.
        deliver(source, SESSIONS, "2024-10-09", {})
        retry = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        assert api.post(f"flow_runs/{made}/set_state", state=retry)["status"] == "ACCEPT"
        state = run_flow(daily, client.read_flow_run(made), return_type="state")
    assert state.is_completed(), state.message
    assert name_of(api, state) == "XSHG 2024-10-08: 3 of 3 scored"
    days = Home(tmp_path / "home").read("factors", ["date"])["date"].to_pylist()
    assert str(max(days)) == "2024-10-08"
