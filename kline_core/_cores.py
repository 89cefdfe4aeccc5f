"""The cores that computations share: one each, and those that nobody uses.

A cluster runs several computations at once, in threads of one process. Each holds a core, so that at most one thread
per core computes, however many a cluster has: more would only contend for the interpreter's lock. Where cores are left,
as in the run of a single symbol, or at the end of any, a computation takes some of them for its longest loops
(`spread`), whose threads need no lock. To cut the whole computation into as many parts would take longer: each would do
in Python what is as much work for few samples as for many, and the parts would wait for one another.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from time import perf_counter
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

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
    shares = [] if cores is None else [_Share(cores, work, part) for part in parts[1:]]
    try:
        # What no thread may begin, as where the system has no more of them, is done here after the first part.
        with suppress(RuntimeError):
            for share in shares:
                _helpers().submit(copy_context().run, share.do, helping=True)
        found = [(parts[0], work(parts[0]))]
        for share in shares:
            share.do(helping=False)
    finally:
        for share in shares:
            share.end()
    found += [(share.part, share.made.result()) for share in shares]
    _spent.seconds = helped_seconds() + sum(share.seconds for share in shares)
    return found


def put_together(parts: Sequence[tuple[slice, NDArray[Any]]]) -> Any:
    """The array (n, ...) of whose rows `spread` made some in each part."""
    first = parts[0][1]
    if len(parts) == 1:
        return first
    whole = np.empty((sum(len(made) for _, made in parts), *first.shape[1:]), dtype=first.dtype)
    for part, made in parts:
        whole[part] = made
    return whole


def helped_seconds() -> float:
    """Seconds that other threads have worked for this one in `spread`, all together and ever."""
    return float(getattr(_spent, "seconds", 0.0))


class _Share(Generic[T]):
    """A part of some work, for a core that was taken: done once, by a helper or by the thread that the work is for."""

    def __init__(self, cores: Cores, work: Callable[[slice], T], part: slice) -> None:
        self._cores, self._work = cores, work
        self.part = part
        self.made: Future[T] = Future()
        self.seconds = 0.0
        """That a helper took."""
        self._begun = threading.Lock()

    def do(self, *, helping: bool) -> None:
        """Do it, unless another thread has begun."""
        if not self._begun.acquire(blocking=False):
            return
        started, helped = perf_counter(), helped_seconds()
        try:
            if helping:
                single_threaded()
            made = self._work(self.part)
        except BaseException as error:  # noqa: BLE001  the thread that the work is for raises it again
            self._cores.give()
            self.made.set_exception(error)
        else:
            if helping:
                self.seconds = perf_counter() - started + helped_seconds() - helped
            self._cores.give()
            self.made.set_result(made)

    def end(self) -> None:
        """Wait for its end; what has not begun never does."""
        if self._begun.acquire(blocking=False):
            self._cores.give()
        else:
            wait([self.made])


def _helpers() -> ThreadPoolExecutor:
    global _pool
    with _opening:
        if _pool is None:
            _pool = ThreadPoolExecutor(CORE_COUNT, "core")
        return _pool
