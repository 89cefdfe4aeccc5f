"""Batches on a cluster, smaller ones where the computation of a larger one breaks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from kline_core.compute import tasks
from kline_core.compute.patience import WorkerLostError
from kline_core.compute.tasks import BrokenBatchError
from kline_core.errors import EncoderError, HomeError, KlineError
from kline_core.factor.batch import BROKE, MOST_COMPUTED, Batch, LargeBatchError, Scored
from kline_core.factor.state_key import StateKey
from kline_core.typing import Dates

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster
    from kline_core.compute.shards import Shards

KILLED: Final = "killed its worker"
"""Reason of a sample under which a worker died twice."""
MAX_KILLERS: Final = 10
"""Samples that may kill their workers before the run gives up; each costs a worker two lives."""


class Answer(Protocol):
    """A batch at work."""

    def result(self) -> Scored:
        """Wait for it. Raises what a cluster raises."""


class BatchScorer:
    """Scores batches of one state on a cluster."""

    def __init__(self, cluster: "Cluster", key: StateKey, warn: Callable[..., None]) -> None:
        """`warn` is called with the message and arguments of a log record."""
        self._cluster, self._key, self._warn = cluster, key, warn
        self._killers = 0

    def scored(
        self, batches: Sequence[Batch], *, alone: bool = False, split: bool = False
    ) -> Iterator[tuple[Batch, Scored]]:
        """Each batch with its result; a single symbol whose computation broke comes sample by sample.

        `alone`: compute one batch after the other, so that one which kills its worker is known. `split`: score the
        symbols of a batch that broke one by one; if false, `BrokenBatchError` is raised. Raises what a cluster raises.
        """
        answers: Iterable[Answer] = map(self._ask_alone, batches) if alone else self._ask(batches)
        for batch, answer in zip(batches, answers, strict=True):
            try:
                scored = answer.result()
            except LargeBatchError:
                # It was taken for little work, and many stored values no longer hold.
                yield from self._smaller(batch, None, alone, split)
            except (HomeError, EncoderError) as error:
                # Of the one worker that it was given to.
                if not self._cluster.refuse(error):
                    raise
                yield from self.scored([batch], alone=alone, split=split)
            except BrokenBatchError as error:
                yield from self._smaller(batch, str(error), alone, split)
            except WorkerLostError:
                if not alone:
                    raise
                yield from self._smaller(batch, KILLED, alone, split)
            else:
                yield batch, scored

    def _smaller(self, batch: Batch, reason: str | None, alone: bool, split: bool) -> Iterator[tuple[Batch, Scored]]:
        """As `scored`, in smaller batches, of one that broke for a reason, or is too large (None)."""
        if reason is not None and len(batch.parts) > 1 and not split:
            raise BrokenBatchError(reason)
        batch, chosen = self._with_dates(batch)
        smaller: Iterable[tuple[Batch, Scored]]
        if reason is None:
            smaller = self.scored(batch.cut(MOST_COMPUTED), alone=alone, split=split)
        elif len(batch.parts) > 1:
            self._warn("%s broke (%s), so each is done by itself", batch, reason)
            smaller = self.scored([Batch((part,)) for part in batch.parts], alone=alone)
        elif len(batch) > 1:
            self._warn("%s broke (%s), so it is done sample by sample", batch, reason)
            smaller = self.scored(batch.samples(), alone=alone)
        elif reason == KILLED:
            smaller = [(batch, self._once_more(batch))]
        else:
            smaller = [(batch, self._failed(batch, reason))]
        for part, scored in smaller:
            yield part, scored if chosen is None else replace(scored, chosen=[chosen[name] for name in part.symbols])

    def _with_dates(self, batch: Batch) -> tuple[Batch, dict[str, Dates] | None]:
        """A batch with its dates, and those of each symbol that a worker was to choose; None if it was not."""
        if batch.choice is None:
            return batch, None
        chosen = self._cluster.call(tasks.plan, self._key, batch.symbols, batch.choice.samples, batch.choice.as_of)
        return batch.with_dates(chosen), dict(zip(batch.symbols, chosen, strict=True))

    def _ask(self, batches: Sequence[Batch]) -> Iterator["Answer"]:
        if self._key.shards == 1:
            yield from self._cluster.submit(tasks.score, [(self._key, batch) for batch in batches])
            return
        # A thread each, since this process puts together what the shards say.
        pool = ThreadPoolExecutor(max(1, min(len(batches), self._cluster.threads)), "shards")
        try:
            yield from [pool.submit(self._shards.scored, self._key, batch) for batch in batches]
        finally:
            pool.shutdown(cancel_futures=True)

    def _ask_alone(self, batch: Batch) -> "Answer":
        """The batch, given to one worker: if this dies, Dask gives it to no other, which would die too."""
        worker = self._cluster.any_worker()
        if self._key.shards == 1:
            return self._cluster.submit(tasks.score, [(self._key, batch)], worker)[0]
        answer: Future[Scored] = Future()
        try:
            answer.set_result(self._shards.scored(self._key, batch, worker))
        except KlineError as error:
            answer.set_exception(error)
        return answer

    @property
    def _shards(self) -> "Shards":
        return self._cluster.shards_of(self._key)

    def _once_more(self, sample: Batch) -> Scored:
        """A sample whose worker died under it, tried again, since the worker may have died of something else."""
        try:
            return self._ask_alone(sample).result()
        except BrokenBatchError as error:
            return self._failed(sample, str(error))
        except WorkerLostError as error:
            self._killers += 1
            if self._killers > MAX_KILLERS:
                raise WorkerLostError(
                    f"{self._killers} samples each killed the workers of the cluster at {self._cluster.address} that "
                    "computed them; look into the workers' logs, and whether they have memory enough",
                    address=self._cluster.address,
                ) from error
            return self._failed(sample, KILLED)

    def _failed(self, batch: Batch, reason: str) -> Scored:
        return batch.failed(f"{BROKE}{reason}", self._key.settings.patterns.horizons)
