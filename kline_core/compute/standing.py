"""The standing cluster at an address: whether it answers there, and whether Dask's certificates fit it."""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import dask
from distributed import Client, Security
from distributed.comm.core import connect
from distributed.core import rpc

from kline_core._logging import Listener, one_line
from kline_core.compute.cluster import Cluster, known_workers
from kline_core.compute.tls_fault import tls_fault
from kline_core.errors import SchedulerError, SettingError

T = TypeVar("T")
SchedulerAt: TypeAlias = str | Client
"""Where a standing cluster is: the address of its scheduler, or a client of it, which stays open."""

CONNECT_SECONDS = 10.0
_CERTIFICATES = ", ".join(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))


@contextmanager
def standing_cluster(at: SchedulerAt, log: Listener | None, shards: int = 1) -> Iterator[Cluster]:
    """The cluster at an address, or that of a client, which stays open; see `open_cluster`.

    Raises `SchedulerError` if no scheduler answers there, it has no workers, or the certificates do not fit, and
    `SettingError` if the client cannot be asked.
    """
    with _connected(at) as (client, address):
        threads = sum(worker["nthreads"] for worker in known_workers(client, address).values())
        if threads == 0:
            raise SchedulerError(
                f"the Dask scheduler at {address} has no workers; start one with `dask worker {address} --nthreads N`",
                address=address,
            )
        cluster = Cluster(client, threads, address, log, shards=shards)
        _refuse_bare(cluster)
        yield cluster


@contextmanager
def _connected(at: SchedulerAt) -> Iterator[tuple[Client, str]]:
    """A client, and the address of its scheduler. Raises as `standing_cluster`."""
    if not isinstance(at, str):
        _check_client(at)
        scheduler: Any = at.scheduler
        yield at, scheduler.address
        return
    _check_certificates(at)
    try:
        _answer_of(_probe(at))
        with dask.config.set({"distributed.comm.timeouts.connect": CONNECT_SECONDS}):
            client = Client(at, timeout=CONNECT_SECONDS)
    except Exception as error:
        raise _unanswered(at, error) from error
    with client:
        yield client, at


def _check_client(client: Any) -> None:
    """Raise `SettingError` if it is no client that can be asked."""
    if not isinstance(client, Client):
        state = f"a {type(client).__name__}"
    elif client.asynchronous:
        # Its answers would be coroutines.
        state = "an asynchronous client"
    elif client.status != "running":
        state = f"a client that is {client.status}"
    else:
        return
    bound = "the address of a Dask scheduler, or a running client of one, such as a Dask cluster's get_client()"
    raise SettingError(f"scheduler is {state}; it must be {bound}", parameter="scheduler", value=client, bound=bound)


def _refuse_bare(cluster: Cluster) -> None:
    """Give no work to workers that cannot import this package: the first call would end them, without a word to here.

    Raises `SchedulerError` if there are no others.
    """

    # Inside, so that it travels as code: under its name, a worker could not find it.
    def imports() -> str | None:
        import importlib
        import sys

        try:
            importlib.import_module("kline_core")
        except Exception as error:  # noqa: BLE001  whatever it is, no call would get past it
            return f"{type(error).__name__}: {error}, in Python {sys.version.split()[0]} at {sys.executable}"
        return None

    client: Any = cluster.client
    try:
        found = client.sync(client._run, imports, on_error="return", callback_timeout=CONNECT_SECONDS)
    except TimeoutError:
        # A worker that is busy says nothing now; what it cannot do is found out with its first call.
        return
    bare = {worker: str(said) for worker, said in found.items() if said is not None}
    if bare and len(bare) == len(found):
        worker, why = next(iter(bare.items()))
        raise SchedulerError(
            f"no worker of the cluster at {cluster.address} can import kline_core; the one at {worker} says: {why}; "
            "install the same version there, and start the workers again",
            address=cluster.address,
        )
    for worker, why in bare.items():
        cluster.leave_out(worker, f"it cannot import kline_core ({why}); install the same version there")


def scheduler_threads(address: str, seconds: float) -> list[int]:
    """Number of threads of each worker of a scheduler. Raises `SchedulerError` if none answers within some seconds."""

    async def ask() -> list[int]:
        security = Security().get_connection_args("client")
        async with asyncio.timeout(seconds), rpc(address, timeout=seconds, connection_args=security) as scheduler:
            identity = await scheduler.identity()
        return [worker["nthreads"] for worker in identity["workers"].values()]

    try:
        return _answer_of(ask())
    except Exception as error:
        raise _unanswered(address, error) from error


def _answer_of(question: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, in a thread of its own, since the caller's may run an event loop already."""
    with ThreadPoolExecutor(1, "probe") as pool:
        return pool.submit(asyncio.run, question).result()


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


def _unanswered(address: str, error: Exception) -> SchedulerError:
    """The error for an address at which no scheduler answers; `error` may be anything, as addresses can be wrong in
    more ways than Dask has exceptions for."""
    if address.startswith("tls://"):
        context = Security().get_connection_args("client")["ssl_context"]
        authority, own = (dask.config.get(f"distributed.comm.tls.{key}") for key in ("ca-file", "client.cert"))
        fault = tls_fault(address, context, authority, own, CONNECT_SECONDS)
        if fault is not None:
            return SchedulerError(f"no Dask scheduler answers at {address}: {fault}", address=address)
    return SchedulerError(
        f"no Dask scheduler answers at {address} ({type(error).__name__}); start one with `dask scheduler`, "
        f"{_if_it_is_there(address)}, or leave the address out to compute in this process",
        address=address,
    )


def _if_it_is_there(address: str) -> str:
    """What else to do where no scheduler answers, if one listens there."""
    if address.startswith("tls://"):
        return "see that distributed.comm.tls in Dask's configuration names certificates of its own CA"
    return f"name it tls://{address.removeprefix('tcp://')} if it uses TLS"


async def _probe(address: str) -> None:
    """Raise if no Dask server answers within `CONNECT_SECONDS`; a `Client` would wait for a silent one for ever."""
    security = Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT_SECONDS):
        comm = await connect(address, timeout=CONNECT_SECONDS, **security)
        comm.abort()
