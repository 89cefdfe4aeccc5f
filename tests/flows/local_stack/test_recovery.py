"""Abandoned runs of a real server, put there as a power loss leaves them: what becomes of each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.common.flow_names import FLOWS
from flows.common.states import INTERRUPTED, STOPPED, WAITING
from flows.local_stack import abandoned, recovery
from flows.local_stack.abandoned import Reach
from flows.local_stack.processes import FLOW_RUN, MARK
from flows.local_stack.recovery import recover
from kline_core.store.home import Home
from kline_core.store.run_records import write_record
from tests.support.prefect_server import Server
from tests.support.records import record_of
from tests.support.values import store, value_rows

pytestmark = [pytest.mark.flows, pytest.mark.slow, pytest.mark.long]

HERE = Reach("kline-up-mine", alone=True, home="/home/mine")
SHARED = Reach("kline-up-mine", alone=False, home="/home/mine")
DUE = datetime(2024, 12, 3, 23, 30, tzinfo=UTC)
"""Half past six in New York."""
GONE = "Its process is gone: the machine or kline was stopped"


@dataclass
class Desk:
    """The server, a client of it, and a home without a process."""

    server: Server
    client: SyncPrefectClient
    home: Path
    made: int = 0

    def deployment(self, flow: str = "daily", name: str = "us", limit: int | None = 1, pool: str = "kline") -> str:
        """Made anew, so that its slots are free."""
        there = self.server.post(
            "deployments/filter", deployments={"name": {"any_": [name]}}, flows={"name": {"any_": [flow]}}
        )
        for each in there:
            self.server.delete(f"deployments/{each['id']}")
        if not self.server.post("work_pools/filter", work_pools={"name": {"any_": [pool]}}):
            self.server.post("work_pools/", name=pool, type="process")
        made = self.server.post(
            "deployments/",
            name=name,
            flow_id=self.server.post("flows/", name=flow)["id"],
            work_pool_name=pool,
            concurrency_limit=limit,
            concurrency_options={"collision_strategy": "ENQUEUE"},
            parameters={"calendar": "XNYS", "home": None, "source": None},
        )
        return str(made["id"])

    def run(self, deployment: str, *states: str, due: datetime = DUE, worker: str | None = None, **asked: Any) -> str:
        """A run that was due at some moment, and has gone through some states since."""
        self.made += 1
        scheduled = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        made = self.server.post(
            f"deployments/{deployment}/create_flow_run", parameters=asked, name=f"run {self.made}", state=scheduled
        )["id"]
        if worker is not None:
            self.server.patch(f"flow_runs/{made}/labels", **{"prefect.worker.name": worker})
        for each in states:
            self.to(made, each)
        return str(made)

    def to(self, run: str, state: str, force: bool = False) -> None:
        answer = self.server.post(f"flow_runs/{run}/set_state", state={"type": state}, force=force)
        assert answer["status"] == "ACCEPT", answer

    def recover(self, reach: Reach = HERE) -> list[str]:
        return recover(self.client, str(self.home), reach)

    def state(self, run: str) -> tuple[str, str, str]:
        state = self.server.get(f"flow_runs/{run}")["state"]
        return state["type"], state["name"], state["message"] or ""

    def slots(self, deployment: str) -> int:
        limit = self.server.get(f"deployments/{deployment}")["global_concurrency_limit"]
        return int(limit["active_slots"])

    def task_run(self, run: str, state: str) -> str:
        self.made += 1
        made = self.server.post(
            "task_runs/", flow_run_id=run, task_key="score", dynamic_key=str(self.made), state={"type": state}
        )
        return str(made["id"])

    def task_state(self, task_run: str) -> str:
        return str(self.server.get(f"task_runs/{task_run}")["state_type"])


@pytest.fixture
def desk(server: Server, tmp_path: Path) -> Iterator[Desk]:
    with SyncPrefectClient(server.url) as client:
        # Whatever tests of other files have left.
        recover(client, str(tmp_path), HERE)
        yield Desk(server, client, tmp_path / "home")


def test_one_that_goes_on_goes_before_those_that_waited_for_its_slot(desk: Desk) -> None:
    deployment, others = desk.deployment(), desk.deployment(name="others")
    working = desk.run(deployment, "PENDING", "RUNNING")
    waiting, elsewhere = desk.run(deployment), desk.run(others)
    tomorrow = desk.run(deployment, due=datetime.now(UTC) + timedelta(days=1))
    before = {run: desk.server.get(f"flow_runs/{run}") for run in (waiting, elsewhere, tomorrow)}
    desk.recover()
    after = {run: desk.server.get(f"flow_runs/{run}") for run in (working, *before)}
    assert after[working]["state"]["name"] == INTERRUPTED
    assert datetime.fromisoformat(after[working]["next_scheduled_start_time"]) == DUE
    assert after[waiting]["state"]["name"] == "AwaitingConcurrencySlot"
    begins = datetime.fromisoformat(after[waiting]["next_scheduled_start_time"])
    assert timedelta(0) < begins - datetime.now(UTC) <= timedelta(minutes=1)
    assert after[waiting]["expected_start_time"] == before[waiting]["expected_start_time"]
    for run in (elsewhere, tomorrow):
        assert after[run] == before[run] | {"estimated_start_time_delta": after[run]["estimated_start_time_delta"]}


def test_one_that_was_stopped_with_kline_up_goes_on_however_often(desk: Desk) -> None:
    run = desk.run(desk.deployment(), "PENDING", "RUNNING")
    message = "kline up was stopped while it worked. What was finished is stored. It goes on by itself."
    for _ in range(2):
        assert recover(desk.client, str(desk.home), HERE, [run]) == [f"daily run 1: {message}"]
        assert desk.state(run) == ("SCHEDULED", STOPPED, message)
        for state in ("PENDING", "RUNNING"):
            desk.to(run, state)
    # A power loss after these is the first.
    assert "It goes on by itself, once." in desk.recover()[0]


def test_one_that_waited_for_bars_goes_on_however_often_and_its_page_says_so(desk: Desk) -> None:
    run = desk.run(desk.deployment(), "PENDING", "RUNNING")
    waiting = {"key": "daily-xnys-waiting", "type": "markdown", "data": "waiting", "flow_run_id": run}
    made = desk.server.post("artifacts/", **waiting)["id"]
    for _ in range(2):
        desk.server.post(f"flow_runs/{run}/set_state", state={"type": "RUNNING", "name": WAITING}, force=True)
        (line,) = desk.recover()
        assert f"{GONE} while it waited for bars." in line
        assert line.endswith("It goes on by itself.")
        assert desk.state(run)[1] == INTERRUPTED
        ended = desk.server.get(f"artifacts/{made}")
        assert ended["description"] == "its run was stopped before the bars had arrived"
        for state in ("PENDING", "RUNNING"):
            desk.to(run, state)
    assert "It goes on by itself, once." in desk.recover()[0]


def test_the_board_says_what_became_of_one_that_does_not_go_on(desk: Desk) -> None:
    run = desk.run(desk.deployment(), "PENDING", "RUNNING", as_of="2024-12-03", calendar="XNYS")
    desk.to(run, "CANCELLING")
    desk.recover()
    board = desk.server.artifacts(run)["board-xnys"]
    assert board.startswith("# XNYS 2024-12-03: cancelled\n")
    assert "mended" not in board


def test_a_process_of_a_copy_of_the_home_is_not_this_ones(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = desk.run(desk.deployment(), "PENDING", "RUNNING")
    elsewhere = SimpleNamespace(environ=lambda: {FLOW_RUN: run, MARK: "/home/copy"})
    here = SimpleNamespace(environ=lambda: {FLOW_RUN: run, MARK: HERE.home})
    monkeypatch.setattr(abandoned.psutil, "process_iter", lambda: [elsewhere, here])
    assert desk.recover() == []
    monkeypatch.setattr(abandoned.psutil, "process_iter", lambda: [elsewhere])
    assert len(desk.recover()) == 1


def test_one_that_never_began_is_queued_again_for_its_own_day(desk: Desk) -> None:
    deployment = desk.deployment()
    run = desk.run(deployment, "PENDING")
    desk.server.patch(f"flow_runs/{run}", infrastructure_pid="4194000")
    assert desk.slots(deployment) == 1
    lines = desk.recover()
    assert lines == [f"daily run 1: {GONE} before it began. It is queued again."]
    assert desk.state(run) == ("SCHEDULED", "AwaitingRetry", f"{GONE} before it began. It is queued again.")
    assert desk.slots(deployment) == 0
    found = desk.server.get(f"flow_runs/{run}")
    # The flow takes its day from the one, a worker the order from the other.
    assert datetime.fromisoformat(found["expected_start_time"]) == DUE
    assert datetime.fromisoformat(found["next_scheduled_start_time"]) == DUE
    assert found["infrastructure_pid"] is None
    # Nobody has to do anything about it.
    assert desk.server.artifacts(run) == {}
    # It takes its slot, and may be cancelled while it waits.
    desk.to(run, "PENDING")
    assert desk.slots(deployment) == 1
    desk.recover()
    answer = desk.server.post(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"})
    assert answer["state"]["type"] == "CANCELLED"
    assert desk.slots(deployment) == 0


def test_the_order_of_sessions_stays(desk: Desk) -> None:
    deployment = desk.deployment(limit=None)
    wednesday = desk.run(deployment, due=DUE + timedelta(days=1))
    tuesday = desk.run(deployment, "PENDING", "RUNNING")
    monday = desk.run(deployment, "PENDING", due=DUE - timedelta(days=1))
    assert [line.split(":")[0] for line in desk.recover()] == ["daily run 3", "daily run 2"]
    asked = desk.server.post("work_pools/kline/get_scheduled_flow_runs", scheduled_before=datetime.now(UTC).isoformat())
    ours = {wednesday, tuesday, monday}
    assert [each["flow_run"]["id"] for each in asked if each["flow_run"]["id"] in ours] == [monday, tuesday, wednesday]


@pytest.mark.parametrize("flow", FLOWS)
def test_an_interrupted_run_goes_on_by_itself_once(desk: Desk, flow: str) -> None:
    deployment = desk.deployment(flow)
    run = desk.run(deployment, "PENDING", "RUNNING", symbols="AAPL", source="akshare:csi300")
    working, due = desk.task_run(run, "RUNNING"), desk.task_run(run, "PENDING")
    done = desk.task_run(run, "COMPLETED")
    desk.recover()
    kind, name, message = desk.state(run)
    assert (kind, name) == ("SCHEDULED", INTERRUPTED)
    assert message.startswith(f"{GONE} while it worked.")
    assert message.endswith("It goes on by itself, once.")
    assert desk.slots(deployment) == 0
    assert desk.server.artifacts(run) == {}
    assert [desk.task_state(each) for each in (working, due, done)] == ["CRASHED", "CRASHED", "COMPLETED"]
    # Killed before it began again: that is no second time.
    desk.to(run, "PENDING")
    desk.recover()
    assert desk.state(run)[1] == "AwaitingRetry"
    for state in ("PENDING", "RUNNING"):
        desk.to(run, state)
    assert desk.slots(deployment) == 1
    (line,) = desk.recover()
    kind, name, message = desk.state(run)
    assert kind == "CRASHED"
    assert f"{GONE} while it worked, for the second time." in message
    assert message.endswith("It does not go on by itself.")
    assert line == f"{flow} run 1: {message}"
    # Whatever it may have been named just before.
    assert desk.server.get(f"flow_runs/{run}")["name"].startswith(f"run 1: {GONE}")
    assert desk.slots(deployment) == 0
    ((key, text),) = desk.server.artifacts(run).items()
    assert key == f"{flow}-xnys-chosen-to-do"
    words = [f"PREFECT_API_URL={desk.server.url}", f"prefect deployment run {flow}/us"]
    words += [f"-p {each}" for each in ("as_of=2024-12-03", "source=akshare:csi300", "symbols=AAPL")]
    command = " \\\n  ".join(words)
    assert text == f"{flow} run 1 crashed: {message} Run it again:\n\n```\n{command}\n```\n"
    assert desk.recover() == []


def test_one_whose_cancellation_was_asked_for_is_cancelled(desk: Desk) -> None:
    deployment = desk.deployment()
    run = desk.run(deployment, "PENDING", "RUNNING")
    task = desk.task_run(run, "RUNNING")
    desk.to(run, "CANCELLING")
    desk.recover()
    kind, _, message = desk.state(run)
    assert kind == "CANCELLED"
    assert message.startswith(f"{GONE} while it was being cancelled.")
    assert desk.task_state(task) == "CANCELLED"
    assert desk.slots(deployment) == 0
    assert not [key for key in desk.server.artifacts(run) if "to-do" in key]


def test_flows_of_others_are_not_begun_twice(desk: Desk) -> None:
    deployment = desk.deployment("orders", "by hand")
    working, waiting = desk.run(deployment, "PENDING", "RUNNING"), desk.run(desk.deployment("orders", "x"), "PENDING")
    desk.recover()
    assert desk.state(working) == ("CRASHED", "Crashed", f"{GONE} while it worked. It does not go on by itself.")
    assert desk.state(waiting)[1] == "AwaitingRetry"


def test_one_that_no_worker_would_begin_is_left_to_a_person(desk: Desk) -> None:
    flow = desk.server.post("flows/", name="daily")["id"]
    made = {}
    for state in ("PENDING", "RUNNING"):
        run = desk.server.post("flow_runs/", flow_id=flow, name=state, parameters={}, state={"type": state})["id"]
        made[state] = str(run)
    desk.recover()
    assert desk.state(made["PENDING"]) == (
        "CRASHED",
        "Crashed",
        f"{GONE} before it began. It does not begin by itself.",
    )
    assert desk.state(made["RUNNING"])[0] == "CRASHED"
    assert "prefect deployment run daily/manual\n" in desk.server.artifacts(made["RUNNING"])["daily-to-do"]


def test_a_calendar_that_there_is_not_keeps_nothing_from_starting(desk: Desk) -> None:
    flow = desk.server.post("flows/", name="daily")["id"]
    asked = {"calendar": "no such", "symbols": "600519"}
    run = desk.server.post("flow_runs/", flow_id=flow, parameters=asked, state={"type": "RUNNING"})["id"]
    desk.recover()
    # As text, not as the number that JSON makes of it.
    assert "-p 'symbols=\"600519\"'" in desk.server.artifacts(run)["daily-to-do"]


def test_how_much_is_stored_is_counted(desk: Desk) -> None:
    home = Home(desk.home, create=True)
    deployment = desk.deployment(limit=None)
    kept, not_begun, unknown = (desk.run(deployment, "PENDING", "RUNNING") for _ in range(3))
    elsewhere = desk.run(deployment, "PENDING", "RUNNING", home=str(desk.home / "other"))
    away = desk.run(deployment, "PENDING", "RUNNING", home="s3://bucket/home")
    refused = desk.run(deployment, "PENDING", "RUNNING", home="s3://key:secret@bucket/home")
    for number, run in enumerate([kept, not_begun, elsewhere, away]):
        desk.server.patch(f"flow_runs/{run}", infrastructure_pid=f"{4194000 + number}")
    began = datetime.now(UTC)
    run_id = f"{began:%Y%m%dT%H%M%S}-0000aa"
    write_record(home, record_of(run_id, began, process=record_of().process.__class__("here", 4194000, 0.0)))
    # Of a process of another time, which had the number.
    old = began - timedelta(hours=5)
    other = record_of().process.__class__("here", 4194001, 0.0)
    write_record(home, record_of(f"{old:%Y%m%dT%H%M%S}-0000ab", old, process=other))
    days = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]")
    store(home, value_rows("A", days, [0.1, np.nan, 0.3, 0.4, 0.5]), "f", run_id)
    store(home, value_rows("B", days, [0.1] * 5), "f", f"{old:%Y%m%dT%H%M%S}-0000ab")
    # It was asked to end meanwhile, after it had begun.
    desk.to(kept, "CANCELLING")
    desk.recover()
    assert ". 4 values of it are stored." in desk.state(kept)[2]
    assert ". No values of it are stored." in desk.state(not_begun)[2]
    # Killed before its process was known.
    assert ". What was finished is stored." in desk.state(unknown)[2]
    assert "What was finished is stored, but cannot be counted: there is no home at" in desk.state(elsewhere)[2]
    assert ". What was finished is stored." in desk.state(away)[2]
    assert "What was finished is stored, but cannot be counted: " in desk.state(refused)[2]
    assert "secret" not in desk.state(refused)[2]


def test_a_run_that_is_at_work_stays(desk: Desk) -> None:
    deployment = desk.deployment(limit=None)
    runs = [desk.run(deployment, "PENDING", "RUNNING") for _ in range(2)]
    # After a reboot a number may be that of a stranger.
    desk.server.patch(f"flow_runs/{runs[1]}", infrastructure_pid=str(os.getpid()))
    env = os.environ | {"PREFECT__FLOW_RUN_ID": runs[0]}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=env) as working:
        desk.recover()
        assert [desk.state(run)[1] for run in runs] == ["Running", INTERRUPTED]
        working.communicate(b"\n")
    desk.recover()
    assert desk.state(runs[0])[1] == INTERRUPTED


def test_runs_of_other_machines_stay(desk: Desk) -> None:
    deployment = desk.deployment(limit=None)
    theirs = desk.run(deployment, "PENDING", "RUNNING", worker="kline-up-theirs")
    # A number alone, which may be anybody's here.
    desk.server.patch(f"flow_runs/{theirs}", infrastructure_pid="4194000")
    mine = desk.run(deployment, "PENDING", "RUNNING", worker=SHARED.worker)
    nobodys = desk.run(deployment, "PENDING")
    pooled = desk.run(desk.deployment("daily", "theirs", None, pool="theirs"), "PENDING", "RUNNING")
    flow = desk.server.post("flows/", name="daily")["id"]
    by_hand = desk.server.post("flow_runs/", flow_id=flow, parameters={}, state={"type": "RUNNING"})["id"]
    desk.recover(SHARED)
    names = [desk.state(run)[1] for run in (theirs, mine, nobodys, pooled, by_hand)]
    assert names == ["Running", INTERRUPTED, "AwaitingRetry", "Running", "Running"]
    # Where no other machine works for the server, a worker of another name was one of this machine.
    desk.recover(HERE)
    names = [desk.state(run)[1] for run in (theirs, pooled, by_hand)]
    assert names == [INTERRUPTED, "Running", "Crashed"]
    desk.to(pooled, "CRASHED", force=True)


def test_task_runs_of_runs_that_ended_long_ago_end_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = desk.run(desk.deployment(), "PENDING", "RUNNING")
    tasks = [desk.task_run(run, "RUNNING") for _ in range(7)]
    desk.to(run, "CRASHED")
    desk.recover()
    # Their records may be on their way.
    assert {desk.task_state(each) for each in tasks} == {"RUNNING"}
    monkeypatch.setattr(recovery, "_RECORDED_LATE", timedelta(0))
    monkeypatch.setattr(recovery, "_PAGE", 2)
    monkeypatch.setattr(recovery, "MOST_TASK_RUNS", 4)
    desk.recover()
    assert sorted(desk.task_state(each) for each in tasks) == ["CRASHED"] * 4 + ["RUNNING"] * 3
    desk.recover()
    assert {desk.task_state(each) for each in tasks} == {"CRASHED"}


def test_more_runs_than_a_page(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abandoned, "_PAGE", 2)
    deployment = desk.deployment(limit=None)
    runs = [desk.run(deployment, "PENDING") for _ in range(5)]
    assert len(desk.recover()) == 5
    assert {desk.state(run)[1] for run in runs} == {"AwaitingRetry"}


def test_a_home_knows_its_worker_by_a_name_of_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one, two = (Reach.of(folder, "127.0.0.1", {}) for folder in folders)
    assert one.worker != two.worker
    assert one.alone
    again = Reach.of(folders[0], "192.168.1.5", {})
    assert (again.worker, again.alone) == (one.worker, False)
    database = {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://host/prefect"}
    assert not Reach.of(folders[0], "127.0.0.1", database).alone
