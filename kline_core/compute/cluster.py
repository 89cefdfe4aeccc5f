"""A Dask cluster in use, and what it can be asked.

A cluster lives inside this process, one worker whose threads share what it loads, or stands at an address, where its
workers keep what they have loaded from run to run (`kline_core.compute.opening`). Both run the same functions of
`kline_core.compute.tasks`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

import numpy as np
from distributed import Client, Future
from distributed.client import ClosedClientError

from kline_core._logging import Listener, listening, logger
from kline_core.compute.answers import Gathering, PendingAnswer, answered_call
from kline_core.compute.encoding import ClusterWindowEncoder, update_on_workers
from kline_core.compute.loading import load_on_all
from kline_core.compute.patience import ClockWatch, Patience
from kline_core.compute.program import Program
from kline_core.compute.shards import Shards
from kline_core.compute.tasks import Asked, Overview
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import EncoderError, HomeError, SchedulerError, SettingError
from kline_core.factor.state_key import StateKey
from kline_core.patterns.update import MAX_REMOVED_SHARE, PatternsUpdate
from kline_core.settings import PatternSettings
from kline_core.store.home import Home

SILENT_SECONDS = 60.0
"""Seconds for which a scheduler may leave a question unanswered."""
LOOK_SECONDS = 0.2
"""Seconds between two looks for a worker."""
SLICES_PER_THREAD = 3
"""Calls in flight per thread: one at work, and others queued, so that no thread waits for its next one."""
_SAID = "kline-said"
_LOG = logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster in use. Thread-safe."""

    client: Client
    threads: int
    """Number of threads of all workers together."""
    address: str
    log: Listener | None = None
    """Called with the log records of the tasks that workers run for this client."""
    clock: ClockWatch = field(default_factory=ClockWatch, repr=False, compare=False)
    shards: int = 1
    """Number of shards that vectors lie in; 1 if every worker holds all."""
    _loaded_on: set[str] = field(default_factory=set, repr=False, compare=False)
    """Addresses of workers that have loaded a state."""
    _refused: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Why workers get no work, by address."""
    _shards: dict[StateKey, Shards] = field(default_factory=dict, repr=False, compare=False)

    @property
    def topic(self) -> str:
        """Topic of this client's log events; the scheduler keeps the few lines of each topic until it ends."""
        # Not the bare client id: the scheduler announces a leaving client under that, on a closed connection.
        return f"{_SAID}-{self.client.id}"

    @property
    def workers(self) -> dict[str, str]:
        """Addresses of the scheduler's present workers, with Dask's word for the state of each, such as `running`.

        Those that are refused are left out. Raises `SchedulerError` if the scheduler leaves the question unanswered.
        """
        return {
            address: str(worker["status"])
            for address, worker in known_workers(self.client, self.address).items()
            if address not in self._refused
        }

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
        loaded = load_on_all(self, key, as_of)
        self._loaded_on.update(loaded.workers)
        for error in loaded.unable:
            self.refuse(error)
        if key.shards > 1:
            self.shards_of(key).load()
        return loaded.overview

    def sharded(self, key: StateKey) -> StateKey:
        """The same key, of a state that lies in as many shards as this cluster's do.

        Raises `SettingError` if its settings ask for an approximate index, which shards have not.
        """
        if self.shards > 1 and key.settings.factor.index != "exact":
            raise SettingError(
                f"index {key.settings.factor.index} cannot be divided into shards; leave --shards (KLINE_SHARDS) away, "
                "or --index for the exact search",
                parameter="index",
                value=key.settings.factor.index,
                bound="exact where there are shards",
            )
        return replace(key, shards=self.shards)

    def shards_of(self, key: StateKey) -> Shards:
        """The shards of a state, as this client knows them; those of the same vectors are the same."""
        return self._shards.setdefault(key.loads, Shards(self, key.loads))

    def computed(self, function: Callable[..., T | Asked], key: StateKey, *arguments: Any) -> T:
        """Result of a function of `kline_core.compute.tasks` that may ask shards, with their answers.

        Raises what the function raises, and `SchedulerError`.
        """
        return self.shards_of(key).computed(function, key, *arguments)

    def refuse(self, error: HomeError | EncoderError) -> bool:
        """Give no more work to a worker that never loaded a state, and says that it cannot, if there are others.

        Returns whether it is refused; False too if the error is none of a worker.
        """
        address = error.worker
        if address is None or address in self._loaded_on or not self._loaded_on.intersection(self.workers):
            return False
        self.leave_out(address, str(error))
        return True

    def leave_out(self, address: str, why: str) -> None:
        """Give no more work to the worker at an address, and say why."""
        if address in self._refused:
            return
        self._refused[address] = why
        with listening(self.log):
            _LOG.warning("the worker at %s gets no work: %s", address, why)

    def patience(self) -> Patience:
        """Patience of a new wait."""
        return Patience(self.address, self.log, self.clock)

    def any_worker(self) -> str:
        """Address of a present worker, which takes up work if any does; waits for one if there is none."""
        patience = self.patience()
        while not (workers := self.workers):
            patience.check(workers)
            self.pause()
        return min(workers, key=lambda address: (workers[address] != "running", address))

    def pause(self) -> None:
        """Wait for `LOOK_SECONDS`. Raises `SchedulerError` if the scheduler is gone."""
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
    ) -> list[PendingAnswer[T]]:
        """Submit one call of a function of `kline_core.compute.tasks` for each tuple of arguments.

        `worker`: address of the only worker that may answer; None for any. Raises `SchedulerError` if the scheduler is
        gone, and `ProgramError` if the code of this process was replaced.
        """
        if not calls:
            return []
        topic = None if self.log is None else self.topic
        able = [worker] if worker is not None else list(self.workers) if self._refused else None
        name = getattr(function, "__name__", "call")
        try:
            # One message, so that all calls begin at once.
            futures: list[Future[Any]] = self.client.map(
                partial(answered_call, Program.of_client(), topic, function),
                *zip(*calls, strict=True),
                # The keys name the function for Dask's dashboard.
                key=[f"{name}-{uuid4().hex}" for _ in calls],
                workers=able,
                pure=False,
            )
        except ClosedClientError as error:
            raise self.gone() from error

        def again(call: tuple[Any, ...]) -> PendingAnswer[T]:
            return self.submit(function, [call])[0]

        return [
            PendingAnswer(self, Gathering(self.client, future), worker, None if worker else partial(again, call))
            for future, call in zip(futures, calls, strict=True)
        ]

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

    def encoding(self, encoder_path: str | Path | None = None, device: str = "auto") -> ClusterWindowEncoder:
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
        return update_on_workers(self, home, settings, encoder_path, device, max_removed_share)

    def gone(self) -> SchedulerError:
        """The error for work that the scheduler gave up."""
        return SchedulerError(
            f"the scheduler at {self.address} gave up the work or went away; see whether it still runs, and run again",
            address=self.address,
        )


def known_workers(client: Client, address: str) -> dict[str, dict[str, Any]]:
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
