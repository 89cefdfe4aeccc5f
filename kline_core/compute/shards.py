"""A state whose vectors lie in shards on the workers of a cluster, and computations that ask them.

Every worker holds the state without its vectors, and some of the shards. A task never waits for a shard: it returns
what it asks (`tasks.Asked`), this client puts the question to the workers that hold the shards, and the task begins
again with the answer. So a worker needs no thread and no core for waiting, and none can wait for another in a circle.

A shard belongs to one worker. The shards of a worker that left go to those that are there, which load them when they
are asked; a worker that comes later loads some of those with the most, and is asked when it has them. Whoever holds a
shard, its answer is the same.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kline_core._logging import listening, logger
from kline_core.compute import tasks
from kline_core.compute.loading import LOADING_LOSSES
from kline_core.compute.patience import ONE_PAUSED_SECONDS, PAUSED, WorkerLostError, WorkerPausedError
from kline_core.compute.tasks import Asked, ShardAnswer
from kline_core.errors import EncoderError, HomeError, KlineError
from kline_core.factor.batch import Batch, Scored
from kline_core.factor.state_key import StateKey
from kline_core.search.shards import Question

if TYPE_CHECKING:
    from kline_core.compute.answers import PendingAnswer
    from kline_core.compute.cluster import Cluster

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks for workers that came or left, while all goes well."""
_LOG = logger(__name__)

T = TypeVar("T")


class Shards:
    """The shards of one state on a cluster. Thread-safe."""

    def __init__(self, cluster: "Cluster", key: StateKey) -> None:
        """`key`: of a state with shards."""
        self._cluster, self._key = cluster, key
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._looked = float("-inf")
        self._holders: dict[int, str] = {}
        """Address of the worker that is asked for each shard."""
        self._moving: dict[str, tuple[set[int], PendingAnswer[None]]] = {}
        """Shards that a worker loads to take them over, by its address."""
        self._leaving: list[PendingAnswer[None]] = []
        """Workers that are letting go of shards; Dask forgets a call whose answer nobody holds."""
        self._given_up: set[str] = set()
        """Workers that were paused for so long that others hold their shards, until they take up work again."""

    def load(self) -> None:
        """Have the workers load their shards at the same time. Raises what loading raises, and `SchedulerError`."""
        # Of threads that find a worker gone one has its shards loaded, and the others find them there.
        with self._loading:
            self._load()

    def _load(self) -> None:
        held: dict[str, list[int]] = {}
        losses = _Losses(self._cluster, self._key)
        while True:
            wanted = _by_worker(self._look(at_once=True))
            losses.allow(wanted)
            late = {address: numbers for address, numbers in wanted.items() if held.get(address) != numbers}
            if not late:
                return
            asked = {address: self._hold(address, numbers) for address, numbers in late.items()}
            for address, answer in asked.items():
                try:
                    answer.result(ONE_PAUSED_SECONDS)
                except WorkerPausedError:
                    self._give_up(address, losses)
                except WorkerLostError as error:
                    losses.add({address}, error)
                except (HomeError, EncoderError) as error:
                    if not self._cluster.refuse(error):
                        raise
                else:
                    held[address] = late[address]

    def computed(self, function: Callable[..., T | Asked], *arguments: Any, worker: str | None = None) -> T:
        """Result of a function of `kline_core.compute.tasks` that takes answers of shards as its last argument.

        `arguments` begin with the key of the state. `worker`: the only one that may compute it; None for any. Raises
        what the function raises, and `SchedulerError`.
        """
        return self._computed(function, arguments, worker)[0]

    def scored(self, key: StateKey, batch: Batch, worker: str | None = None) -> Scored:
        """`tasks.score` of a batch, by the settings of a key whose vectors are these. Raises as `computed`."""
        prepared, plan = self._computed(tasks.prepare, (key, batch), worker)
        scored, search = self._computed(tasks.finish, (key, prepared), worker)
        spent = scored.seconds
        return replace(scored, seconds=spent | {"plan": spent["plan"] + plan, "search": spent["search"] + search})

    def _computed(
        self, function: Callable[..., T | Asked], arguments: tuple[Any, ...], worker: str | None
    ) -> tuple[T, float]:
        """The result of `computed`, and seconds that shards took for it, all together."""
        answers: list[Any] = []
        seconds = 0.0
        while True:
            (step,) = self._cluster.submit(function, [(*arguments, answers)], worker)
            result = step.result()
            if not isinstance(result, Asked):
                return result, seconds
            answer, spent = self._answer(result.question)
            answers.append(answer)
            seconds += spent

    def _answer(self, question: Question) -> tuple[Any, float]:
        """The answer of all shards, and the seconds that they took."""
        answers: dict[int, ShardAnswer] = {}
        holders, losses = self._look(), _Losses(self._cluster, self._key)
        while True:
            losses.allow(holders.values())
            missing = [number for number in range(self._key.shards) if number not in answers]
            asked = [
                self._cluster.submit(tasks.ask_shard, [(self._key, number, question)], holders[number])[0]
                for number in missing
            ]
            gone: dict[str, WorkerLostError] = {}
            for number, pending in zip(missing, asked, strict=True):
                try:
                    answers[number] = pending.result(ONE_PAUSED_SECONDS)
                except WorkerPausedError:
                    self._give_up(holders[number], losses)
                except WorkerLostError as error:
                    gone[holders[number]] = error
                except (HomeError, EncoderError) as error:
                    if not self._cluster.refuse(error):
                        raise
            if len(answers) == self._key.shards:
                found = [answers[number] for number in range(self._key.shards)]
                return question.joined([each.answer for each in found]), sum(each.seconds for each in found)
            if gone:
                losses.add(gone, next(iter(gone.values())))
            # All that a worker takes over at once, of which it then reads the vectors together.
            self.load()
            holders = self._look()

    def _give_up(self, address: str, losses: "_Losses") -> None:
        """Have others hold the shards of a worker that is paused. Raises `SchedulerError` if all are, for too long."""
        losses.patience.check(self._cluster.workers)
        with self._lock:
            self._given_up.add(address)

    def _look(self, at_once: bool = False) -> dict[int, str]:
        """Holder of each shard, among the workers that are there."""
        with self._lock:
            if at_once or monotonic() - self._looked > LOOK_SECONDS:
                workers = self._cluster.workers
                if not workers:
                    self._cluster.any_worker()
                    workers = self._cluster.workers
                self._place(workers)
                self._looked = monotonic()
            return dict(self._holders)

    def _place(self, workers: Mapping[str, str]) -> None:
        """Give each shard a holder among these workers, given by address with Dask's word for their state."""
        able = sorted(address for address, state in workers.items() if state != PAUSED) or sorted(workers)
        self._given_up &= workers.keys() - set(able)
        self._take_over(able)
        # One that is paused keeps its shards for a while: the others would have to find room for them.
        there = workers.keys() - self._given_up
        count = Counter(dict.fromkeys(able, 0))
        count.update(holder for holder in self._holders.values() if holder in there)
        moved: dict[tuple[str, str], list[int]] = {}
        for number in range(self._key.shards):
            before = self._holders.get(number)
            if before in there:
                continue
            holder = min(able, key=lambda address: (count[address], address))
            if before is not None:
                moved.setdefault((before, holder), []).append(number)
            self._holders[number] = holder
            count[holder] += 1
        for (before, holder), numbers in moved.items():
            why = "is paused" if before in workers else "left"
            which = " and ".join(filter(None, [", ".join(map(str, numbers[:-1])), str(numbers[-1])]))
            which = f"shard {which}" if len(numbers) == 1 else f"shards {which}"
            self._warn("%s of %d: from %s, which %s, to %s", which, self._key.shards, before, why, holder)
        for paused in {before for before, _ in moved if before in workers}:
            # Once it takes up work again, it lets go of what others hold.
            self._leaving.append(self._hold(paused, []))
        if not self._moving:
            self._even_out(able, count)

    def _even_out(self, workers: list[str], count: Counter[str]) -> None:
        """Have the workers with the fewest shards load some of those with the most, until they differ by one."""
        moved: dict[str, set[int]] = {}
        holders = dict(self._holders)
        while True:
            least = min(workers, key=lambda address: (count[address], address))
            most = max(count, key=lambda address: (count[address], address))
            if count[most] - count[least] < 2:
                break
            number = max(number for number, address in holders.items() if address == most)
            holders[number] = least
            count[most] -= 1
            count[least] += 1
            moved.setdefault(least, set()).add(number)
        for address, numbers in moved.items():
            own = [number for number, holder in self._holders.items() if holder == address]
            self._moving[address] = numbers, self._hold(address, sorted({*own, *numbers}))

    def _take_over(self, workers: list[str]) -> None:
        """Ask for a shard where it was loaded to be taken over."""
        self._leaving = [answer for answer in self._leaving if not answer.future.done()]
        for address, (numbers, answer) in list(self._moving.items()):
            if address in workers and not answer.future.done():
                continue
            del self._moving[address]
            if address not in workers:
                continue
            try:
                answer.result()
            except KlineError as error:
                if not (isinstance(error, HomeError | EncoderError) and self._cluster.refuse(error)):
                    self._warn("the worker at %s takes over no shards: %s", address, error)
                continue
            before = {self._holders[number] for number in numbers}
            self._holders.update(dict.fromkeys(numbers, address))
            for old in before.intersection(workers):
                self._leaving.append(self._hold(old, [n for n, holder in self._holders.items() if holder == old]))

    def _hold(self, address: str, numbers: list[int]) -> "PendingAnswer[None]":
        (answer,) = self._cluster.submit(tasks.hold, [(self._key, numbers)], address)
        return answer

    def _warn(self, message: str, *arguments: object) -> None:
        with listening(self._cluster.log):
            _LOG.warning(message, *arguments)


class _Losses:
    """Workers that one wait has lost, of which there may be some for each that was there."""

    def __init__(self, cluster: "Cluster", key: StateKey) -> None:
        self._cluster, self._key = cluster, key
        self._lost = self._allowed = 0
        self.patience = cluster.patience()

    def allow(self, holders: Iterable[str]) -> None:
        """Note how many workers there are."""
        self._allowed = max(self._allowed, LOADING_LOSSES * len(set(holders)))

    def add(self, addresses: Collection[str], error: WorkerLostError) -> None:
        """Note workers that were lost. Raises `WorkerLostError` if these are too many."""
        self._lost += len(addresses)
        if self._lost >= self._allowed:
            raise WorkerLostError(
                f"{self._lost} times a worker of the cluster at {self._cluster.address} died while it loaded or "
                f"searched a shard of {self._key.home}, at last the one at {max(addresses)}, most likely for want of "
                "memory; look into the workers' logs, give them more memory, or spread more shards over more workers "
                "(--shards)",
                address=self._cluster.address,
            ) from error


def _by_worker(holders: Mapping[int, str]) -> dict[str, list[int]]:
    """Shards of each worker, ascending."""
    return {
        address: sorted(number for number, holder in holders.items() if holder == address)
        for address in sorted(set(holders.values()))
    }
