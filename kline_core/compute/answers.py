"""The answers of a cluster: what a worker does with a call, and how a client waits for what comes of it.

Log records of a task go to its client alone, as events under a topic of that client. They travel the same way as the
news that the task is done, and arrive before it.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from distributed import Client, Future, KilledWorker, Worker, get_worker
from distributed.client import FutureCancelledError
from distributed.scheduler import NoValidWorkerError

from kline_core._cores import Cores, of_worker
from kline_core._logging import Listener, listening
from kline_core._memory import grant
from kline_core.compute import tasks
from kline_core.compute.patience import WorkerLostError
from kline_core.compute.program import Program, check_loaded_since, check_once
from kline_core.errors import EncoderError, HomeError, KlineError, SchedulerError

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster

PATIENCE_SECONDS = 2.0
"""Seconds of one wait, after which the workers are looked at."""

T = TypeVar("T")
_CORES: "WeakKeyDictionary[Worker, Cores]" = WeakKeyDictionary()
_KEEPING = threading.Lock()


class StillWaiting(Exception):  # noqa: N818  no error
    """An answer is not there yet."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """A Dask future that may be asked for its result again and again, each time for a short while.

    Dask fetches the results that several threads wait for in one request. A wait on its own futures that runs out
    cancels that request, and no thread that waits for it, or asks later, gets a result. Here such a wait ends alone.
    """

    client: Client
    future: "Future[Any]"

    def done(self) -> bool:
        """Whether the task has ended."""
        return bool(self.future.done())

    def result(self, timeout: float | None = None) -> Any:
        """The result; raises what the task raised, and TimeoutError after so many seconds."""
        return self.client.sync(self._fetched, callback_timeout=timeout)

    async def _fetched(self) -> Any:
        # Unshielded until the task has ended, so that nothing holds the future of one that nobody waits for any more.
        state = self.future._state
        assert state is not None, "a client made it"
        await state.wait()
        return await asyncio.shield(self.future._result())


@dataclass(frozen=True, slots=True)
class PendingAnswer(Generic[T]):
    """Handle of a call in flight."""

    cluster: "Cluster"
    future: Gathering
    worker: str | None = None
    """Address of the only worker that may answer; None for any."""
    again: Callable[[], "PendingAnswer[T]"] | None = None
    """Calls again, where any worker may answer."""

    def result(self, paused_seconds: float | None = None) -> T:
        """Wait for the result, that of another worker if one cannot read what the others can.

        `paused_seconds`: for which the only worker that may answer may be paused; None for `PAUSED_SECONDS`.

        Raises what the call raises, `SchedulerError` if the work is lost, `WorkerLostError` if it was lost with its
        worker, and `WorkerPausedError` if the only worker that may answer takes up no work.
        """
        cluster = self.cluster
        patience = cluster.patience()
        # Short waits, since some futures stay pending for ever if the client has lost its scheduler, or the scheduler
        # its last worker, or the one that the call is meant for.
        while True:
            try:
                return self.within(PATIENCE_SECONDS)
            except (HomeError, EncoderError) as error:
                if self.again is None or not cluster.refuse(error):
                    raise
                return self.again().result()
            except StillWaiting:
                workers = cluster.workers
            if self.worker is None:
                patience.check(workers)
            elif self.worker in workers:
                patience.check_one(self.worker, workers[self.worker], paused_seconds)
            else:
                raise WorkerLostError(
                    f"the worker at {self.worker} of the cluster at {cluster.address} died or left while it was at "
                    "work; look into its log, and run again",
                    address=self.worker,
                )

    def within(self, seconds: float) -> T:
        """The result, if it comes in time. Raises as `result`, and `StillWaiting`."""
        try:
            answer = self._answer(seconds)
        except KilledWorker as error:
            raise WorkerLostError(
                f"the work killed worker after worker of the cluster at {self.cluster.address}; "
                "look into the workers' logs, and whether they have memory enough",
                address=self.cluster.address,
            ) from error
        except NoValidWorkerError as error:
            raise SchedulerError(
                f"the scheduler at {self.cluster.address} gave up the work, since no worker came that may do it; start "
                f"one with `dask worker {self.cluster.address} --nthreads N` and run again",
                address=self.cluster.address,
            ) from error
        except FutureCancelledError as error:
            raise self.cluster.gone() from error
        if isinstance(answer, KlineError):
            raise answer
        return answer  # type: ignore[no-any-return]

    def _answer(self, seconds: float) -> Any:
        if self.cluster.client.status in ("closing", "closed"):
            raise self.cluster.gone()
        try:
            return self.future.result(timeout=seconds)
        except TimeoutError:
            if self.future.done():
                # Done just in time, or the task itself timed out.
                return self.future.result()
            raise StillWaiting from None


def answered_call(program: Program, topic: str | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """On a worker: `tasks.answered` for a client of the same program.

    Log records are published under `topic`, if there is one.
    """
    dask_worker = get_worker()
    grant(dask_worker.memory_manager.memory_limit)
    listener: Listener | None = None
    if topic is not None:

        def listener(level: int, message: str) -> None:
            dask_worker.log_event(topic, [level, message])

    def checked() -> Any:
        check_once(program, dask_worker.address, topic)
        answer = function(*arguments)
        check_loaded_since(dask_worker.address)
        return answer

    with listening(listener), of_worker(_cores_of(dask_worker)):
        try:
            return _named(tasks.answered(checked), dask_worker.address)
        except RecursionError as error:
            message = str(error)
    # Raised anew, since Dask cannot send so deep a traceback: its client would trip over what comes, and wait for ever.
    raise RecursionError(message)


def _cores_of(dask_worker: Worker) -> Cores:
    with _KEEPING:
        if dask_worker not in _CORES:
            _CORES[dask_worker] = Cores(dask_worker.state.nthreads)
        return _CORES[dask_worker]


def _named(answer: Any, address: str) -> Any:
    """An answer of the worker at an address, which an error names if it may be one of this worker alone."""
    if isinstance(answer, HomeError | EncoderError) and not address.startswith("inproc://"):
        answer.worker = address
        answer.args = (f"{answer} (so says the worker at {address})",)
    return answer
