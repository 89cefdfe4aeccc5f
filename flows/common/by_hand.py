"""Deployments that start a flow by hand, and the command that starts one again."""

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.common.server_words import words_of_client
from flows.common.session import scheduled_day
from kline_core.bars.sessions import calendar_names

_NAMES = {"daily": "manual", "backfill": "range"}
CONTINUED = " \\\n  "
"""Between the lines of a command, for pages that are too narrow for one."""


def by_hand(flow: str) -> str:
    """Name of the deployment in `prefect.yaml` that starts a flow by hand: one made for that, or its weekly one."""
    return _NAMES.get(flow, "weekly")


def deployment_of(client: SyncPrefectClient, run: FlowRun) -> DeploymentResponse | None:
    """The deployment of a run; None if it has none, or none any more."""
    if run.deployment_id is None:
        return None
    try:
        return client.read_deployment(run.deployment_id)
    except ObjectNotFound:
        return None


def command_again(
    flow: str, run: FlowRun, deployment: str | None, given: Mapping[str, Any], server: str | None
) -> list[str]:
    """The command that starts a flow with the parameters of a run, for the same day, as it is typed in a shell.

    Args:
        flow: Name of the flow.
        run: The run.
        deployment: Name of its deployment; None if it has none.
        given: Parameters that need not be typed, with their values.
        server: URL of the server's API, which a shell does not know; None to leave it out.

    Returns:
        The command itself, and each parameter.
    """
    address = [] if server is None else words_of_client(server)
    command = [*address, f"prefect deployment run {flow}/{deployment or by_hand(flow)}"]
    asked = dict(run.parameters)
    if asked.get("calendar") in calendar_names() and asked.get("as_of") is None:
        # Without its day, the command would start a run for the day on which it is typed.
        asked["as_of"] = day_of(run)
    for name, value in sorted(asked.items()):
        if value != given.get(name):
            command.append(f"-p {shlex.quote(f'{name}={_typed(value)}')}")
    return command


def day_of(run: FlowRun) -> str | None:
    """Day that a run is for, YYYY-MM-DD; None if it has neither one nor a calendar."""
    as_of, calendar = run.parameters.get("as_of"), run.parameters.get("calendar")
    if as_of is not None:
        return str(as_of)
    if calendar not in calendar_names():
        return None
    return str(scheduled_day(calendar, run.expected_start_time or datetime.now(UTC)))


def _typed(value: Any) -> str:
    """A parameter's value as `prefect deployment run` reads it: as JSON, or as text if it is none."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, default=str)
