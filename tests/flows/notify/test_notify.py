"""Messages about runs, as a real Prefect server sends them to servers on loopback."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.daily import daily
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


def later(server: Server, state: str, kind: str, name: str) -> None:
    """A run of the flow `daily` that gets into a state, as its worker or the server would report it."""
    flow = server.post("flows/", name="daily")["id"]
    run = server.post("flow_runs/", flow_id=flow, name=name, parameters={}, state={"type": "SCHEDULED"})["id"]
    server.post(f"flow_runs/{run}/set_state", state={"type": kind, "name": state}, force=True)


@pytest.mark.slow
def test_a_failed_run_sends_one_message_and_a_completed_one_none(
    reporting: Server, hook: Received, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = ask(capsys, "--home", str(tmp_path / "mine"), "notify", "--webhook", hook.url)
    assert code == 0
    assert "a message goes to the webhook at 127.0.0.1 of each run that has failed" in out
    assert "secret" not in out
    # Typed twice.
    assert ask(capsys, "notify", "--webhook", hook.url, "--on", "failed")[0] == 0
    assert len(reporting.post("automations/filter")) == 1

    failed_run(tmp_path / "nowhere")
    later(reporting, "Completed", "COMPLETED", "fine")
    # What is sent comes in order: with the second failure, all of the first's has come.
    poll(lambda: hook.messages, "message")
    failed_run(tmp_path / "nowhere else")
    poll(lambda: len(hook.messages) > 1, "second message")
    assert [message["home"] for message in hook.messages] == [str(tmp_path / "nowhere"), str(tmp_path / "nowhere else")]
    said = hook.messages[0]
    assert (said["flow"], said["state"]) == ("daily", "Failed")
    assert "there is no home at" in said["reason"]
    run = reporting.get(f"flow_runs/{said['link'].rpartition('/')[2]}")
    assert (run["name"], run["state_type"]) == (said["run"], "FAILED")
    assert said["link"].startswith(reporting.url.removesuffix("/api"))
    for name in ("home", "reason", "link"):
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
    later(reporting, "Failed", "FAILED", "not told")
    later(reporting, "Late", "SCHEDULED", "it waits")
    later(reporting, "Completed", "COMPLETED", 'done "well" {{ 1 }}')
    poll(lambda: len(hook.messages) > 1, "messages")
    told = {message["run"]: message for message in hook.messages}
    assert sorted(told) == ['done "well" {{ 1 }}', "it waits"]
    assert told["it waits"]["reason"] == "no worker has begun it"
    assert told["it waits"]["home"] == str(tmp_path)


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
    assert each == {"name": each["name"], "on": ["failed"], "about": "the webhook at 127.0.0.1", "active": True}
    assert each["name"] in refused(capsys, "notify", "--remove", "nothing")
    assert ask(capsys, "notify", "--remove", each["name"])[0] == 0
    assert ask(capsys, "notify", "--list")[1] == "the server sends no messages about runs\n"
    assert not [doc for doc in reporting.post("block_documents/filter") if doc["name"] == each["name"]]
