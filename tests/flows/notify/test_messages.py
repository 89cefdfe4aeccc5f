"""Templates of messages, filled in as the server does it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.server.events.actions import CallWebhook, SendNotification
from prefect.server.utilities.user_templates import render_user_template

from flows.notify.messages import DEFAULT, EVENTS, SUBJECT, payload, text

PAGES = "http://127.0.0.1:4200"
ODD = 'a "b" {{ 1 }} </c>\n\u4e2d'


def filled(template: str, message: str | None = ODD, name: str = "Failed", **parameters: Any) -> str:
    state = SimpleNamespace(name=name, message=message)
    run = SimpleNamespace(name=ODD, id="7", state=state, parameters=parameters, expected_start_time="17:30")
    CallWebhook.validate_template(template, "payload")
    context = {"flow": SimpleNamespace(name="daily"), "flow_run": run}
    return asyncio.run(render_user_template(template, context))


def test_every_receiver_gets_each_field() -> None:
    said = json.loads(filled(payload("https://example.com/x", "/my home", PAGES)))
    assert (said["flow"], said["run"], said["state"], said["home"]) == ("daily", ODD, "Failed", "/my home")
    assert said["reason"] == ODD
    assert said["link"] == f"{PAGES}/runs/flow-run/7"
    again = f"when that is mended, run it again: PREFECT_API_URL={PAGES}/api prefect flow-run retry 7"
    assert said["todo"] == again
    told = f"reason: {ODD}\ntodo: {again}\nhome: /my home\nlink: {PAGES}/runs/flow-run/7"
    assert said["text"] == f"kline: daily {ODD} failed\n{told}"
    assert (
        json.loads(filled(payload("https://example.com/x", "/my home", PAGES), home="/its own"))["home"] == "/its own"
    )


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://hooks.slack.com/services/x", ["text"]),
        ("https://discord.com/api/webhooks/x", ["content"]),
        ("https://oapi.dingtalk.com/robot/send?access_token=x", ["text", "content"]),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x", ["text", "content"]),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/x", ["content", "text"]),
        ("https://nodiscord.com/", ["text"]),
    ],
)
def test_chats_get_the_text_where_they_look_for_it(url: str, place: list[str]) -> None:
    said = json.loads(filled(payload(url, None, PAGES)))
    for name in place:
        said = said[name]
    assert said.startswith(f"kline: daily {ODD} failed\nreason: {ODD}\ntodo: when that is mended, ")
    assert "\nhome: that of KLINE_HOME where the worker runs\n" in said


def test_a_reason_is_no_traceback() -> None:
    reason = filled(text(None, PAGES), "Flow run encountered an exception: HomeError: gone").splitlines()[0]
    assert reason == "reason: HomeError: gone"
    assert "reason: none is recorded" in filled(text(None, PAGES), None)
    assert len(filled(text(None, PAGES), "x" * 5000)) < 1_300


@pytest.mark.parametrize(
    ("state", "message", "reason", "todo"),
    [
        ("Late", None, "it was due at 17:30, and no worker has begun it", "see whether `kline up` runs, and "),
        ("Incomplete", "no bar of A", "no bar of A", "bring in what is missing, or mend it; the next run makes"),
        ("Interrupted", "gone", "gone", "nothing, unless it happens again"),
        ("Completed", "fine", "fine", "nothing"),
        ("Crashed", None, "none is recorded", "when that is mended, run it again: PREFECT_API_URL="),
    ],
)
def test_what_a_person_can_do(state: str, message: str | None, reason: str, todo: str) -> None:
    lines = filled(text(None, PAGES), message, state).splitlines()
    assert lines[0] == f"reason: {reason}"
    assert lines[1].startswith(f"todo: {todo}")


def test_a_late_run_of_chosen_symbols_is_told_of_as_such() -> None:
    assert "chosen symbols" in filled(SUBJECT, name="Late", symbols="AAPL")
    assert "chosen symbols" not in filled(SUBJECT, name="Late", symbols=None)
    # Its name says so from its begin on.
    assert "chosen symbols" not in filled(SUBJECT, symbols="AAPL")


def test_templates_are_ones_that_the_server_takes() -> None:
    for template in (SUBJECT, text('odd "home" {{', PAGES)):
        SendNotification.validate_template(template, "body")
    assert 'home: odd "home" {{' in filled(text('odd "home" {{', PAGES))
    assert set(DEFAULT) == {"failed", "interrupted", "late", "incomplete"} == set(EVENTS) - {"completed"}
