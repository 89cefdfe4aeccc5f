"""The cores that computations share: one each, and those that nobody uses.

A cluster runs several computations at once, in threads of one process. Each holds a core, so that at most one thread
per core computes, however many a cluster has: more would only contend for the interpreter's lock. Where cores are left,
as in the run of a single symbol, or at the end of any, a computation takes some of them for its longest loops
(`spread`), whose threads need no lock. To cut the whole computation into as many parts would take longer: each would do
in Python what is as much work for few samples as for many, and the parts would wait for one another.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from time import perf_counter
from typing import Final, TypeVar

from kline_core._threads import single_threaded

# A container may be granted fewer cores than the machine has; only some systems tell.
CORE_COUNT: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
CORES = threading.BoundedSemaphore(CORE_COUNT)
"""Semaphore that a thread holds while it computes.

Four threads at a time on two cores took a third longer than two."""

T = TypeVar("T")


class Cores:
    """The cores of one worker: as many as it has threads, as far as the process has them. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._own = threading.BoundedSemaphore(count)

    @contextmanager
    def core(self) -> Iterator[None]:
        """Hold a core; waits for one."""
        with self._own, CORES:
            yield

    def take(self, most: int) -> int:
        """Take cores that nobody uses, `most` or fewer, without waiting; each is to be given back by `give`."""
        taken = 0
        while taken < most and self._own.acquire(blocking=False):
            if not CORES.acquire(blocking=False):
                self._own.release()
                break
            taken += 1
        return taken

    def give(self) -> None:
        """Give back a core that was taken."""
        CORES.release()
        self._own.release()


_worker: ContextVar[Cores | None] = ContextVar("worker", default=None)
"""Cores of the worker whose thread this is."""
_cores: ContextVar[Cores | None] = ContextVar("cores", default=None)
"""The same while it holds one of them."""
_spent = threading.local()
_pool: ThreadPoolExecutor | None = None
_opening = threading.Lock()


def _forget() -> None:
    """In a child, which has none of the threads, and in which any of them may have held the lock."""
    global _pool, _opening
    _pool, _opening = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def of_worker(cores: Cores) -> Iterator[None]:
    """In the block, computations of this thread hold a core of a worker."""
    token = _worker.set(cores)
    try:
        yield
    finally:
        _worker.reset(token)


@contextmanager
def computing() -> Iterator[None]:
    """Hold a core: one of the worker's in its threads, where `spread` then takes others that nobody uses."""
    cores = _worker.get()
    with CORES if cores is None else cores.core():
        token = _cores.set(cores)
        try:
            yield
        finally:
            _cores.reset(token)


def spread(count: int, least: int, work: Callable[[slice], T]) -> list[tuple[slice, T]]:
    """What `work` makes of `count` things, in parts: one here, and one on each core that nobody uses.

    Parts are interleaved slices of the things, no shorter than `least`, but for a single part of all. `work` is called
    in several threads at the same time, and lets go of the interpreter's lock for most of its time; libraries use one
    thread there. Raises what it raises, once no part is at work any more.
    """
    cores = _cores.get()
    helpers = 0 if cores is None else cores.take(count // max(1, least) - 1)
    parts = [slice(number, None, helpers + 1) for number in range(helpers + 1)]
    futures: list[Future[tuple[T, float]]] = []
    if cores is not None and helpers:
        try:
            pool = _helpers()
            futures += [pool.submit(copy_context().run, _helped, cores, work, part) for part in parts[1:]]
        except RuntimeError:
            # The interpreter is about to end, and begins no more work in threads: what has none is done here.
            for _ in range(helpers - len(futures)):
                cores.give()
    try:
        found = [work(part) for part in (parts[0], *parts[1 + len(futures) :])]
    finally:
        wait(futures)
    others = [future.result() for future in futures]
    _spent.seconds = helped_seconds() + sum(seconds for _, seconds in others)
    found[1:1] = [made for made, _ in others]
    return list(zip(parts, found, strict=True))


def helped_seconds() -> float:
    """Seconds that other threads have worked for this one in `spread`, all together and ever."""
    return float(getattr(_spent, "seconds", 0.0))


def _helped(cores: Cores, work: Callable[[slice], T], part: slice) -> tuple[T, float]:
    started = perf_counter()
    try:
        single_threaded()
        return work(part), perf_counter() - started
    finally:
        cores.give()


def _helpers() -> ThreadPoolExecutor:
    global _pool
    with _opening:
        if _pool is None:
            _pool = ThreadPoolExecutor(CORE_COUNT, "core")
        return _pool
