"""Progress of a flow run, as an artifact that is updated while the run works."""

import contextvars
import threading
from collections.abc import Mapping
from time import perf_counter
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

from kline_core._logging import one_line
from kline_core.compute.progress import SampleCount
from kline_core.compute.run_report import SymbolResult

INTERVAL = 2.0
"""Seconds between two updates of the artifact."""


class LiveProgress:
    """Publishes how far a run is; called with results, as `kline_core.compute.results.Progress`.

    A thread of its own sends the newest state, so that the run never waits for the server. A server that does not
    answer causes one warning in the log, and does not disturb the run.
    """

    def __init__(self, key: str, expected: Mapping[str, int]) -> None:
        self.count = SampleCount(expected)
        self._symbols = len(expected)
        self._started = perf_counter()
        self._over = threading.Event()
        self._silent = False
        self._logger = get_run_logger()
        self.artifact: UUID = create_progress_artifact(0.0, key=key, description=self.line())  # type: ignore[assignment]
        # In Prefect's context, from which the artifact's client takes its server.
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._keep_up,), daemon=True)

    def __enter__(self) -> Self:
        """Start sending."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send the last state."""
        self._over.set()
        self._thread.join()

    def __call__(self, result: SymbolResult) -> None:
        """Count a symbol's newest result."""
        self.count.update(result)

    def line(self) -> str:
        """Time left, rate, symbols and samples in one line; what matters first, since lists of artifacts cut it off."""
        count = self.count
        seconds = perf_counter() - self._started
        rate = count.finished / seconds if seconds > 0 else 0.0
        left = f"{_duration((count.total - count.finished) / rate)} left" if rate else "time left unknown"
        # A broken symbol leaves samples uncounted after the end.
        if self._over.is_set() or count.finished >= count.total:
            left = f"took {_duration(seconds)}"
        return (
            f"{left}, {rate:.0f} samples/s; {count.symbols} of {self._symbols} symbols; {count.finished} of "
            f"{count.total} samples = {count.done} done + {count.failed} failed + {count.reused} re-used"
        )

    def _keep_up(self) -> None:
        shown = None
        while not self._over.wait(INTERVAL):
            if self.count.finished != shown:
                shown = self.count.finished
                self._send()
        self._send()

    def _send(self) -> None:
        share = self.count.finished / self.count.total if self.count.total else 1.0
        try:
            update_progress_artifact(self.artifact, 100 * min(1.0, share), self.line())
        except (httpx.HTTPError, PrefectException) as error:
            if not self._silent:
                self._logger.warning("progress cannot be shown (%s); the run goes on", one_line(error))
            self._silent = True


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
