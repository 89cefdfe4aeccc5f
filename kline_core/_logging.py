"""Loggers whose records reach whoever asked for the work, wherever the work is done.

A run's work is done in threads of a cluster, perhaps of another process, whose log nobody reads who looks at the run.
While `listening` is in force in a thread, what the library's loggers say there goes to the listener, in the place of
the process's own log; so everything is said once.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Listener = Callable[[int, str], object]
"""Called with the level of a record and its message."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger of the library: what it says from INFO upwards goes to the thread's listener, where it has one."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Say something; arguments as for `logging.Logger.log`."""
        listener = _listener.get()
        if listener is not None and level >= logging.INFO:
            listener(level, str(msg) % args if args else str(msg))
        elif self.isEnabledFor(level):
            # Neither this method nor its callers within `logging` are where it was said.
            self.logger.log(level, msg, *args, **{"stacklevel": 2} | kwargs)


def logger(name: str) -> TaskLogger:
    """The logger of a module of the library."""
    return TaskLogger(logging.getLogger(name), {})


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Have a listener told of what is said in this thread; None leaves everything to the process's own log."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
