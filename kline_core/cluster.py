"""The Dask threaded cluster, and the only module that imports Dask.

Without a scheduler address a cluster is started inside this process: one worker whose threads share what it loads.
With one, a standing cluster is used, whose workers keep what they have loaded from run to run. Both do the same work
through the same functions of `kline_core.worker`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

import dask
import numpy as np
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, Security
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.comm.core import connect
from distributed.deploy.spec import SpecCluster

from kline_core import worker
from kline_core.errors import KlineError, SchedulerError, SettingError
from kline_core.keys import ResourceKey
from kline_core.worker import Dates, Overview

CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
WORKERLESS_SECONDS = 60.0
MAX_THREADS = 16
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster in use. Safe to share between threads."""

    client: Client
    threads: int
    """Threads of all workers together."""
    address: str

    @property
    def lost(self) -> bool:
        """Whether the scheduler is gone, or all of its workers are."""
        return self.client.status in ("closing", "closed") or not self.client.scheduler_info(n_workers=-1)["workers"]

    def load(self, key: ResourceKey, as_of: np.datetime64 | None = None) -> Overview:
        """Have every worker load a state, all at the same time; what one of them says of it.

        Raises what loading raises, and `SchedulerError` where the workers were lost, as the other methods do.
        """
        addresses = list(self.client.scheduler_info(n_workers=-1)["workers"])
        futures = [self._submit(worker.overview, key, as_of, workers=[address]) for address in addresses]
        if not futures:
            raise SchedulerError(f"the cluster at {self.address} has lost its workers; start one and run again")
        overviews: list[Overview] = [self._answer(future) for future in futures]
        return overviews[0]

    def plan(self, key: ResourceKey, symbol: str, samples: int, as_of: np.datetime64 | None) -> Dates:
        """Sample dates of a symbol; see `kline_core.pipeline.plan_dates`."""
        dates: Dates = self._answer(self._submit(worker.plan, key, symbol, samples, as_of))
        return dates

    def score(
        self, key: ResourceKey, symbol: str, dates: Dates, stored: "np.typing.NDArray[np.int64]", chunks: int
    ) -> Iterator[Any]:
        """Samples of a symbol in at most `chunks` pieces, each `Scored`, as they are finished."""
        cuts = [piece for piece in np.array_split(np.arange(len(dates)), chunks) if len(piece)]
        futures = [self._submit(worker.score, key, symbol, dates[cut], stored[cut]) for cut in cuts]
        for future in futures:
            yield self._answer(future)

    def _submit(self, function: Callable[..., Any], *arguments: Any, workers: list[str] | None = None) -> Future[Any]:
        # Named after the function, so that Dask's dashboard says what is going on.
        name = f"{function.__name__}-{uuid4().hex}"
        # A worker that has left since it was listed would be waited for without end, were no other one allowed.
        elsewhere = workers is not None
        try:
            return self.client.submit(
                worker.answered,
                function,
                *arguments,
                key=name,
                workers=workers,
                allow_other_workers=elsewhere,
                pure=False,
            )
        except ClosedClientError as error:
            raise self._gone() from error

    def _answer(self, future: Future[Any]) -> Any:
        try:
            answer = self._wait(future)
        except KilledWorker as error:
            raise SchedulerError(
                f"the work killed worker after worker of the cluster at {self.address}; "
                "look into the workers' logs, and whether they have memory enough"
            ) from error
        except FutureCancelledError as error:
            raise self._gone() from error
        if isinstance(answer, KlineError):
            raise answer
        return answer

    def _wait(self, future: Future[Any]) -> Any:
        # In short waits: a client that has lost its scheduler leaves some futures pending for ever, and so does a
        # scheduler that has lost its last worker.
        workerless_since = None
        while True:
            if self.client.status in ("closing", "closed"):
                raise self._gone()
            try:
                return future.result(timeout=PATIENCE_SECONDS)
            except TimeoutError:
                if future.done():
                    raise
            if self.client.scheduler_info(n_workers=-1)["workers"]:
                workerless_since = None
            elif workerless_since is None:
                workerless_since = monotonic()
                _LOG.warning("no workers left at %s, waiting %d s for one", self.address, WORKERLESS_SECONDS)
            elif monotonic() - workerless_since > WORKERLESS_SECONDS:
                raise SchedulerError(
                    f"the cluster at {self.address} has had no workers for {WORKERLESS_SECONDS:.0f} s; "
                    f"start one with `dask worker {self.address} --nthreads N` and run again"
                )

    def _gone(self) -> SchedulerError:
        return SchedulerError(
            f"the scheduler at {self.address} gave up the work or went away; see whether it still runs, and run again"
        )


@contextmanager
def open_cluster(address: str | None = None, threads: int | None = None) -> Iterator[Cluster]:
    """The standing cluster at `address`, or else one of `threads` threads inside this process.

    `threads` is the number of cores unless given. Raises `SettingError` for a number of threads out of bounds, and
    `SchedulerError` where nobody listens at the address, or it has no workers.
    """
    if address is not None:
        with _standing(address) as cluster:
            yield cluster
        return
    threads = checked_threads(threads)
    # Both addresses, since either left out opens a port on the machine's outer interface. No memory limit: the worker
    # would measure it against the whole process, and beyond it wait for ever for memory that is in use to come free.
    local: SpecCluster = LocalCluster(
        processes=False,
        n_workers=1,
        threads_per_worker=threads,
        memory_limit=None,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    )
    with local, Client(local) as client:
        yield Cluster(client, threads, local.scheduler_address)


def checked_threads(threads: int | None) -> int:
    """The number itself, or one thread a core and at most 16 for None. Raises `SettingError` where out of bounds."""
    if threads is None:
        # Dask's count knows the limits of the container.
        return max(1, min(CPU_COUNT, MAX_THREADS))
    if not 1 <= threads <= 256:
        raise SettingError(f"threads is {threads}; it must be between 1 and 256")
    return threads


@contextmanager
def _standing(address: str) -> Iterator[Cluster]:
    try:
        # In a thread of its own, since the caller's may be running an event loop already.
        with ThreadPoolExecutor(1, "probe") as pool:
            pool.submit(asyncio.run, _probe(address)).result()
        with dask.config.set({"distributed.comm.timeouts.connect": CONNECT_SECONDS}):
            client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:  # addresses can be wrong in more ways than Dask has exceptions for
        raise SchedulerError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}); "
            "start one with `dask scheduler`, or leave the address out to compute in this process"
        ) from error
    with client:
        threads = sum(client.nthreads().values())
        if threads == 0:
            raise SchedulerError(
                f"the Dask scheduler at {address} has no workers; start one with `dask worker {address} --nthreads N`"
            )
        yield Cluster(client, threads, address)


async def _probe(address: str) -> None:
    """Raise where no Dask server answers within `CONNECT_SECONDS`; a `Client` waits for ever for one that is silent."""
    security = Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT_SECONDS):
        comm = await connect(address, timeout=CONNECT_SECONDS, **security)
        comm.abort()
