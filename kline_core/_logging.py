"""Loggers that report to a thread's listener instead of the process's log.

The tasks of a run execute in threads of a cluster, often in another process, and the user who follows the run does not
read that process's log. While `listening` is in force in a thread, the library's loggers send their messages from INFO
upwards to the listener instead of the log, so that each message appears once.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kline_core._secrets import masked
from kline_core._text import harmless
from kline_core.errors import KlineError

Listener = Callable[[int, str], object]
"""Called with the level and the message of a log record."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose messages from INFO upwards go to the thread's listener, if the thread has one."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a message; arguments as for `logging.Logger.log`."""
        listener = _listener.get()
        if listener is not None and level >= logging.INFO:
            listener(level, str(msg) % args if args else str(msg))
        elif self.isEnabledFor(level):
            # The record must name the line that logs; `logging` skips its own frames, but not this method's.
            self.logger.log(level, msg, *args, **{"stacklevel": 2} | kwargs)


def logger(name: str) -> TaskLogger:
    """Logger of a module of the library."""
    return TaskLogger(logging.getLogger(name), {})


def one_line(error: Exception) -> str:
    """First line of an error, without secrets, and with its kind unless it is a `KlineError`."""
    text = harmless(masked((str(error).splitlines() or [""])[0]))
    return text if isinstance(error, KlineError) else f"{type(error).__name__}: {text}"


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Send the messages of this thread to a listener; None leaves them to the process's log."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
