"""The log of a flow run, as the server has it."""

import logging
from typing import Any

from tests.support.prefect_server import Server
from tests.support.processes import poll


def log_of(server: Server, flow_run: str, last: str = "Finished in state") -> list[tuple[str, str]]:
    """Levels and messages of a flow run and its task runs, in order, once a line of the flow run begins with `last`."""

    def whole() -> list[dict[str, Any]] | None:
        asked = {"flow_run_id": {"any_": [flow_run]}}
        records: list[dict[str, Any]] = server.post("logs/filter", logs=asked, sort="TIMESTAMP_ASC", limit=200)
        ends = [each for each in records if each["name"] == "prefect.flow_runs" and each["message"].startswith(last)]
        return records if ends else None

    return [(logging.getLevelName(each["level"]), each["message"]) for each in poll(whole, f"log of {flow_run}")]


def errors_of(log: list[tuple[str, str]]) -> list[str]:
    """Messages that a page shows in red."""
    return [message for level, message in log if level in ("ERROR", "CRITICAL")]
