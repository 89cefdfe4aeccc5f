"""The end of a wait on a cluster that lost the work, has no worker left, none that takes up work, or a stalled one."""

from collections.abc import Mapping
from time import monotonic, perf_counter, time

from kline_core._logging import Listener, listening, logger
from kline_core.errors import SchedulerError

WORKERLESS_SECONDS = 60.0
PAUSED_SECONDS = 300.0
"""Seconds for which all workers may be paused; what they had begun may free the memory that they lack."""
SET_BACK_SECONDS = 60.0
"""Seconds by which the machine's clock may be set back, and for which a wait goes on if it was set back further."""
ONE_PAUSED_SECONDS = 60.0
"""Seconds for which one worker may be paused where others can do its work."""
PAUSED = "paused"
"""Dask's word for a worker that takes up no work until it has memory again."""
_LOG = logger(__name__)


class WorkerLostError(SchedulerError):
    """Work was lost with its worker: it killed worker after worker, or the one that it was meant for left."""


class WorkerPausedError(SchedulerError):
    """The only worker that work was meant for took up none for too long."""


class ClockWatch:
    """Watches, for a cluster in use, whether the machine's clock is set back.

    Dask collects messages until a time of day (`distributed.batched`), which is then that much later.
    """

    def __init__(self) -> None:
        """Watch from now on."""
        self._ahead = _clock_ahead()
        self._seen: float | None = None

    def set_back(self) -> float:
        """Seconds by which the clock was set back, 0 if these are few or have passed since they were first seen."""
        # A clock that was wrong and is set right again is set back too.
        self._ahead = max(self._ahead, _clock_ahead())
        back, now = self._ahead - _clock_ahead(), perf_counter()
        if back <= SET_BACK_SECONDS:
            self._seen = None
        elif self._seen is None:
            self._seen = now
        elif now - self._seen > back:
            self._ahead, self._seen = _clock_ahead(), None
        return 0.0 if self._seen is None else back


def _clock_ahead() -> float:
    """Seconds by which the machine's clock is ahead of one that nobody sets, which change when it is set."""
    return time() - perf_counter()


class Patience:
    """Patience of one wait, which looks at the workers again and again."""

    def __init__(self, address: str, log: Listener | None, clock: ClockWatch | None = None) -> None:
        """For the cluster at `address`, whose `clock` is watched; `log` is called with what is said of it."""
        self._address, self._log = address, log
        self._clock = clock or ClockWatch()
        self._set_back_since: float | None = None
        self._none_since: float | None = None
        self._paused_since: float | None = None

    def check_one(self, address: str, state: str, seconds: float | None = None) -> None:
        """Take note of Dask's word for the state of the only worker that the work is meant for.

        Raises `WorkerPausedError` if it has been paused for so many seconds, `PAUSED_SECONDS` by default, and as
        `check` for the clock.
        """
        self._check_clock()
        seconds = PAUSED_SECONDS if seconds is None else seconds
        if self._paused_for(seconds, state == PAUSED, f"the worker at {address} is"):
            raise WorkerPausedError(
                f"the worker at {address} of the cluster at {self._address} has been paused for {seconds:.0f} s for "
                "want of memory; give it more, or raise or remove its limit (--memory-limit 0), and run again",
                address=address,
            )

    def check(self, workers: Mapping[str, str]) -> None:
        """Take note of the present workers, by address, and of Dask's word for the state of each.

        Raises `SchedulerError` if there has been none for `WORKERLESS_SECONDS`, if all have been paused for
        `PAUSED_SECONDS`, or if the clock was set back and nothing has come for `SET_BACK_SECONDS`.
        """
        self._check_clock()
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
        paused = bool(workers) and all(state == PAUSED for state in workers.values())
        if self._paused_for(PAUSED_SECONDS, paused, f"all workers at {self._address} are"):
            raise SchedulerError(
                f"all workers of the cluster at {self._address} have been paused for {PAUSED_SECONDS:.0f} s for want "
                "of memory; give them more, or raise or remove their limit (--memory-limit 0), and run again",
                address=self._address,
            )

    def _paused_for(self, seconds: float, paused: bool, who: str) -> bool:
        """Whether those who are `paused`, or not, have been for longer; says once that they are."""
        if not paused:
            self._paused_since = None
        elif self._paused_since is None:
            self._paused_since = monotonic()
            self._warn("%s paused for want of memory", who)
        else:
            return monotonic() - self._paused_since > seconds
        return False

    def _check_clock(self) -> None:
        back = self._clock.set_back()
        if not back:
            self._set_back_since = None
        elif self._set_back_since is None:
            self._set_back_since = perf_counter()
            self._warn("the clock was set back by %d s; messages of the cluster at %s may wait", back, self._address)
        elif perf_counter() - self._set_back_since > SET_BACK_SECONDS:
            raise SchedulerError(
                f"the clock of this machine was set back by {back:.0f} s while the cluster at {self._address} was in "
                "use, and Dask holds back messages for as long; run again, on a new cluster: what is stored is used",
                address=self._address,
            )

    def _warn(self, message: str, *arguments: object) -> None:
        with listening(self._log):
            _LOG.warning(message, *arguments)
