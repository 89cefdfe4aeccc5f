"""Standard output and error of a flow run's process, which outlive its worker.

Prefect's worker reads both through pipes. Once it is gone nobody does, and whoever writes there fails: Prefect's
console log then ends the process, however far its run is, and `print` raises. From then on output goes to the log of
the worker that `kline up` started, or nowhere if there is none; the log on the run's page takes another way, and misses
nothing.

Native code writes past all this: its lines are lost until something else has been written, and nothing ends.
"""

import io
import logging
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import get_current_settings

WORKER_LOG = Path("logs", "worker.log")
"""Log of the worker that `kline up` starts, in the folder of Prefect."""


class _Lasting(io.FileIO):
    """An open descriptor. Once it cannot be written any more it leads to the worker's log, or nowhere."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data)
        with suppress(OSError):
            self._redirect()
            return super().write(data)
        # The disk is full.
        return len(data)

    def _redirect(self) -> None:
        try:
            target = os.open(get_current_settings().home / WORKER_LOG, os.O_WRONLY | os.O_APPEND)
        except OSError:
            target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, self.fileno())
        os.close(target)


def outlive_worker() -> None:
    """Have output that goes into a pipe end nothing once nobody reads it."""
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        if not stat.S_ISFIFO(os.fstat(old.fileno()).st_mode):
            continue
        old.flush()
        raw = _Lasting(old.fileno(), "wb", closefd=False)
        new = io.TextIOWrapper(io.BufferedWriter(raw), old.encoding, old.errors, line_buffering=True)
        setattr(sys, name, new)
        for logger in (logging.root, *logging.root.manager.loggerDict.values()):
            for handler in getattr(logger, "handlers", ()):
                if getattr(handler, "stream", None) is old:
                    handler.setStream(new)
                    if isinstance(handler, PrefectConsoleHandler):
                        handler.console.file = new
