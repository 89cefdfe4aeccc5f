import ast
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import kline_core
from kline_core._logging import listening, logger

LOG = logger("kline_core.somewhere")


@pytest.fixture
def said():
    return []


@pytest.fixture
def listener(said):
    return lambda level, message: said.append((level, message))


def test_what_is_said_goes_to_the_listener_and_nowhere_else(said, listener, caplog):
    with caplog.at_level(logging.DEBUG), listening(listener):
        LOG.info("%d patterns", 3)
        LOG.warning("100 % broke")
        LOG.debug("a detail")
    assert said == [(logging.INFO, "3 patterns"), (logging.WARNING, "100 % broke")]
    assert caplog.messages == ["a detail"]


def test_without_a_listener_the_log_is_the_process_s_own(said, listener, caplog):
    with listening(listener):
        pass
    with caplog.at_level(logging.INFO), listening(None):
        LOG.info("%d patterns", 3)
    assert said == []
    ((name, level, message),) = caplog.record_tuples
    assert (name, level, message) == ("kline_core.somewhere", logging.INFO, "3 patterns")
    assert caplog.records[0].pathname == __file__
    assert caplog.records[0].funcName == "test_without_a_listener_the_log_is_the_process_s_own"


def test_what_nobody_asked_to_see_is_not_said(caplog):
    with caplog.at_level(logging.WARNING):
        LOG.info("quiet")
    assert caplog.messages == []


def test_a_listener_hears_its_own_thread_only(said, listener):
    with ThreadPoolExecutor(1) as pool, listening(listener):
        pool.submit(LOG.error, "elsewhere").result()
        LOG.error("here")
    assert said == [(logging.ERROR, "here")]


def test_after_an_error_nobody_listens(said, listener):
    with pytest.raises(ZeroDivisionError), listening(listener):
        raise ZeroDivisionError
    LOG.error("too late")
    assert said == []


@pytest.mark.slow
def test_the_library_logs_through_these_alone():
    """What another logger says would stay on the worker."""
    for path in Path(kline_core.__file__).parent.rglob("*.py"):
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert path.name == "_logging.py" or "logging.getLogger" not in calls, path
