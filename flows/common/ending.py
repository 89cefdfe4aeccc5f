"""How flows and their steps end: with a reason that a person can read, and at once when somebody stops them.

An error that a flow raises becomes its state Failed, whose message is that of the error alone; `leave_advice` logs it.
A signal to end, which Prefect raises in the main thread as `TerminationSignal`, would be a crash for each task that it
meets. Here the step ends as Cancelled, and the flow says what is stored before Prefect ends it.
"""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import State, Task, get_run_logger
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed

from kline_core.errors import KlineError

P = ParamSpec("P")
T = TypeVar("T")

_TOLD = "_told"
_passed_on: ContextVar[bool] = ContextVar("passed on", default=False)


def answering(function: Callable[P, State[Any]]) -> Callable[P, State[Any]]:
    """A flow's function whose errors are its state. It stands beneath `@flow`."""

    @wraps(function)
    def answered(*args: P.args, **kwargs: P.kwargs) -> State[Any]:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told
            setattr(error, _TOLD, True)
            return Failed(message=said(error), data=error)
        except TerminationSignal as signal:
            stored = "; ".join(getattr(signal, "__notes__", ["what was finished is stored"]))
            get_run_logger().info("%s: %s, and the next run does the rest", _why(), stored)
            raise

    return answered


def cancellable(function: Callable[P, T]) -> Callable[P, T]:
    """A task's function that ends as Cancelled where the run is stopped. It stands beneath `@task`."""

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TerminationSignal as signal:
            # Prefect takes a state for the outcome.
            return stopped(signal)  # type: ignore[return-value]

    return called


def stopped(signal: TerminationSignal | None = None) -> State[Any]:
    """The state of a task that ends early, since its run is stopped."""
    return Cancelled(message="the run was stopped meanwhile", data=signal)


def carried_out(step: Task[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Result of a task.

    Raises what the task raised, which the log of the flow run then tells in full, and `TerminationSignal` if the run is
    stopped.
    """
    token = _passed_on.set(True)
    try:
        state: State[T] = step(*args, return_state=True, **kwargs)
    finally:
        _passed_on.reset(token)
    return state.result()


def said(error: BaseException) -> str:
    """An error in one piece: an answer for a person as it is, any other with its kind."""
    return str(error) if isinstance(error, KlineError) else f"{type(error).__name__}: {error}"


def _why() -> str:
    """Whether somebody asked the server to cancel this run, or its process alone was told to end."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run.id).state
    except (httpx.HTTPError, PrefectException):
        state = None
    asked = state is not None and (state.is_cancelling() or state.is_cancelled())
    return "cancelled on request" if asked else "stopped by a signal"


class _TaskLines(logging.Filter):
    """What Prefect says of a task that ends, in the log of its flow run.

    Prefect repeats an error with its traceback at every level. Here the traceback is left to the flow run, where the
    error goes on to it, and is left away where the error is an answer for a person.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is kept; it may be changed."""
        text = record.getMessage()
        if text.startswith("Finished in state Failed"):
            return False
        if text.startswith("Finished in state Cancelled"):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and (isinstance(error, KlineError) or _passed_on.get()):
            record.msg, record.args, record.exc_info = said(error), None, None
        return True


class _FlowLines(logging.Filter):
    """What Prefect says of a flow that failed, after the hooks of its state have told why."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is kept."""
        error = record.exc_info[1] if record.exc_info else None
        told = isinstance(error, KlineError) or hasattr(error, _TOLD)
        return not (told and record.getMessage().startswith("Engine execution exited"))


logging.getLogger("prefect.task_runs").addFilter(_TaskLines())
logging.getLogger("prefect.flow_runs").addFilter(_FlowLines())
