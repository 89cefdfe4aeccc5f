"""How flows and steps end, without a server."""

import logging
import signal
from typing import Any

import pytest
from prefect import State
from prefect.exceptions import TerminationSignal
from prefect.states import Completed

from flows.common import ending
from flows.common.ending import answering, cancellable
from kline_core.errors import SettingError

LOG = logging.getLogger("prefect.task_runs")
HERE = {"send_to_api": False}


def ended(error: BaseException | None) -> State[Any]:
    @answering
    def flow() -> State[Any]:
        if error is not None:
            raise error
        return Completed(message="all of it")

    return flow()


def test_an_error_is_the_state_of_the_flow_with_its_message_alone() -> None:
    refused, defect = SettingError("samples is 0; at least 1"), ValueError("bars on fire")
    assert ended(None).message == "all of it"
    for error, message in (refused, "samples is 0; at least 1"), (defect, "ValueError: bars on fire"):
        state = ended(error)
        assert state.is_failed()
        assert state.message == message
        with pytest.raises(type(error)) as caught:
            state.result()
        assert caught.value is error


def test_a_signal_ends_a_step_as_cancelled_and_goes_on_to_the_flow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @cancellable
    def step() -> None:
        raise told

    told = TerminationSignal(signal.SIGTERM)
    state: Any = step()
    assert state.is_cancelled()
    with pytest.raises(TerminationSignal):
        state.result()

    monkeypatch.setattr(ending, "get_run_logger", lambda: logging.getLogger("flow run"))
    monkeypatch.setattr(ending, "_why", lambda: "cancelled on request")
    with caplog.at_level(logging.INFO, "flow run"):
        with pytest.raises(TerminationSignal):
            ended(told)
        told.add_note("12 values that it computed are stored")
        with pytest.raises(TerminationSignal):
            ended(told)
    assert [record.getMessage() for record in caplog.records] == [
        "cancelled on request: what was finished is stored, and the next run does the rest",
        "cancelled on request: 12 values that it computed are stored, and the next run does the rest",
    ]
    assert {record.levelno for record in caplog.records} == {logging.INFO}


@pytest.mark.parametrize(
    ("error", "passed_on", "text", "traceback"),
    [
        (SettingError("samples is 0"), False, "samples is 0", False),
        (SettingError("samples is 0"), True, "samples is 0", False),
        (ValueError("bars on fire"), True, "ValueError: bars on fire", False),
        # Nobody else would tell where it comes from.
        (ValueError("bars on fire"), False, "Task run failed with exception: ValueError('bars on fire')", True),
    ],
)
def test_an_error_of_a_task_is_one_line_unless_it_is_a_defect_that_goes_no_further(
    caplog: pytest.LogCaptureFixture, error: Exception, passed_on: bool, text: str, traceback: bool
) -> None:
    token = ending._passed_on.set(passed_on)
    try:
        raise error
    except Exception as caught:
        LOG.error(f"Task run failed with exception: {caught!r}", exc_info=True, extra=HERE)
    finally:
        ending._passed_on.reset(token)
    (record,) = caplog.records
    assert record.getMessage() == text
    assert bool(record.exc_info) == traceback


def test_a_task_that_failed_is_not_told_twice_and_one_that_was_cancelled_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        for state in "Failed('why')", "Cancelled('why')", "Crashed('why')", "Completed()":
            level = logging.INFO if "Completed" in state else logging.ERROR
            LOG.log(level, "Finished in state %s", state, extra=HERE)
    assert [(record.levelname, record.getMessage().split()[-1]) for record in caplog.records] == [
        ("INFO", "Cancelled('why')"),
        ("ERROR", "Crashed('why')"),
        ("INFO", "Completed()"),
    ]


def test_what_a_flow_has_told_is_not_told_again_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    told, refused, other = ValueError("bars on fire"), SettingError("samples is 0"), OSError("no server")
    ended(told)
    for error in told, refused, other:
        try:
            raise error
        except Exception:
            log = logging.getLogger("prefect.flow_runs")
            log.error("Engine execution exited with unexpected exception", exc_info=True, extra=HERE)
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [other]
