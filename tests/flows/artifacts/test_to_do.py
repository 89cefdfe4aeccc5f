"""What the worker's hooks leave of a run whose process was killed: they run without the context of the run."""

from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Crashed

from flows.artifacts.advice import leave_advice
from flows.backfill import backfill
from flows.daily import daily
from flows.evaluate import evaluate
from flows.maintain import maintain
from tests.support.prefect_server import Server


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(
    ("flow", "parameters", "key", "asked"),
    [
        (daily, {"calendar": "XNYS"}, "daily-xnys-to-do", ["-p as_of=2024-10-08", "-p calendar=XNYS"]),
        (backfill, {"first": "2024-01-02"}, "backfill-to-do", ["-p first=2024-01-02"]),
        (evaluate, {}, "evaluate-to-do", []),
        (maintain, {}, "maintain-to-do", []),
    ],
    ids=lambda given: given.name if hasattr(given, "name") else "",
)
def test_a_killed_run_of_every_flow_leaves_the_command_of_its_deployment(
    reporting: Server, flow: Any, parameters: dict[str, Any], key: str, asked: list[str]
) -> None:
    made = reporting.post("deployments/", name="nightly", flow_id=reporting.post("flows/", name=flow.name)["id"])["id"]
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2024-10-09T01:30:00+00:00"}}
    run = reporting.post(f"deployments/{made}/create_flow_run", parameters=parameters, state=due)
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run["id"]))
    leave_advice(flow, flow_run, Crashed(message="Process exited with status code: -9."))
    page = reporting.artifacts(run["id"])[key]
    command = [f"PREFECT_API_URL={reporting.url}", f"prefect deployment run {flow.name}/nightly", *asked]
    assert page.splitlines() == [
        f"{flow.name} {run['name']} crashed: Process exited with status code: -9",
        "",
        "What was finished is stored. When that is mended, run it again:",
        "",
        "```",
        *" \\\n  ".join(command).splitlines(),
        "```",
    ]
