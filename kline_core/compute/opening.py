"""The opening of a cluster: a standing one where an address is given, and otherwise one inside this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.deploy.spec import SpecCluster

from kline_core._logging import Listener
from kline_core._setting_types import check, is_whole
from kline_core.compute.cluster import Cluster
from kline_core.compute.standing import SchedulerAt, standing_cluster
from kline_core.errors import SettingError
from kline_core.search.shards import MAX_SHARDS

MESSAGE_SECONDS = 0.001
"""Seconds for which Dask gathers messages before it sends them; its own up to 0.01 may leave a core idle."""
MEASURED_SELDOM = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.low-level-log-length": 10,
}
"""Slower intervals for Dask's self-monitoring, which takes the interpreter's lock up to a hundred times a second, and
less of what it keeps for a look at its own faults.

It delays work in the same process: an idle cluster took 30 ms of each second, and takes 4 ms at these intervals. Of the
messages to a worker, with dates and lineages of thousands of symbols, a scheduler keeps the last 1000 by itself: up to
9 MB more a day of 5,000 symbols.
"""
MAX_THREADS = 16


@contextmanager
def open_cluster(
    address: SchedulerAt | None = None,
    threads: int | None = None,
    log: Listener | None = None,
    shards: int | None = None,
) -> Iterator[Cluster]:
    """The standing cluster at `address`, or one of `threads` threads inside this process.

    `address`: that of a scheduler, or a client of one, which is left open. `threads`: None for one per core, at most
    `MAX_THREADS`. `log`: called with level and message of the log records of this client's tasks, in a thread of its
    own, which must not wait for the cluster. `shards`: number of shards that vectors lie in, over the workers of the
    standing cluster; None or 1 if each of them holds all.

    Raises `SettingError` if `threads` or `shards` is out of bounds or a client cannot be asked, and `SchedulerError` if
    no scheduler answers at `address` or it has no workers.
    """
    shards = checked_shards(shards, address)
    if address is not None:
        with standing_cluster(address, log, shards) as cluster:
            try:
                yield _ready(cluster)
            finally:
                _leave(cluster, address)
        return
    threads = checked_threads(threads)
    # Both dashboard addresses, since a missing one opens a port on the machine's outer interface. No memory limit: the
    # worker would compare it with the whole process, and above it wait for ever for memory that stays in use.
    # Never given up for silence: it lives as long as the scheduler beside it, and a program that was stopped by Ctrl-Z
    # for five minutes would find it gone.
    with dask.config.set(MEASURED_SELDOM | {"distributed.scheduler.worker-ttl": None}):
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


def checked_threads(threads: int | None) -> int:
    """`threads` itself; for None one per core, at most `MAX_THREADS`.

    Raises `SettingError` if it is out of bounds.
    """
    if threads is None:
        # Dask's count respects the limits of a container.
        return max(1, min(CPU_COUNT, MAX_THREADS))
    check(is_whole(threads) and 1 <= threads <= 256, "threads", threads, "between 1 and 256")
    return threads


def checked_shards(shards: int | None, address: SchedulerAt | None) -> int:
    """`shards` itself, for a cluster at `address`; 1 for None.

    Raises `SettingError` if it is out of bounds, or there are shards and no standing cluster.
    """
    if shards is None:
        return 1
    check(is_whole(shards) and 1 <= shards <= MAX_SHARDS, "shards", shards, f"between 1 and {MAX_SHARDS}")
    if shards > 1 and address is None:
        raise SettingError(
            f"shards is {shards}, and there is no standing cluster to hold them; name one with --scheduler "
            "(KLINE_SCHEDULER), or leave the shards away",
            parameter="shards",
            value=shards,
            bound="1 without a standing cluster",
        )
    return shards


def _streams(local: SpecCluster) -> list[Any]:
    """Batched streams of messages from the scheduler to its workers and client, and from the workers to it."""
    scheduler: Any = local.scheduler
    workers = [worker.batched_stream for worker in local.workers.values()]
    return [*scheduler.stream_comms.values(), *scheduler.client_comms.values(), *workers]


def _ready(cluster: Cluster) -> Cluster:
    if cluster.client.scheduler_comm is not None:
        cluster.client.scheduler_comm.interval = MESSAGE_SECONDS
    if cluster.log is not None:
        cluster.client.subscribe_topic(cluster.topic, partial(_deliver, cluster.log))
    return cluster


def _leave(cluster: Cluster, address: SchedulerAt) -> None:
    """Hear no more of what is said there, if the client is one that goes on."""
    if cluster.log is not None and isinstance(address, Client) and address.status == "running":
        address.unsubscribe_topic(cluster.topic)


def _deliver(log: Listener, event: tuple[float, Any]) -> None:
    """On the client: pass an event, (time, [level, message]), to the log."""
    log(*event[1])
