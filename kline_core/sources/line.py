"""The line of requests to a vendor: so many at once, so many a minute, and again after a failure that may pass."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from kline_core._logging import logger, one_line
from kline_core.errors import KlineError, SourceError
from kline_core.sources.source import Limits

Result = TypeVar("Result")

ATTEMPTS: Final = 5
FIRST_WAIT = 2.0
"""Seconds before the second attempt, about; each further wait is twice as long."""
LONGEST_WAIT: Final = 30.0
_MINUTE: Final = 60.0
_log = logger(__name__)


class ExhaustedError(SourceError):
    """A vendor did not answer, however often it was asked."""


class Line:
    """Runs requests of several threads within the limits of a vendor.

    What fails is tried again, whatever it is: vendors answer with a page where they are busy, and clients then fail in
    any way. Only an error raised on purpose is final.
    """

    def __init__(
        self,
        source: str,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        """Make a line.

        Args:
            source: Name of the vendor, for errors.
            limits: What the vendor bears.
            clock: Seconds, for the requests of the last minute.
            pause: Waits for some seconds and tells whether to give up; None to wait until `stop`.
        """
        self._source, self._limits, self._clock = source, limits, clock
        self._turns = threading.BoundedSemaphore(limits.at_once)
        self._begun: deque[float] = deque(maxlen=limits.per_minute)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pause = self._stopped.wait if pause is None else pause

    def stop(self) -> None:
        """Let no request begin any more, and end all waits."""
        self._stopped.set()

    def __call__(self, request: Callable[[], Result]) -> Result:
        """What a request returns.

        Raises `ExhaustedError` for one that failed `ATTEMPTS` times, and `SourceError` for all after `stop`.
        """
        retrying = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT) + wait_random(0, FIRST_WAIT),
            retry=retry_if_exception(_may_pass),
            sleep=self._wait,
            before_sleep=self._say,
            reraise=True,
        )
        try:
            result: Result = retrying(self._in_turn, request)
            return result
        except KlineError:
            raise
        except Exception as error:
            raise ExhaustedError(
                f"{self._source} failed {ATTEMPTS} times, at last with {one_line(error)}; try again later",
                source=self._source,
            ) from error

    def _in_turn(self, request: Callable[[], Result]) -> Result:
        with self._turns:
            while (left := self._seconds_left()) > 0:
                self._wait(left)
            if self._stopped.is_set():
                raise SourceError(f"the fetch from {self._source} was stopped", source=self._source)
            return request()

    def _seconds_left(self) -> float:
        """Seconds until one more request is within the limit of a minute; 0 if it is now, and then it counts."""
        with self._lock:
            now = self._clock()
            full = len(self._begun) == self._begun.maxlen
            left = self._begun[0] + _MINUTE - now if full else 0.0
            if left <= 0:
                self._begun.append(now)
            return max(left, 0.0)

    def _wait(self, seconds: float) -> None:
        if self._pause(seconds):
            raise SourceError(f"the fetch from {self._source} was stopped", source=self._source)

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Exception):
            _log.info("%s: attempt %d failed: %s", self._source, state.attempt_number, one_line(error))


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Exception) and not isinstance(error, KlineError)
