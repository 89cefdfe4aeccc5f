"""Advice after a failed flow run: one line that a person can act on."""

import json
import shlex
from typing import Any

from prefect import Flow, State
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import deployment

from flows.common.session import asked_day
from kline_core._secrets import masked

_PREFIX = "Flow run encountered an exception: "


def leave_advice(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Log one line and publish it as an artifact: what went wrong, and how to run it again."""
    reason = " ".join((state.message or "no reason is known").split()).removeprefix(_PREFIX)
    line = masked(
        f"{flow.name} {flow_run.name} {state.name.lower() if state.name else 'ended'}: {reason.rstrip('.')}. What was "
        f"finished is stored. When that is mended, run it again: {again(flow, flow_run)}"
    )
    flow_run_logger(flow_run, flow).error(line)
    create_markdown_artifact(line, key=f"{flow.name}-to-do", description="What to do about it")


def again(flow: Flow[Any, Any], flow_run: FlowRun) -> str:
    """The command that starts the flow with the same parameters, for the same day.

    It names the deployment of the run; `manual` if the run has none.
    """
    words = ["prefect", "deployment", "run", f"{flow.name}/{deployment.name or 'manual'}"]
    asked = dict(flow_run.parameters)
    if asked.get("calendar") is not None and asked.get("as_of") is None:
        # Without its day, the command would start a run for the day on which it is typed.
        asked["as_of"] = str(asked_day(asked["calendar"], None))
    for name, value in sorted(asked.items()):
        if value != flow.parameters.properties.get(name, {}).get("default"):
            words += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value, default=str)}"]
    return shlex.join(words)
