"""Batches on a cluster, smaller ones where the computation of a larger one breaks."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from kline_core.compute import tasks
from kline_core.compute.tasks import BrokenBatchError
from kline_core.factor.batch import Batch, Scored
from kline_core.factor.state_key import StateKey

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster


def scored_batches(
    cluster: "Cluster", key: StateKey, batches: Sequence[Batch], warn: Callable[..., None], split: bool = False
) -> Iterator[tuple[Batch, Scored]]:
    """Each batch with its result; a single symbol whose computation broke comes sample by sample.

    `warn`: called with the message and arguments of a log record. `split`: score the symbols of a batch that broke one
    by one; if false, `BrokenBatchError` is raised. Raises what a cluster raises.
    """
    answers = cluster.submit(tasks.score, [(key, batch) for batch in batches])
    for batch, answer in zip(batches, answers, strict=True):
        try:
            scored = answer.result()
        except BrokenBatchError as error:
            if len(batch.parts) > 1:
                if not split:
                    raise
                warn("%s broke (%s), so each is done by itself", batch, error)
                yield from scored_batches(cluster, key, [Batch((part,)) for part in batch.parts], warn)
                continue
            if len(batch) > 1:
                warn("%s broke (%s), so it is done sample by sample", batch, error)
                yield from scored_batches(cluster, key, batch.samples(), warn)
                continue
            scored = batch.failed(f"error: {error}", key.settings.patterns.horizons)
        yield batch, scored
