"""Computations share the cores of a worker: one each, and those that nobody uses."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core import _cores
from kline_core._clock import StageClock
from kline_core._cores import Cores, computing, helped_seconds, of_worker, spread
from kline_core._logging import listening, logger
from tests.support.examples import examples


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(_cores, "CORES", threading.BoundedSemaphore(4))
    monkeypatch.setattr(_cores, "_pool", ThreadPoolExecutor(4))
    yield
    # All of them were given back.
    assert [_cores.CORES.acquire(blocking=False) for _ in range(5)] == [True] * 4 + [False]
    _cores._pool.shutdown()


def free(cores):
    """How many are left of a worker's."""
    taken = cores.take(100)
    for _ in range(taken):
        cores.give()
    return taken


@settings(max_examples=examples(100))
@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 6), st.integers(0, 4))
def test_every_thing_is_in_one_part_and_no_part_is_too_short(count, least, own, elsewhere):
    cores, things = Cores(own), list(range(count))
    taken = [_cores.CORES.acquire(blocking=False) for _ in range(min(elsewhere, 3))]
    try:
        with of_worker(cores), computing():
            found = spread(count, least, lambda part: things[part])
    finally:
        for _ in taken:
            _cores.CORES.release()
    assert sorted(thing for _, part in found for thing in part) == things
    assert all(things[part] == made for part, made in found)
    parts = [made for _, made in found]
    assert len(parts) <= min(own, 4 - len(taken))
    assert len(parts) == 1 or min(map(len, parts)) >= least
    assert len(parts) == max(1, min(own, 4 - len(taken), count // max(1, least)))
    assert free(cores) == min(own, 4)


def test_nothing_is_spread_without_a_worker_or_a_core_of_its_own():
    whole = slice(0, None, 1)
    with computing():
        assert spread(10, 1, lambda part: part) == [(whole, whole)]
    with of_worker(Cores(2)):
        assert spread(10, 1, lambda part: part) == [(whole, whole)]


def test_the_parts_are_at_work_at_the_same_time():
    meet = threading.Barrier(3, timeout=60)
    with of_worker(Cores(3)), computing():
        assert len(spread(9, 3, lambda _: meet.wait())) == 3


@pytest.mark.parametrize("broken", [0, 1])
def test_a_part_that_breaks_is_raised_once_no_part_is_at_work(broken):
    cores, begun, ended = Cores(2), threading.Barrier(2, timeout=60), []

    def work(part):
        begun.wait()
        if part.start == broken:
            raise ValueError("broken")
        ended.append(part.start)

    with of_worker(cores), computing(), pytest.raises(ValueError, match="broken"):
        spread(2, 1, work)
    assert ended == [1 - broken]
    assert free(cores) == 2


def test_a_computation_waits_for_a_core_of_its_worker():
    cores = Cores(1)
    with of_worker(cores), computing(), ThreadPoolExecutor(1) as pool:

        def second():
            with of_worker(cores), computing():
                return True

        waiting = pool.submit(second)
        assert cores.take(1) == 0
        assert not waiting.done()
        # Of another worker there is one.
        assert free(Cores(1)) == 1
        cores.give()
        assert waiting.result(60)
        assert cores.take(1) == 1


def test_helpers_log_as_the_thread_that_they_help_and_use_one_thread():
    said = []

    def work(part):
        logger("kline_core.test").warning("part %d", part.start)
        return faiss.omp_get_max_threads() if part.start else 1

    with listening(lambda _, message: said.append(message)), of_worker(Cores(2)), computing():
        found = spread(2, 1, work)
    assert sorted(said) == ["part 0", "part 1"]
    assert [threads for _, threads in found] == [1, 1]


def test_seconds_of_helpers_count_in_their_stage_alone():
    clock, meet = StageClock(), threading.Barrier(2, timeout=60)
    with of_worker(Cores(2)), computing():
        with clock.stage("alone"):
            spread(1, 1, lambda _: None)
        before = helped_seconds()
        with clock.stage("helped"):
            spread(2, 1, lambda _: meet.wait())
        helped = helped_seconds() - before
    assert 0 < helped < clock.seconds["helped"] < clock.finish()["total"] + helped
    with ThreadPoolExecutor(1) as other:
        assert other.submit(helped_seconds).result() == 0


def test_parts_may_be_spread_again():
    cores = Cores(4)

    def work(part):
        return [made for _, made in spread(4, 1, lambda inner: (part.start, inner.start))]

    with of_worker(cores), computing():
        found = [pair for _, made in spread(2, 1, work) for pair in made]
    assert {outer for outer, _ in found} == {0, 1}
    assert free(cores) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_has_helpers_of_its_own():
    code = """
import os, sys, threading
from kline_core import _cores
_cores.CORES = threading.BoundedSemaphore(2)

def both():
    meet = threading.Barrier(2, timeout=60)
    with _cores.of_worker(_cores.Cores(2)), _cores.computing():
        return len(_cores.spread(2, 1, lambda _: meet.wait()))

assert both() == 2
child = os.fork()
if child == 0:
    os._exit(0 if both() == 2 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_what_no_thread_may_begin_is_done_here():
    cores = Cores(3)
    _cores._pool.shutdown()
    with of_worker(cores), computing():
        assert [made for _, made in spread(3, 1, lambda part: part.start)] == [0, 1, 2]
        with pytest.raises(ValueError, match="broken 2"):
            spread(3, 1, raise_at_2)
    assert free(cores) == 3


def raise_at_2(part):
    if part.start == 2:
        raise ValueError("broken 2")


@settings(max_examples=examples(40), deadline=None)
@given(st.sets(st.integers(0, 11)), st.booleans())
def test_a_thread_that_does_not_start_costs_nothing(fails, kept):
    """As where the system has no more of them. Python has put the work into a queue by then, and others may take it."""
    starts, start = iter(range(1000)), threading.Thread.start

    def some_fail(self):
        if self.name.startswith("few") and next(starts) in fails:
            raise RuntimeError("can't start new thread")
        start(self)

    def work(part):
        inner = spread(2, 1, lambda inner: inner.start) if kept else []
        return part.start, [made for _, made in inner]

    cores = Cores(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", some_fail)
        patch.setattr(_cores, "_pool", ThreadPoolExecutor(3, "few"))
        for _ in range(4):
            with of_worker(cores), computing():
                found = spread(4, 1, work)
            assert [made for _, (made, _) in found] == list(range(len(found)))
            assert all(made in ([], [0, 1], [0]) for _, (_, made) in found)
            assert free(cores) == 4
        _cores._pool.shutdown()
