"""The Dask threaded cluster, in the only module that imports Dask.

Without a scheduler address, a cluster starts inside this process: one worker whose threads share what it loads. With an
address, a standing cluster does the work, whose workers keep what they have loaded from run to run. Both run the same
functions of `kline_core.compute.tasks`.

Log records of a task go to its client alone, as events under a topic of that client. They travel the same way as the
news that the task is done, and arrive before it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any, Generic, ParamSpec, TypeVar
from uuid import uuid4

import dask
import numpy as np
from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, Security, get_worker
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.comm.core import connect
from distributed.core import rpc
from distributed.deploy.spec import SpecCluster
from distributed.scheduler import NoValidWorkerError

from kline_core._logging import Listener, listening, one_line
from kline_core.bars.bars_cache import BarsKey
from kline_core.compute import tasks
from kline_core.compute.patience import PAUSED, Patience
from kline_core.compute.program import Program, check_once
from kline_core.compute.tasks import Overview
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.encoder.weights import weights_shape
from kline_core.errors import KlineError, SchedulerError, SettingError
from kline_core.factor.state_key import StateKey
from kline_core.patterns.catalogue import Catalogue
from kline_core.patterns.update import MAX_REMOVED_SHARE, SLICE, PatternsUpdate, update_patterns
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.typing import Floats32, Int32s, Int64s

CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""Seconds for which a scheduler may leave a question unanswered."""
LOOK_SECONDS = 0.2
"""Seconds between two looks for a worker."""
LOADING_LOSSES = 4
"""Times that each worker, on average, may die while it loads; Dask allows a task as many."""
MESSAGE_SECONDS = 0.001
"""Seconds for which Dask gathers messages before it sends them; its own up to 0.01 may leave a core idle."""
MEASURED_SELDOM = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}
"""Slower intervals for Dask's self-monitoring, which takes the interpreter's lock up to a hundred times a second.

It delays work in the same process: an idle cluster took 30 ms of each second, and takes 4 ms at these intervals.
"""
MAX_THREADS = 16
SLICES_PER_THREAD = 3
"""Calls in flight per thread: one at work, and others queued, so that no thread waits for its next one."""
FEW_WINDOWS = 50_000
"""New patterns that one worker encodes by itself, within some seconds; those of a day are fewer."""
_SAID = "kline-said"
_CERTIFICATES = ", ".join(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))

P = ParamSpec("P")
T = TypeVar("T")


class WorkerLostError(SchedulerError):
    """Work was lost with its worker: it killed worker after worker, or the one that it was meant for left."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster in use. Thread-safe."""

    client: Client
    threads: int
    """Number of threads of all workers together."""
    address: str
    log: Listener | None = None
    """Called with the log records of the tasks that workers run for this client."""

    @property
    def topic(self) -> str:
        """Topic of this client's log events; the scheduler keeps the few lines of each topic until it ends."""
        # Not the bare client id: the scheduler announces a leaving client under that, on a closed connection.
        return f"{_SAID}-{self.client.id}"

    @property
    def workers(self) -> dict[str, str]:
        """Addresses of the scheduler's present workers, with Dask's word for the state of each, such as `running`.

        Raises `SchedulerError` if the scheduler leaves the question unanswered.
        """
        return {address: str(worker["status"]) for address, worker in _workers(self.client, self.address).items()}

    @property
    def lost(self) -> bool:
        """Whether the scheduler or all of its workers are gone."""
        try:
            return self.client.status in ("closing", "closed") or not self.workers
        except SchedulerError:
            return True

    def load(self, key: StateKey, as_of: np.datetime64 | None = None) -> Overview:
        """Have all workers load a state at the same time; returns the overview of one of them.

        Workers that come meanwhile load it too, in the place of those that left. Raises what loading raises, and, like
        the other methods, `SchedulerError` if the workers are lost, here also if they die again and again.
        """
        patience = Patience(self.address, self.log)
        asked: dict[str, PendingAnswer[Overview]] = {}
        loaded: dict[str, Overview] = {}
        lost = allowed = 0
        while True:
            workers = self.workers
            patience.check(workers)
            allowed = max(allowed, LOADING_LOSSES * len(workers))
            for address in asked.keys() - workers.keys():
                # Dask would keep a call for an address that has left, whoever comes.
                del asked[address]
                loaded.pop(address, None)
                lost += 1
                if lost >= allowed > 0:
                    raise WorkerLostError(
                        f"{lost} times a worker of the cluster at {self.address} died while it loaded {key.home}, at "
                        f"last the one at {address}, most likely for want of memory; look into the workers' logs, give "
                        "them more memory, or raise or remove their limit (--memory-limit 0), and run again",
                        address=self.address,
                    )
            for address in workers.keys() - asked.keys():
                (asked[address],) = self.submit(tasks.overview, [(key, as_of)], address)
            # One that is paused takes up nothing; those that are not do the work without it.
            if loaded and all(address in loaded or state == PAUSED for address, state in workers.items()):
                return next(iter(loaded.values()))
            self._wait_for_any(asked, loaded)

    def _wait_for_any(self, asked: "dict[str, PendingAnswer[Overview]]", loaded: dict[str, Overview]) -> None:
        """Wait a moment for workers, or for the answers of those that have none in `loaded`, and note these there."""
        if not asked:
            self._pause()
        waiting = asked.keys() - loaded.keys()
        for address in waiting:
            try:
                loaded[address] = asked[address].within(PATIENCE_SECONDS / len(waiting))
            except StillWaiting:
                # The others may have answered; this one may never.
                continue
            except WorkerLostError:
                # Gone, which the next look finds; one that came back to its address has died there again and again.
                if address in self.workers:
                    raise
                return

    def any_worker(self) -> str:
        """Address of a present worker, which takes up work if any does; waits for one if there is none."""
        patience = Patience(self.address, self.log)
        while not (workers := self.workers):
            patience.check(workers)
            self._pause()
        return min(workers, key=lambda address: (workers[address] != "running", address))

    def _pause(self) -> None:
        if self.client.status in ("closing", "closed"):
            raise self.gone()
        sleep(LOOK_SECONDS)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of `kline_core.compute.tasks` on a worker, and return its result.

        Raises what the function raises, and `SchedulerError`.
        """
        (answer,) = self.submit(partial(function, **kwargs) if kwargs else function, [args])
        return answer.result()

    def submit(
        self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]], worker: str | None = None
    ) -> list["PendingAnswer[T]"]:
        """Submit one call of a function of `kline_core.compute.tasks` for each tuple of arguments.

        `worker`: address of the only worker that may answer; None for any. Raises `SchedulerError` if the scheduler is
        gone, and `ProgramError` if the code of this process was replaced.
        """
        if not calls:
            return []
        topic = None if self.log is None else self.topic
        name = getattr(function, "__name__", "call")
        try:
            # One message, so that all calls begin at once.
            futures: list[Future[Any]] = self.client.map(
                partial(_answered, Program.of_client(), topic, function),
                *zip(*calls, strict=True),
                # The keys name the function for Dask's dashboard.
                key=[f"{name}-{uuid4().hex}" for _ in calls],
                workers=None if worker is None else [worker],
                pure=False,
            )
        except ClosedClientError as error:
            raise self.gone() from error
        return [PendingAnswer(self, _Gathering(self.client, future), worker) for future in futures]

    def answers_in_order(self, function: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Results of a function of `kline_core.compute.tasks` for many calls, in the order of the calls.

        Only `SLICES_PER_THREAD` calls per thread are in flight, so that little is left to do if the caller goes away.
        Raises what the function raises, and `SchedulerError`.
        """
        waiting: deque[PendingAnswer[T]] = deque()
        for arguments in calls:
            waiting += self.submit(function, [arguments])
            if len(waiting) >= SLICES_PER_THREAD * self.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def encoding(self, encoder_path: str | Path | None = None, device: str = "auto") -> "ClusterWindowEncoder":
        """A `kline_core.patterns.update.WindowEncoder` that encodes on the workers.

        Raises `EncoderError` if the weights cannot be read here.
        """
        return ClusterWindowEncoder(self, EncoderKey.of(encoder_path, device))

    def update_patterns(
        self,
        home: Home,
        settings: PatternSettings,
        encoder_path: str | Path | None = None,
        device: str = "auto",
        max_removed_share: float = MAX_REMOVED_SHARE,
    ) -> PatternsUpdate:
        """Bring the patterns of a home up to date. Raises as `kline_core.patterns.update.update_patterns`.

        One worker does all if few windows are missing, since it holds the bars already. Otherwise all workers encode
        slices of them, and this process commits.
        """
        threads = max(1, self.threads // max(1, len(self.workers)))
        encoder = EncoderKey.of(encoder_path, device)
        report = self.call(
            tasks.update, BarsKey.newest(home), settings, encoder, FEW_WINDOWS, threads, max_removed_share
        )
        if report is None:
            report = update_patterns(
                home, settings, ClusterWindowEncoder(self, encoder), max_removed_share=max_removed_share
            )
        return report

    def gone(self) -> SchedulerError:
        """The error for work that the scheduler gave up."""
        return SchedulerError(
            f"the scheduler at {self.address} gave up the work or went away; see whether it still runs, and run again",
            address=self.address,
        )


class StillWaiting(Exception):  # noqa: N818  no error
    """An answer is not there yet."""


@dataclass(frozen=True, slots=True)
class _Gathering:
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

    cluster: Cluster
    future: "_Gathering"
    worker: str | None = None
    """Address of the only worker that may answer; None for any."""

    def result(self) -> T:
        """Wait for the result.

        Raises what the call raises, `SchedulerError` if the work is lost, and `WorkerLostError` if it was lost with its
        worker.
        """
        cluster = self.cluster
        patience = Patience(cluster.address, cluster.log)
        # Short waits, since some futures stay pending for ever if the client has lost its scheduler, or the scheduler
        # its last worker, or the one that the call is meant for.
        while True:
            try:
                return self.within(PATIENCE_SECONDS)
            except StillWaiting:
                workers = cluster.workers
            if self.worker is not None and self.worker not in workers:
                raise WorkerLostError(
                    f"the worker at {self.worker} of the cluster at {cluster.address} died or left while it was at "
                    "work; look into its log, and run again",
                    address=self.worker,
                )
            patience.check(workers if self.worker is None else {self.worker: workers[self.worker]})

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


class ClusterWindowEncoder:
    """A `kline_core.patterns.update.WindowEncoder` on the workers of a cluster.

    Workers load the bars by their key, and receive only which windows to encode.
    """

    def __init__(self, cluster: Cluster, encoder: EncoderKey) -> None:
        self._cluster, self._encoder = cluster, encoder
        self.fingerprint = encoder.fingerprint
        self.dim, self.window_bars = weights_shape(encoder.path)

    def vectors(self, bars: BarsKey, windows: Catalogue, progress: Callable[[int], None] | None = None) -> Floats32:
        """Vectors of windows, float32 (n, dim); see `kline_core.patterns.update.WindowEncoder`.

        Raises what loading raises, and `SchedulerError`.
        """
        vectors = np.empty((len(windows), self.dim), dtype=np.float32)
        parts = [slice(start, start + SLICE) for start in range(0, len(windows), SLICE)]
        calls = ((bars, self._encoder, *_named(windows, part)) for part in parts)
        for part, encoded in zip(parts, self._cluster.answers_in_order(tasks.encode, calls), strict=True):
            vectors[part] = encoded
            if progress is not None:
                progress(min(part.stop, len(windows)))
        return vectors


def _named(windows: Catalogue, part: slice) -> tuple[list[str], Int32s, Int64s]:
    """Arguments of `tasks.encode` for some windows: their symbols, codes into these, and bar ordinals."""
    codes, code = np.unique(windows.code[part], return_inverse=True)
    return [windows.symbols[which] for which in codes], code.astype(np.int32), windows.bar[part]


def _answered(program: Program, topic: str | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """On a worker: `tasks.answered` for a client of the same program.

    Log records are published under `topic`, if there is one.
    """
    dask_worker = get_worker()
    listener: Listener | None = None
    if topic is not None:

        def listener(level: int, message: str) -> None:
            dask_worker.log_event(topic, [level, message])

    def checked() -> Any:
        check_once(program, dask_worker.address, topic)
        return function(*arguments)

    with listening(listener):
        try:
            return tasks.answered(checked)
        except RecursionError as error:
            message = str(error)
    # Raised anew, since Dask cannot send so deep a traceback: its client would trip over what comes, and wait for ever.
    raise RecursionError(message)


def _workers(client: Client, address: str) -> dict[str, dict[str, Any]]:
    """What the scheduler at `address` knows of each of its workers, by its address; empty if the line is cut.

    Raises `SchedulerError` if it does not answer.
    """
    if client.status in ("closing", "closed"):
        return {}
    scheduler: Any = client.scheduler
    try:
        # With an end, which Dask's own `scheduler_info` lacks.
        known = client.sync(scheduler.identity, n_workers=-1, callback_timeout=SILENT_SECONDS)
    except TimeoutError as error:
        raise SchedulerError(
            f"the scheduler at {address} has not answered for {SILENT_SECONDS:.0f} s; see whether it still runs and "
            "can be reached, and run again",
            address=address,
        ) from error
    except OSError:
        return {}
    return dict(known["workers"])


def _deliver(log: Listener, event: tuple[float, Any]) -> None:
    """On the client: pass an event, (time, [level, message]), to the log."""
    log(*event[1])


@contextmanager
def open_cluster(
    address: str | None = None, threads: int | None = None, log: Listener | None = None
) -> Iterator[Cluster]:
    """The standing cluster at `address`, or one of `threads` threads inside this process.

    `threads`: None for one per core, at most `MAX_THREADS`. `log`: called with level and message of the log records of
    this client's tasks, in a thread of its own, which must not wait for the cluster.

    Raises `SettingError` if `threads` is out of bounds, and `SchedulerError` if no scheduler answers at `address` or it
    has no workers.
    """
    if address is not None:
        with _standing(address, log) as cluster:
            yield cluster
        return
    threads = checked_threads(threads)
    # Both dashboard addresses, since a missing one opens a port on the machine's outer interface. No memory limit: the
    # worker would compare it with the whole process, and above it wait for ever for memory that stays in use.
    with dask.config.set(MEASURED_SELDOM):
        # The protocol by name, since a configuration that requires TLS would choose another, and nothing leaves here.
        local: SpecCluster = LocalCluster(
            processes=False,
            protocol="inproc://",
            n_workers=1,
            threads_per_worker=threads,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        )
    with local, Client(local) as client:
        for stream in _streams(local):
            stream.interval = MESSAGE_SECONDS
        yield _ready(Cluster(client, threads, local.scheduler_address, log))


def _streams(local: SpecCluster) -> list[Any]:
    """Batched streams of messages from the scheduler to its workers and client, and from the workers to it."""
    scheduler: Any = local.scheduler
    workers = [worker.batched_stream for worker in local.workers.values()]
    return [*scheduler.stream_comms.values(), *scheduler.client_comms.values(), *workers]


def checked_threads(threads: int | None) -> int:
    """`threads` itself; for None one per core, at most `MAX_THREADS`.

    Raises `SettingError` if it is out of bounds.
    """
    if threads is None:
        # Dask's count respects the limits of a container.
        return max(1, min(CPU_COUNT, MAX_THREADS))
    if not 1 <= threads <= 256:
        bound = "between 1 and 256"
        raise SettingError(f"threads is {threads}; it must be {bound}", parameter="threads", value=threads, bound=bound)
    return threads


@contextmanager
def _standing(address: str, log: Listener | None) -> Iterator[Cluster]:
    _check_certificates(address)
    try:
        # A thread of its own, since the caller's may run an event loop already.
        with ThreadPoolExecutor(1, "probe") as pool:
            pool.submit(asyncio.run, _probe(address)).result()
        with dask.config.set({"distributed.comm.timeouts.connect": CONNECT_SECONDS}):
            client = Client(address, timeout=CONNECT_SECONDS)
    except Exception as error:
        raise _unanswered(address, error) from error
    with client:
        threads = sum(worker["nthreads"] for worker in _workers(client, address).values())
        if threads == 0:
            raise SchedulerError(
                f"the Dask scheduler at {address} has no workers; start one with `dask worker {address} --nthreads N`",
                address=address,
            )
        yield _ready(Cluster(client, threads, address, log))


def _check_certificates(address: str) -> None:
    """Raise `SchedulerError` if Dask's configuration does not fit the address, which Dask would say in no clear way."""
    encrypted = address.startswith("tls://")
    try:
        security = Security()
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:
        raise SchedulerError(
            f"the certificates that Dask's configuration names for {address} cannot be used ({one_line(error)}); "
            f"correct {_CERTIFICATES}",
            address=address,
        ) from error
    if encrypted and context is None:
        raise SchedulerError(
            f"{address} is an address with TLS, and Dask's configuration names no certificates; name files in "
            f"{_CERTIFICATES}, or a file with them in DASK_CONFIG",
            address=address,
        )
    if security.require_encryption and not encrypted:
        raise SchedulerError(
            f"{address} is an address without TLS, which Dask's configuration requires; name one that begins with "
            "tls://, or unset distributed.comm.require-encryption",
            address=address,
        )


def _if_it_is_there(address: str) -> str:
    """What else to do where no scheduler answers, if one listens there."""
    if address.startswith("tls://"):
        return "see that distributed.comm.tls in Dask's configuration names certificates of its own CA"
    return f"name it tls://{address.removeprefix('tcp://')} if it uses TLS"


def _ready(cluster: Cluster) -> Cluster:
    if cluster.client.scheduler_comm is not None:
        cluster.client.scheduler_comm.interval = MESSAGE_SECONDS
    if cluster.log is not None:
        cluster.client.subscribe_topic(cluster.topic, partial(_deliver, cluster.log))
    return cluster


def scheduler_threads(address: str, seconds: float) -> list[int]:
    """Number of threads of each worker of a scheduler. Raises `SchedulerError` if none answers within some seconds."""

    async def ask() -> list[int]:
        security = Security().get_connection_args("client")
        async with asyncio.timeout(seconds), rpc(address, timeout=seconds, connection_args=security) as scheduler:
            identity = await scheduler.identity()
        return [worker["nthreads"] for worker in identity["workers"].values()]

    try:
        # A thread of its own, since the caller's may run an event loop already.
        with ThreadPoolExecutor(1, "probe") as pool:
            return pool.submit(asyncio.run, ask()).result()
    except Exception as error:
        raise _unanswered(address, error) from error


def _unanswered(address: str, error: Exception) -> SchedulerError:
    """The error for an address at which no scheduler answers; `error` may be anything, as addresses can be wrong in
    more ways than Dask has exceptions for."""
    return SchedulerError(
        f"no Dask scheduler answers at {address} ({type(error).__name__}); start one with `dask scheduler`, "
        f"{_if_it_is_there(address)}, or leave the address out to compute in this process",
        address=address,
    )


async def _probe(address: str) -> None:
    """Raise if no Dask server answers within `CONNECT_SECONDS`; a `Client` would wait for a silent one for ever."""
    security = Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT_SECONDS):
        comm = await connect(address, timeout=CONNECT_SECONDS, **security)
        comm.abort()
