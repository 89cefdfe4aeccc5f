"""Ctrl-C and SIGTERM as a count to check, instead of an exception that may come anywhere."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Self


class StoppedError(Exception):
    """A stop signal arrived during a wait."""


class Signals:
    """Counts stop signals while it is entered, in the main thread."""

    def __init__(self) -> None:
        self.count = 0
        self._read, self._write = -1, -1
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._read, self._write = os.pipe()
        # SIGHUP too: a closed terminal is a reason to stop.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[each] = signal.signal(each, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the earlier handlers."""
        for each, handler in self._before.items():
            signal.signal(each, handler)
        os.close(self._read)
        os.close(self._write)

    def pause(self, seconds: float) -> None:
        """Wait for `seconds`. Raises `StoppedError` as soon as a signal has arrived."""
        # A pipe, not a lock: the handler may interrupt a wait that holds the very lock that it needs.
        readable, _, _ = select.select([self._read], [], [], seconds)
        if readable:
            raise StoppedError

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature of handlers
        self.count += 1
        os.write(self._write, b".")
