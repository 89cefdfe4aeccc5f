"""The end of a wait on a cluster that has lost the work, has no worker left, or none that takes up work."""

from collections.abc import Mapping
from time import monotonic

from kline_core._logging import Listener, listening, logger
from kline_core.errors import SchedulerError

WORKERLESS_SECONDS = 60.0
PAUSED_SECONDS = 300.0
"""Seconds for which all workers may be paused; what they had begun may free the memory that they lack."""
PAUSED = "paused"
"""Dask's word for a worker that takes up no work until it has memory again."""
_LOG = logger(__name__)


class WorkerLostError(SchedulerError):
    """Work was lost with its worker: it killed worker after worker, or the one that it was meant for left."""


class Patience:
    """Patience of one wait, which looks at the workers again and again."""

    def __init__(self, address: str, log: Listener | None) -> None:
        """For the cluster at `address`; `log` is called with what is said of it."""
        self._address, self._log = address, log
        self._none_since: float | None = None
        self._paused_since: float | None = None

    def check(self, workers: Mapping[str, str]) -> None:
        """Take note of the present workers, by address, and of Dask's word for the state of each.

        Raises `SchedulerError` if there has been none for `WORKERLESS_SECONDS`, or all have been paused for
        `PAUSED_SECONDS`.
        """
        if workers:
            self._none_since = None
        elif self._none_since is None:
            self._none_since = monotonic()
            self._warn("no workers left at %s, waiting %d s for one", self._address, WORKERLESS_SECONDS)
        elif monotonic() - self._none_since > WORKERLESS_SECONDS:
            raise SchedulerError(
                f"the cluster at {self._address} has had no workers for {WORKERLESS_SECONDS:.0f} s; "
                f"start one with `dask worker {self._address} --nthreads N` and run again",
                address=self._address,
            )
        if not workers or any(state != PAUSED for state in workers.values()):
            self._paused_since = None
        elif self._paused_since is None:
            self._paused_since = monotonic()
            self._warn("all workers at %s are paused for want of memory", self._address)
        elif monotonic() - self._paused_since > PAUSED_SECONDS:
            raise SchedulerError(
                f"all workers of the cluster at {self._address} have been paused for {PAUSED_SECONDS:.0f} s for want "
                "of memory; give them more, or raise or remove their limit (--memory-limit 0), and run again",
                address=self._address,
            )

    def _warn(self, message: str, *arguments: object) -> None:
        with listening(self._log):
            _LOG.warning(message, *arguments)
