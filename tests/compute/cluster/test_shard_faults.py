"""Workers that hold shards and die, cannot see the home, or come late: the same values, bit for bit."""

import logging
import os
import signal
import threading
from contextlib import ExitStack

import pytest
from distributed import Client, Status

from kline_core.compute import shards as module
from kline_core.compute.opening import open_cluster
from kline_core.compute.patience import PAUSED
from kline_core.compute.run import run_symbols
from kline_core.errors import HomeError, SchedulerError
from tests.support import bare_worker, blind_worker
from tests.support.bench import Bench
from tests.support.homes import market
from tests.support.processes import poll, scheduler_process, worker_process, workers_of

pytestmark = [pytest.mark.cluster, pytest.mark.long]

BLIND = ("--no-nanny", "--preload", blind_worker.__file__)
BARE = ("--no-nanny", "--preload", bare_worker.__file__)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("faults") / "home", market(6, 300), weights=small_weights)


@pytest.fixture(scope="module")
def whole(bench, in_process, tmp_path_factory):
    """Values of one process that holds all vectors."""
    return values(bench, in_process, tmp_path_factory.mktemp("whole"))


def values(bench, cluster, path, between=None):
    """Rows of a run on a copy of a home; with `between`, symbol after symbol, and it is called after each."""
    copy = bench.copy(path / "copy")
    run = copy.start(cluster, samples=40)
    if between is None:
        run_symbols(run).check(1.0)
    else:
        for symbol in run.symbols:
            run.score([symbol])
            between(symbol)
        run.finish().check(1.0)
    return [copy.rows(table) for table in ("factors", "matches")]


def held(cluster):
    """Numbers of the shards that each worker holds, by its address."""

    def numbers():
        from kline_core import _cache

        return sorted(kind[1].number for kind in _cache._caches if isinstance(kind, tuple))

    return cluster.client.run(numbers)


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_workers_of_their_own_hold_their_shards_only(bench, whole, tmp_path):
    with scheduler_process(tmp_path, workers=2) as (address, _), open_cluster(address, shards=4) as cluster:
        assert values(bench, cluster, tmp_path) == whole
        assert sorted(held(cluster).values()) == [[0, 2], [1, 3]]


def test_a_worker_killed_in_the_middle(bench, whole, tmp_path, said):
    with scheduler_process(tmp_path, workers=3) as (address, scheduler):
        victims = iter(workers_of(scheduler.pid)[:2])

        def kill_one(_):
            if (victim := next(victims, None)) is not None:
                os.kill(victim.pid, signal.SIGKILL)

        with open_cluster(address, shards=5) as cluster:
            assert values(bench, cluster, tmp_path, kill_one) == whole
            assert len(cluster.workers) == 1
    assert sum("which left, to tcp://" in line for line in said()) >= 2


def test_a_worker_killed_while_a_shard_is_asked(bench, whole, tmp_path, monkeypatch):
    """Each question finds one worker less, until one is left."""
    with scheduler_process(tmp_path, workers=3) as (address, scheduler):
        victims = workers_of(scheduler.pid)[:2]
        real = module.tasks.ask_shard

        with open_cluster(address, shards=3) as cluster:
            submit = type(cluster).submit

            def submit_and_kill(self, function, calls, worker=None):
                pending = submit(self, function, calls, worker)
                if function is real and victims:
                    os.kill(victims.pop().pid, signal.SIGKILL)
                return pending

            monkeypatch.setattr(type(cluster), "submit", submit_and_kill)
            assert values(bench, cluster, tmp_path) == whole
    assert not victims


def test_shards_of_a_worker_that_stays_paused_go_to_others_once(bench, whole, tmp_path, said, monkeypatch):
    monkeypatch.setattr(module, "ONE_PAUSED_SECONDS", 0.5)
    with scheduler_process(tmp_path, workers=2) as (address, _), open_cluster(address, shards=4) as cluster:
        paused = min(cluster.workers)

        def pause(dask_worker):
            dask_worker.memory_manager.memory_pause_fraction = False
            dask_worker.status = Status.paused

        def pause_one(_):
            if cluster.workers[paused] != PAUSED:
                cluster.client.run(pause, workers=[paused])
                poll(lambda: cluster.workers[paused] == PAUSED, "paused worker")

        assert values(bench, cluster, tmp_path, pause_one) == whole
        (other,) = cluster.workers.keys() - {paused}
        moved = [line for line in said() if "which is paused, to" in line]
        assert moved == [f"shards 0 and 2 of 4: from {paused}, which is paused, to {other}"]
        assert held(cluster)[other] == [0, 1, 2, 3]


def test_what_is_taken_over_is_read_together(bench, whole, tmp_path):
    """A reading of the tables is one of all vectors."""
    with scheduler_process(tmp_path, workers=2) as (address, scheduler), open_cluster(address, shards=8) as cluster:

        def count(dask_worker):
            from kline_core.factor import shard

            dask_worker.read_together, real = [], shard._read_together
            shard._read_together = lambda key, shares: (
                dask_worker.read_together.append(len(shares)) or real(key, shares)
            )

        cluster.client.run(count)
        victims = workers_of(scheduler.pid)[:1]

        def kill_one(_):
            if victims:
                os.kill(victims.pop().pid, signal.SIGKILL)

        assert values(bench, cluster, tmp_path, kill_one) == whole
        assert list(cluster.client.run(lambda dask_worker: dask_worker.read_together).values()) == [[4, 4]]


@pytest.mark.parametrize("shards", [1, 3])
def test_a_worker_that_cannot_see_the_home_gets_no_work(bench, whole, tmp_path, said, shards):
    with ExitStack() as stack:
        address, _ = stack.enter_context(scheduler_process(tmp_path, workers=2))
        stack.enter_context(worker_process(tmp_path, options=BLIND))
        cluster = stack.enter_context(open_cluster(address, shards=shards))
        poll(lambda: len(cluster.workers) == 3, "blind worker")
        assert values(bench, cluster, tmp_path) == whole
        assert len(cluster.workers) == 2
    (line,) = [line for line in said() if "gets no work" in line]
    assert line.startswith("the worker at tcp://127.0.0.1:")
    assert "home" in line


@pytest.mark.parametrize("shards", [1, 3])
def test_one_that_comes_late_and_cannot_see_the_home_gets_no_work(bench, whole, tmp_path, said, shards, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    with ExitStack() as stack:
        address, _ = stack.enter_context(scheduler_process(tmp_path, workers=1))
        cluster = stack.enter_context(open_cluster(address, shards=shards))
        once = threading.Lock()

        def start_one(_):
            if once.acquire(blocking=False):
                stack.enter_context(worker_process(tmp_path, options=BLIND))
                poll(lambda: len(cluster.workers) == 2, "late worker")

        assert values(bench, cluster, tmp_path, start_one) == whole
        poll(lambda: held(cluster), "answer")
    assert all("gets no work" in line for line in said() if "home" in line)


def test_no_worker_sees_the_home(bench, tmp_path):
    with ExitStack() as stack:
        address, _ = stack.enter_context(scheduler_process(tmp_path, workers=1, options=BLIND))
        cluster = stack.enter_context(open_cluster(address, shards=2))
        with pytest.raises(HomeError, match=r"\(so says the worker at tcp://127.0.0.1:\d+\)$") as refused:
            bench.start(cluster, samples=5)
    assert refused.value.worker.startswith("tcp://")


def test_a_late_worker_takes_over_shards(bench, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    with ExitStack() as stack:
        address, _ = stack.enter_context(scheduler_process(tmp_path, workers=1))
        cluster = stack.enter_context(open_cluster(address, shards=4))
        once = threading.Lock()

        def start_one(_):
            if once.acquire(blocking=False):
                stack.enter_context(worker_process(tmp_path))
                poll(lambda: len(cluster.workers) == 2, "late worker")

        assert values(bench, cluster, tmp_path, start_one) == whole
        # The next run of the same client finds it.
        assert values(bench, cluster, tmp_path / "again") == whole

        def even():
            cluster.shards_of(cluster.sharded(bench.key))
            return sorted(map(len, held(cluster).values())) == [2, 2]

        poll(even, "even share")


def test_a_worker_without_the_package_is_named_and_gets_no_work(bench, whole, tmp_path, said):
    with ExitStack() as stack:
        address, _ = stack.enter_context(scheduler_process(tmp_path, workers=2))
        stack.enter_context(worker_process(tmp_path, options=BARE))
        with Client(address) as client:
            client.wait_for_workers(3, timeout=90)
        cluster = stack.enter_context(open_cluster(address, shards=2))
        assert len(cluster.workers) == 2
        assert values(bench, cluster, tmp_path) == whole
    (line,) = [line for line in said() if "gets no work" in line]
    assert line.startswith("the worker at tcp://127.0.0.1:")
    assert "it cannot import kline_core (ModuleNotFoundError: No module named 'kline_core', in Python" in line


def test_no_worker_has_the_package(tmp_path):
    says = r"no worker of .* can import kline_core; the one at tcp://127.0.0.1:\d+ says: ModuleNotFoundError"
    with (
        scheduler_process(tmp_path, workers=1, options=BARE) as (address, _),
        pytest.raises(SchedulerError, match=says),
        open_cluster(address),
    ):
        pass
