"""The loading of a state by all workers of a cluster at the same time, whichever of them come, leave or pause."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kline_core.compute import tasks
from kline_core.compute.answers import PATIENCE_SECONDS, PendingAnswer, StillWaiting
from kline_core.compute.patience import PAUSED, WorkerLostError
from kline_core.compute.tasks import Overview
from kline_core.errors import EncoderError, HomeError
from kline_core.factor.state_key import StateKey

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster

LOADING_LOSSES = 4
"""Times that each worker, on average, may die while it loads; Dask allows a task as many."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What came of loading a state on all workers."""

    overview: Overview
    """That of one of them."""
    workers: set[str]
    """Addresses of those that have loaded it."""
    unable: list[HomeError | EncoderError]
    """What the others said, each naming its worker."""


def load_on_all(cluster: "Cluster", key: StateKey, as_of: np.datetime64 | None) -> Loaded:
    """Have the workers that take up work load the state; see `Cluster.load`.

    Raises what loading raises, unless some workers cannot read the home or the weights and others can.
    """
    patience = cluster.patience()
    asked: dict[str, PendingAnswer[Overview]] = {}
    loaded: dict[str, Overview] = {}
    unable: dict[str, HomeError | EncoderError] = {}
    lost = allowed = 0
    while True:
        workers = cluster.workers
        patience.check(workers)
        allowed = max(allowed, LOADING_LOSSES * len(workers))
        for address in asked.keys() - workers.keys():
            # Dask would keep a call for an address that has left, whoever comes.
            del asked[address]
            loaded.pop(address, None)
            unable.pop(address, None)
            lost += 1
            if lost >= allowed > 0:
                raise WorkerLostError(
                    f"{lost} times a worker of the cluster at {cluster.address} died while it loaded {key.home}, at "
                    f"last the one at {address}, most likely for want of memory; look into the workers' logs, give "
                    "them more memory, or raise or remove their limit (--memory-limit 0), and run again",
                    address=cluster.address,
                )
        for address in workers.keys() - asked.keys():
            (asked[address],) = cluster.submit(tasks.overview, [(key, as_of)], address)
        # One that is paused takes up nothing; those that are not do the work without it.
        ended = loaded.keys() | unable.keys()
        if ended and all(address in ended or state == PAUSED for address, state in workers.items()):
            if not loaded:
                raise next(iter(unable.values()))
            return Loaded(next(iter(loaded.values())), set(loaded), list(unable.values()))
        _wait_for_any(cluster, asked, loaded, unable)


def _wait_for_any(
    cluster: "Cluster",
    asked: dict[str, PendingAnswer[Overview]],
    loaded: dict[str, Overview],
    unable: dict[str, HomeError | EncoderError],
) -> None:
    """Wait a moment for workers, or for the answers of those that have none yet, and note these."""
    if not asked:
        cluster.pause()
    waiting = asked.keys() - loaded.keys() - unable.keys()
    for address in waiting:
        try:
            loaded[address] = asked[address].within(PATIENCE_SECONDS / len(waiting))
        except (HomeError, EncoderError) as error:
            unable[address] = error
        except StillWaiting:
            # The others may have answered; this one may never.
            continue
        except WorkerLostError:
            # Gone, which the next look finds; one that came back to its address has died there again and again.
            if address in cluster.workers:
                raise
            return
