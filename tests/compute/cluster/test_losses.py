"""Schedulers, workers and clients that are missing, or go away."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client, KilledWorker
from distributed.client import FutureCancelledError
from distributed.scheduler import NoValidWorkerError

from kline_core.compute import answers, patience, standing
from kline_core.compute import cluster as module
from kline_core.compute.answers import PendingAnswer
from kline_core.compute.cluster import Cluster
from kline_core.compute.opening import open_cluster
from kline_core.compute.patience import WorkerLostError
from kline_core.compute.run import run_symbols
from kline_core.errors import (
    SchedulerError,
)
from kline_core.factor import scoring
from kline_core.factor import stored_values as values_module
from tests.support import odd_worker
from tests.support.bench import Bench, batch_of
from tests.support.clusters import planned, scored
from tests.support.homes import market
from tests.support.processes import free_port, poll, scheduler_process


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(standing, "CONNECT_SECONDS", 1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_nobody_listens():
    started = time.perf_counter()
    address = f"tcp://127.0.0.1:{free_port()}"
    says = rf"^no Dask scheduler answers at {address} .*`dask scheduler`"
    with pytest.raises(SchedulerError, match=says), open_cluster(address):
        pass
    assert time.perf_counter() - started < 5


def test_it_is_found_out_within_fifteen_seconds():
    assert standing.CONNECT_SECONDS <= 12


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_somebody_listens_and_is_silent():
    """A `Client` of Dask would wait for ever."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with (
            pytest.raises(SchedulerError, match=r"\(TimeoutError\)"),
            open_cluster(f"127.0.0.1:{silent.getsockname()[1]}"),
        ):
            pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "address",
    [
        *("", " ", "tcp://", "localhost", "127.0.0.1:text", "127.0.0.1:99999", "127.0.0.1:-1"),
        *("nothing://127.0.0.1:1", "inproc://127.0.0.1/1/1"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_what_is_no_address(address):
    with pytest.raises(SchedulerError, match="no Dask scheduler answers at"), open_cluster(address):
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_scheduler_is_found_out_about_from_inside_an_event_loop():
    async def flow():
        with open_cluster(f"tcp://127.0.0.1:{free_port()}"):
            pass

    with pytest.raises(SchedulerError):
        asyncio.run(flow())


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_failed_connection_leaves_nothing_behind():
    before = threading.active_count()
    with pytest.raises(SchedulerError), open_cluster(f"tcp://127.0.0.1:{free_port()}"):
        pass
    assert threading.active_count() <= before


@pytest.mark.slow
@pytest.mark.cluster
def test_a_scheduler_without_workers(tmp_path):
    with (
        scheduler_process(tmp_path, workers=0) as (address, _),
        pytest.raises(SchedulerError, match=rf"at {address} has no workers; start one with `dask worker {address}"),
        open_cluster(address),
    ):
        pass


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.usefixtures("impatient")
def test_a_scheduler_that_dies_under_the_work(tmp_path):
    with scheduler_process(tmp_path) as (address, process), open_cluster(address) as cluster:
        (work,) = cluster.submit(time.sleep, [(60,)])
        process.kill()
        with pytest.raises(SchedulerError, match=rf"^the scheduler at {address} gave up the work .*run again$"):
            work.result()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.usefixtures("impatient")
def test_a_run_whose_scheduler_dies_ends_and_keeps_what_is_done(tmp_path, monkeypatch, small_weights):
    bench = Bench.of(tmp_path / "home", market(6, 60), weights=small_weights)
    monkeypatch.setattr(values_module, "FLUSH_ROWS", 1)
    with scheduler_process(tmp_path) as (address, process), open_cluster(address) as cluster:
        run = bench.start(cluster, samples=10)
        score = run.score

        def dying(symbols, chunks):
            if "S00003" in symbols:
                process.kill()
            return score(symbols, chunks)

        monkeypatch.setattr(run, "score", dying)
        with pytest.raises(SchedulerError, match=r"went away; see whether it still runs, and run again$"):
            run_symbols(run)
    assert bench.home.read("factors").num_rows % 10 == 0


def test_a_cluster_without_workers_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(answers, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(patience, "WORKERLESS_SECONDS", 0.2)
    waits = SimpleNamespace(result=timed_out, done=lambda: False)
    monkeypatch.setattr(patience, "monotonic", iter([10.0, 10.1, 10.3]).__next__)
    with pytest.raises(SchedulerError, match="has had no workers for"):
        PendingAnswer(Cluster(client_of([]), 1, "tcp://x"), waits).result()


def client_of(states, **given):
    """A client whose scheduler knows workers in these states."""
    known = {"workers": {f"tcp://w{at}": {"status": state} for at, state in enumerate(states)}}
    return SimpleNamespace(
        status="running", scheduler=SimpleNamespace(identity=None), sync=lambda *_, **__: known, **given
    )


def timed_out(**_):
    raise TimeoutError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KilledWorker("score-1", None, 3), "killed worker after worker of the cluster at tcp://x"),
        (
            NoValidWorkerError("score-1", set(), set(), {}, 30.0),
            "gave up the work, since no worker came that may do it",
        ),
        (FutureCancelledError("score-1", "scheduler-connection-lost"), "the scheduler at tcp://x gave up the work"),
    ],
)
def test_lost_work_is_one_line(error, says):
    def result(**_):
        raise error

    with pytest.raises(SchedulerError, match=says) as raised:
        PendingAnswer(Cluster(SimpleNamespace(status="running"), 1, "tcp://x"), SimpleNamespace(result=result)).result()
    assert "\n" not in str(raised.value)


def test_waiting_for_workers_is_said_to_the_client_too(monkeypatch):
    monkeypatch.setattr(answers, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(patience, "monotonic", iter([10.0, 100.0]).__next__)
    said = []
    with pytest.raises(SchedulerError):
        PendingAnswer(
            Cluster(client_of([]), 1, "tcp://x", lambda *record: said.append(record)),
            SimpleNamespace(result=timed_out, done=lambda: False),
        ).result()
    assert said == [(logging.WARNING, "no workers left at tcp://x, waiting 60 s for one")]


def test_a_silent_scheduler_is_waited_for_only_so_long():
    def silent(*_, callback_timeout, **__):
        assert callback_timeout == module.SILENT_SECONDS
        raise TimeoutError

    client = SimpleNamespace(status="running", scheduler=SimpleNamespace(identity=None), sync=silent)
    waits = SimpleNamespace(result=timed_out, done=lambda: False)
    cluster = Cluster(client, 1, "tcp://x")
    with pytest.raises(SchedulerError, match=r"^the scheduler at tcp://x has not answered for 60 s; .*run again$"):
        PendingAnswer(cluster, waits).result()
    assert cluster.lost


def test_work_for_a_worker_that_left_is_lost():
    waits = SimpleNamespace(result=timed_out, done=lambda: False)
    with pytest.raises(WorkerLostError, match=r"^the worker at tcp://gone of the cluster at tcp://x died or left"):
        PendingAnswer(Cluster(client_of(["running"]), 1, "tcp://x"), waits, "tcp://gone").result()


def test_work_for_one_paused_worker_ends_too(monkeypatch):
    monkeypatch.setattr(patience, "monotonic", iter([10.0, 400.0]).__next__)
    waits = SimpleNamespace(result=timed_out, done=lambda: False)
    with pytest.raises(SchedulerError, match="paused for 300 s"):
        PendingAnswer(Cluster(client_of(["paused", "running"]), 1, "tcp://x"), waits, "tcp://w0").result()


class Pausing(Cluster):
    """A cluster of which only the worker that is not paused loads."""

    __slots__ = ()

    def submit(self, function, calls, worker=None):  # noqa: ARG002
        waits = SimpleNamespace(result=timed_out if worker == "tcp://w0" else lambda **_: worker, done=lambda: False)
        return [PendingAnswer(self, waits, worker) for _ in calls]


@pytest.mark.slow
def test_a_paused_worker_is_not_waited_for_beside_others(bench):
    assert Pausing(client_of(["paused", "running"]), 1, "tcp://x").load(bench.key) == "tcp://w1"


class Dying(Cluster):
    """A cluster whose one worker dies whenever it loads, and comes back elsewhere."""

    __slots__ = ()

    @property
    def workers(self):
        return {f"tcp://w{next(self.client.births)}": "running"}

    def submit(self, function, calls, worker=None):  # noqa: ARG002
        return [PendingAnswer(self, SimpleNamespace(result=timed_out, done=lambda: False), worker) for _ in calls]


def test_workers_that_die_whenever_they_load_are_given_up(bench):
    cluster = Dying(client_of([], births=count()), 1, "tcp://x")
    says = rf"^4 times a worker of the cluster at tcp://x died while it loaded {bench.home.uri}, .* for want of memory;"
    with pytest.raises(WorkerLostError, match=says):
        cluster.load(bench.key)


def endless(at):
    return endless(at + 1)


def test_endless_recursion_on_a_worker_is_no_endless_wait(standing):
    with open_cluster(standing) as cluster, ThreadPoolExecutor(1) as pool:
        found = pool.submit(cluster.call, endless, 0)
        with pytest.raises(RecursionError, match="maximum recursion depth"):
            found.result(30)


@pytest.fixture(scope="module")
def nannied(tmp_path_factory):
    """Address of a scheduler that gives up work after one death, with an odd worker whom a nanny brings back."""
    options = ("--nanny", "--preload", str(Path(odd_worker.__file__)))
    once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with scheduler_process(tmp_path_factory.mktemp("nannied"), options=options, **once) as (address, _):
        yield address


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.cluster
def test_a_worker_that_dies_while_it_loads_and_comes_back_loads_again(bench, nannied, tmp_path):
    home = bench.copy(tmp_path / "home")
    (tmp_path / "hold").touch()
    with ThreadPoolExecutor(1) as pool, open_cluster(nannied) as cluster:
        loading = pool.submit(cluster.load, home.key)
        (begun,) = poll(lambda: list(tmp_path.glob("loading-*")), "load")
        os.kill(int(begun.name.removeprefix("loading-")), signal.SIGKILL)
        (tmp_path / "hold").unlink()
        assert loading.result(60).symbols == ["S00000", "S00001", "S00002"]
        assert len(list(tmp_path.glob("loading-*"))) == 2


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.cluster
def test_a_sample_that_kills_its_worker_fails_alone(bench, nannied, in_process, tmp_path):
    home, truth = bench.copy(tmp_path / "home"), bench.copy(tmp_path / "truth" / "home")
    days = planned(in_process, home.key, "S00001", 100)
    asked = {"S00000": days[[30, 40]], "S00001": days[[41]], "S00002": days[[30, 35]]}
    truth.run(in_process, dates=asked)
    (tmp_path / "deadly").write_text(str(days[41]))
    with open_cluster(nannied) as cluster:
        report = home.run(cluster, dates=asked)
    assert (report.reasons, report.broken) == ({"error: killed its worker": 1}, [])
    found, right = home.rows("factors"), truth.rows("factors")
    (at,) = [at for at, row in enumerate(found) if row["reason"] == "error: killed its worker"]
    assert (found[at]["symbol"], found[at]["date"], found[at]["value"]) == ("S00001", days[41].item(), None)
    del found[at], right[at]
    assert found == right
    assert home.rows("matches") == [row for row in truth.rows("matches") if row["date"] != days[41].item()]


def test_chunks_of_a_client_that_has_gone_are_not_begun(standing, bench, monkeypatch):
    begun, go_on = [], threading.Event()
    real = scoring.score_batch

    def slow(state, batch):
        begun.append(batch)
        assert go_on.wait(60)
        return real(state, batch)

    monkeypatch.setattr(scoring, "score_batch", slow)
    with Client(standing, set_as_default=False) as watching, ThreadPoolExecutor(1) as pool:
        with open_cluster(standing) as cluster:
            dates = planned(cluster, bench.key, "S00000", 40)
            left = pool.submit(scored, cluster, bench.key, batch_of("S00000", dates), 40)
            poll(lambda: len(begun) == 2, "work on both threads")
        with pytest.raises(SchedulerError, match="gave up the work or went away"):
            left.result(30)
        poll(lambda: tasks_of(watching) == 0, "end of the tasks")
        go_on.set()
        poll(lambda: not executing(watching), "end of the work")
    assert len(begun) == 2, "one for each thread; the other 38 were never begun"


@pytest.mark.slow
@pytest.mark.long
def test_work_of_a_client_that_was_killed_stops(elsewhere):
    code = """
import sys, time
from kline_core.compute.opening import open_cluster

with open_cluster(sys.argv[1]) as cluster:
    answers = cluster.submit(time.sleep, [(0.2,)] * 5_000)
    answers[0].result()
    print("at work", flush=True)
    answers[-1].result()
"""
    with (
        subprocess.Popen([sys.executable, "-c", code, elsewhere], stdout=subprocess.PIPE, text=True) as process,
        Client(elsewhere, set_as_default=False) as watching,
    ):
        try:
            assert process.stdout.readline() == "at work\n"
            assert tasks_of(watching) > 1_000
        finally:
            process.kill()
        # Left to itself the work would take minutes.
        poll(lambda: tasks_of(watching) == 0, "end of the tasks")


def tasks_of(client):
    return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def executing(client):
    return any(client.run(lambda dask_worker: dask_worker.state.executing_count).values())


@pytest.mark.slow
def test_a_wait_that_runs_out_does_not_end_the_fetching_of_results(in_process, monkeypatch):
    """On a machine so busy that fetching takes longer than a wait: neither for this thread nor for others."""
    client, begun, go_on = in_process.client, threading.Event(), threading.Event()
    real = client._gather_remote

    async def held(*arguments):
        begun.set()
        while not go_on.is_set():
            await asyncio.sleep(0)
        return await real(*arguments)

    monkeypatch.setattr(client, "_gather_remote", held)
    first, second = in_process.submit(len, [("abc",), ("ab",)])
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(second.result)
        assert begun.wait(30)
        # Its result is there, and only the fetching takes longer than the wait.
        poll(first.future.done, "the first result", 30)
        mine = pool.submit(first.within, 0.01)
        try:
            # Longer than that wait.
            with pytest.raises(TimeoutError):
                mine.result(0.1)
        finally:
            go_on.set()
        assert (mine.result(30), other.result(30)) == (3, 2)
    (third,) = in_process.submit(len, [("a",)])
    assert third.result() == 1
