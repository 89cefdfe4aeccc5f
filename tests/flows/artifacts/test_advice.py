"""The line that a failed run leaves: it must name a deployment that there is, and the day that the run was for."""

from datetime import date, datetime
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import deployment, flow_run

from flows.artifacts.advice import again
from flows.backfill import backfill
from flows.daily import daily
from flows.evaluate import evaluate
from flows.maintain import maintain
from tests.support.prefect_server import ROOT


@pytest.fixture
def run_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    def made(name: str | None, **parameters: Any) -> FlowRun:
        monkeypatch.setattr(deployment, "name", name, raising=False)
        due = datetime.fromisoformat("2024-10-08T09:30:00+00:00")
        monkeypatch.setattr(flow_run, "scheduled_start_time", due, raising=False)
        return FlowRun(flow_id=uuid4(), parameters=parameters)

    return made


def test_every_deployment_is_named_as_it_is(run_of: Any) -> None:
    flows = {each.name: each for each in (daily, backfill, evaluate, maintain)}
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert len(deployments) == 6
    for each in deployments:
        flow = flows[each["entrypoint"].split(":")[1]]
        command = again(flow, run_of(each["name"], **each.get("parameters", {})))
        assert command.startswith(f"prefect deployment run {flow.name}/{each['name']}")


def test_a_scheduled_run_is_run_again_for_its_own_day(run_of: Any) -> None:
    command = again(daily, run_of("a-share", calendar="XSHG", home=None, samples=600))
    assert command == "prefect deployment run daily/a-share -p as_of=2024-10-08 -p calendar=XSHG"


def test_what_was_asked_for_is_asked_for_again(run_of: Any) -> None:
    asked = {"calendar": "XSHG", "as_of": date(2024, 9, 30), "symbols": ["A", "B"], "max_failed_share": 0.5}
    command = again(daily, run_of(None, **asked))
    assert "prefect deployment run daily/manual " in command
    assert "-p 'as_of=\"2024-09-30\"'" in command
    assert "-p max_failed_share=0.5" in command
    assert '-p \'symbols=["A", "B"]\'' in command
