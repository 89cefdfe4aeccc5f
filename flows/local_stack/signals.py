"""Ctrl-C and SIGTERM as a wish that is looked at, instead of an exception that comes anywhere."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Self


class StoppedError(Exception):
    """A signal to stop came while something was waited for."""


class Signals:
    """Counts signals to stop while it is entered, in the main thread."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = -1, -1
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        self._read, self._write = os.pipe()
        # A closed terminal is a reason to stop as well.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[each] = signal.signal(each, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signals back."""
        for each, handler in self._before.items():
            signal.signal(each, handler)
        os.close(self._read)
        os.close(self._write)

    def pause(self, seconds: float) -> None:
        """Wait. Raises `StoppedError` where a signal has come, at once when it comes."""
        # A pipe, since a handler may interrupt a wait on a lock while it holds what the handler itself would need.
        readable, _, _ = select.select([self._read], [], [], seconds)
        if readable:
            raise StoppedError

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature of handlers
        self.count += 1
        os.write(self._write, b".")
