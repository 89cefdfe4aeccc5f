"""Messages about runs, as a real Prefect server sends them to servers on loopback."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flows.daily import daily
from kline_core.api.data import ingest
from kline_core.bars.sessions import sessions_until
from kline_core.encoder.synthetic import random_walk
from tests.support.command import ask, refused
from tests.support.prefect_server import Server
from tests.support.processes import poll
from tests.support.receivers import Received, mail_receiver, webhook_receiver

# Of Apprise, where its mail is loaded.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")]


@pytest.fixture
def hook() -> Iterator[Received]:
    with webhook_receiver() as received:
        yield received


@pytest.fixture(autouse=True)
def nothing_stays(reporting: Server) -> Iterator[None]:
    """Later tests of other files fail runs on the same server."""
    yield
    for automation in reporting.post("automations/filter"):
        reporting.delete(f"automations/{automation['id']}")


def failed_run(home: Path) -> None:
    assert daily(home=str(home), return_state=True).is_failed()


def later(server: Server, name: str, *states: tuple[str, str]) -> None:
    """A run of the flow `daily` that gets into states, as its worker or the server would report them."""
    flow = server.post("flows/", name="daily")["id"]
    run = server.post("flow_runs/", flow_id=flow, name=name, parameters={}, state={"type": "SCHEDULED"})["id"]
    for state, kind in states:
        server.post(f"flow_runs/{run}/set_state", state={"type": kind, "name": state}, force=True)


@pytest.mark.slow
def test_a_failed_run_sends_one_message_and_a_completed_one_none(
    reporting: Server, hook: Received, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = ask(capsys, "--home", str(tmp_path / "mine"), "notify", "--webhook", hook.url)
    assert code == 0
    said = "has failed or is interrupted or is late or has completed with something missing"
    assert f"a message goes to the webhook at 127.0.0.1 of each run that {said}\n" in out
    assert "secret" not in out
    # Typed twice.
    assert ask(capsys, "notify", "--webhook", hook.url)[0] == 0
    assert len(reporting.post("automations/filter")) == 1

    failed_run(tmp_path / "nowhere")
    later(reporting, "fine", ("Completed", "COMPLETED"))
    # What is sent comes in order: with the second failure, all of the first's has come.
    poll(lambda: hook.messages, "message")
    failed_run(tmp_path / "nowhere else")
    poll(lambda: len(hook.messages) > 1, "second message")
    assert [message["home"] for message in hook.messages] == [str(tmp_path / "nowhere"), str(tmp_path / "nowhere else")]
    said = hook.messages[0]
    assert (said["flow"], said["state"]) == ("daily", "Failed")
    assert "there is no home at" in said["reason"]
    run = reporting.get(f"flow_runs/{said['link'].rpartition('/')[2]}")
    # Its name on the pages has the reason behind it.
    assert (run["name"].partition(": ")[0], run["state_type"]) == (said["run"], "FAILED")
    assert said["link"].startswith(reporting.url.removesuffix("/api"))
    assert said["todo"].endswith(f"/api prefect flow-run retry {run['id']}")
    for name in ("reason", "todo", "home", "link"):
        assert f"{name}: {said[name]}" in said["text"].splitlines()
    assert hook.headers[0]["Content-Type"] == "application/json"


@pytest.mark.slow
def test_late_and_completed_runs_where_asked(
    reporting: Server, hook: Received, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--home", str(tmp_path), "notify", "--webhook", hook.url]
    # The later call replaces what the first one asked for.
    assert ask(capsys, *words)[0] == 0
    assert ask(capsys, *words, "--on", "late", "--on", "completed")[0] == 0
    later(reporting, "not told", ("Failed", "FAILED"))
    later(reporting, "it waits", ("Late", "SCHEDULED"))
    later(reporting, 'done "well" {{ 1 }}', ("Completed", "COMPLETED"))
    poll(lambda: len(hook.messages) > 1, "messages")
    told = {message["run"]: message for message in hook.messages}
    assert sorted(told) == ['done "well" {{ 1 }}', "it waits"]
    assert re.fullmatch(r"it was due at \d.*, and no worker has begun it", told["it waits"]["reason"])
    assert told["it waits"]["home"] == str(tmp_path)


RUNS, WAITS = ("Running", "RUNNING"), ("AwaitingRetry", "SCHEDULED")
WELL = ("Completed", "COMPLETED")


@pytest.mark.slow
def test_one_message_for_each_thing_that_went_wrong(
    reporting: Server, hook: Received, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, "notify", "--webhook", hook.url)[0] == 0
    later(reporting, "tried again", RUNS, WAITS, RUNS, WELL)
    later(reporting, "behind another", ("AwaitingConcurrencySlot", "SCHEDULED"), ("Pending", "PENDING"), RUNS, WELL)
    later(reporting, "stopped", RUNS, ("Cancelling", "CANCELLING"), ("Cancelled", "CANCELLED"))
    later(reporting, "late, then well", ("Late", "SCHEDULED"), RUNS, WELL)
    later(reporting, "killed", RUNS, ("Crashed", "CRASHED"), WAITS, RUNS, WELL)
    # As `kline up` sets runs that a power loss interrupted.
    later(reporting, "goes on by itself", RUNS, ("Interrupted", "SCHEDULED"), ("Pending", "PENDING"), RUNS, WELL)
    later(reporting, "lacks bars", RUNS, ("Incomplete", "COMPLETED"))
    later(reporting, "the last", ("Failed", "FAILED"))
    # What is sent comes in order.
    poll(lambda: any(message["run"] == "the last" for message in hook.messages), "last message")
    told = [(message["run"], message["state"]) for message in hook.messages]
    assert sorted(told) == [
        ("goes on by itself", "Interrupted"),
        ("killed", "Crashed"),
        ("lacks bars", "Incomplete"),
        ("late, then well", "Late"),
        ("the last", "Failed"),
    ]


@pytest.mark.slow
def test_a_receiver_that_answers_an_error_is_not_asked_again(
    reporting: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """The event of the automation says what it answered."""
    with webhook_receiver(status=500) as received:
        assert ask(capsys, "notify", "--webhook", received.url)[0] == 0
        later(reporting, "first", ("Failed", "FAILED"))
        later(reporting, "second", ("Failed", "FAILED"))
        poll(lambda: len(received.messages) > 1, "messages")
        assert [message["run"] for message in received.messages] == ["first", "second"]

        def codes() -> list[int]:
            found = reporting.post("events/filter", filter={"event": {"prefix": ["prefect.automation.action."]}})
            return [each["payload"]["status_code"] for each in found["events"] if "status_code" in each["payload"]]

        poll(lambda: codes().count(500) == 2, "what the receiver answered")


@pytest.mark.slow
def test_a_run_with_a_symbol_missing_is_told_of(
    hook: Received, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sessions = sessions_until(np.datetime64("2024-10-08"), 120, "XSHG")
    frame = random_walk(3, len(sessions), seed=3).to_frame(prefix="S").assign(date=list(sessions) * 3)
    ingest(tmp_path / "home", frame[(frame["symbol"] != "S00002") | (frame["date"] < sessions[-1])])
    assert ask(capsys, "notify", "--webhook", hook.url)[0] == 0
    given = {"samples": 20, "threads": 1, "max_failed_share": 1.0, "max_missing_share": 0.4}
    state = daily(
        home=str(tmp_path / "home"), calendar="XSHG", as_of="2024-10-08", arrival_retries=0, return_state=True, **given
    )
    assert (state.name, state.type.value) == ("Incomplete", "COMPLETED"), state.message
    (said,) = poll(lambda: hook.messages, "message")
    assert (said["run"], said["state"]) == ("XSHG 2024-10-08", "Incomplete")
    assert "no bar of 2024-10-08: S00002" in said["reason"]
    assert said["todo"].startswith("bring in what is missing")


@pytest.mark.slow
def test_a_mail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with mail_receiver() as received:
        monkeypatch.setenv("KLINE_SMTP", received.url)
        assert ask(capsys, "--home", str(tmp_path), "notify", "--email", "you@example.com")[0] == 0
        failed_run(tmp_path / "nowhere")
        poll(lambda: received.messages, "mail")
    (mail,) = received.messages
    assert mail["To"] == "you@example.com"
    assert mail["Subject"].startswith("kline: daily ")
    assert mail["Subject"].endswith(" failed")
    text = mail.get_body().get_content()
    for part in (f"home: {tmp_path / 'nowhere'}", "reason: ", "there is no home at", "/runs/flow-run/"):
        assert part in text


@pytest.mark.slow
def test_what_is_set_up_is_listed_and_removed(
    reporting: Server, hook: Received, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(capsys, "notify", "--list")[1] == "the server sends no messages about runs\n"
    # A secret that no list of processes shows.
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{hook.url}\n"))
    assert ask(capsys, "notify", "--webhook", "-")[0] == 0
    (each,) = json.loads(ask(capsys, "--json", "notify", "--list")[1])["notices"]
    on = ["failed", "interrupted", "late", "incomplete"]
    assert each == {"name": each["name"], "on": on, "about": "the webhook at 127.0.0.1", "active": True}
    assert each["name"] in refused(capsys, "notify", "--remove", "nothing")
    assert ask(capsys, "notify", "--remove", each["name"])[0] == 0
    assert ask(capsys, "notify", "--list")[1] == "the server sends no messages about runs\n"
    assert not [doc for doc in reporting.post("block_documents/filter") if doc["name"] == each["name"]]
