"""The command that a failed run leaves: it must name a deployment that there is, and the day that the run was for."""

import shlex
from datetime import date, datetime
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.artifacts.advice import _symbols_of, again
from flows.backfill import backfill
from flows.common.artifact_keys import to_do_key
from flows.daily import daily
from flows.evaluate import evaluate
from flows.maintain import maintain
from tests.support.prefect_server import ROOT

DUE = datetime.fromisoformat("2024-10-08T09:30:00+00:00")


@pytest.fixture(autouse=True)
def no_server() -> Any:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


def run_of(**parameters: Any) -> FlowRun:
    return FlowRun(flow_id=uuid4(), parameters=parameters, expected_start_time=DUE)


def test_every_deployment_is_named_as_it_is() -> None:
    flows = {each.name: each for each in (daily, backfill, evaluate, maintain)}
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert len(deployments) == 6
    names = [(each["entrypoint"].split(":")[1], each["name"]) for each in deployments]
    for (flow, name), each in zip(names, deployments, strict=True):
        command = again(flows[flow], run_of(**each.get("parameters", {})), name)
        assert command[0] == f"prefect deployment run {flow}/{name}"
    for flow, each in flows.items():
        # Without a deployment of its own, as where a program calls the flow, one that is run by hand.
        (command,) = again(each, run_of(), None)
        assert tuple(command.split()[3].split("/")) in names, flow


@pytest.mark.parametrize("flow", [daily, backfill, evaluate, maintain])
def test_a_run_without_a_deployment_names_one_that_there_is(flow: Any) -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    names = {f"{each['entrypoint'].split(':')[1]}/{each['name']}" for each in deployments}
    assert again(flow, run_of(), None)[-1].removeprefix("prefect deployment run ") in names


def test_a_scheduled_run_is_run_again_for_its_own_day() -> None:
    command = again(daily, run_of(calendar="XSHG", home=None, samples=600), "a-share")
    assert command == ["prefect deployment run daily/a-share", "-p as_of=2024-10-08", "-p calendar=XSHG"]


def test_what_was_asked_for_is_asked_for_again() -> None:
    asked = {"calendar": "XSHG", "as_of": date(2024, 9, 30), "symbols": ["A", "B"], "max_failed_share": 0.5}
    command = again(daily, run_of(**asked), None)
    assert command[0] == "prefect deployment run daily/manual"
    assert "-p 'as_of=\"2024-09-30\"'" in command
    assert "-p max_failed_share=0.5" in command
    assert '-p \'symbols=["A", "B"]\'' in command


@pytest.mark.parametrize(
    ("symbols", "typed"),
    [
        ("AAPL,MSFT", "AAPL,MSFT"),
        ("600519", '"600519"'),
        ("null", '"null"'),
        ("1E5", '"1E5"'),
        ("O'REILLY", "O'REILLY"),
    ],
)
def test_text_that_json_would_make_something_else_of_stays_text(symbols: str, typed: str) -> None:
    assert shlex.split(again(daily, run_of(symbols=symbols), "manual")[1]) == ["-p", f"symbols={typed}"]


def test_a_shell_that_knows_no_server_is_told_which() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}):
        command = again(maintain, run_of(), "weekly")
    assert command == ["PREFECT_API_URL=http://127.0.0.1:4200/api", "prefect deployment run maintain/weekly"]


@pytest.mark.parametrize("calendar", ["XNOT", 5, "../x"])
def test_a_run_for_a_calendar_that_there_is_not_is_repeated_as_it_was(calendar: Any) -> None:
    assert again(daily, run_of(calendar=calendar), "manual")[1:] == [f"-p calendar={calendar}"]
    assert to_do_key("daily", {"calendar": calendar}) == "daily-to-do"
    assert to_do_key("daily", {"calendar": "XSHG", "symbols": None}) == "daily-xshg-to-do"
    assert to_do_key("daily", {"calendar": "XSHG", "symbols": "A"}) == "daily-xshg-chosen-to-do"
    assert to_do_key("backfill", {"symbols": "A"}) == "backfill-to-do"


@pytest.mark.parametrize(
    ("done", "left", "settled"),
    [
        (None, None, True),
        (None, "A,B", True),
        ("A,B", None, False),
        ("A", "A,B", False),
        ("A,B,C", ["B", "A"], True),
        ("A", " , ", True),
    ],
)
def test_a_run_makes_up_for_one_of_the_same_symbols_or_of_fewer(done: Any, left: Any, settled: bool) -> None:
    assert _symbols_of(run_of(symbols=done), run_of(symbols=left)) is settled


@pytest.mark.parametrize("password", [None, "u:p"])
def test_a_server_with_a_password_is_reached_by_the_variable_that_holds_it(
    monkeypatch: pytest.MonkeyPatch, password: str | None
) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api", PREFECT_API_AUTH_STRING: password}):
        command = again(maintain, run_of(), "weekly")
    words = [] if password is None else ['PREFECT_API_AUTH_STRING="$PREFECT_SERVER_API_AUTH_STRING"']
    assert command[1:-1] == words
