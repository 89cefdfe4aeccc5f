"""The result of a run behind its name, which Prefect shows at the top of its page and in every list of runs."""

from typing import Any, Final
from uuid import UUID

from prefect import Flow, State
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from flows.common.session import SEPARATOR, with_result
from kline_core import errors
from kline_core._secrets import masked

_PREFIXES: Final = ("Flow run encountered an exception: ", "Validation of flow parameters failed with error: ")


def say_result(line: str, state: State[Any]) -> None:
    """Put what came of it behind the name of the flow run that works: a line, or the reason if it is about to fail.

    `state` is the one in which it is about to end. Call it last, so that nothing fails after a name that tells of a
    success.
    """
    _rename(UUID(flow_run.id), flow_run.name, line if state.is_completed() else reason_of(state))


def name_failure(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001  Prefect's
    """Put the reason of a run that failed or crashed behind its name."""
    _rename(flow_run.id, flow_run.name, reason_of(state))


def plain_reason(state: State[Any]) -> str:
    """The message of a state in one line, without what Prefect puts in front of an error."""
    said = " ".join((state.message or "no reason is known").split())
    for prefix in _PREFIXES:
        said = said.removeprefix(prefix)
    return said


def reason_of(state: State[Any]) -> str:
    """Why a run ended, in one line, without secrets, and without the name of an error of ours, which says it all."""
    said = plain_reason(state)
    name, _, rest = said.partition(SEPARATOR)
    return masked(rest if rest and hasattr(errors, name) else said)


def _rename(run: UUID, name: str, line: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run(run, name=with_result(name, line))
