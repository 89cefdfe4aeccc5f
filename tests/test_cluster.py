import asyncio
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from distributed import KilledWorker
from distributed.client import FutureCancelledError

from kline_core import cluster as module
from kline_core import resources as resources_module
from kline_core import store as store_module
from kline_core.cluster import Cluster, checked_threads, open_cluster
from kline_core.errors import DateError, SchedulerError, SettingError, UnknownSymbolError
from kline_core.run import run_symbols
from kline_core.settings import Settings
from kline_core.synthetic import synthetic_market
from tests.helpers import Bench, plain, scheduler_process
from tests.homes import market


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1.0)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("cluster") / "home", market(3, 60), weights=small_weights)


@pytest.fixture
def opened(standing, in_process, request):
    """Both kinds of cluster."""
    if request.param == "in process":
        yield in_process
    else:
        with open_cluster(standing) as cluster:
            yield cluster


both = pytest.mark.parametrize("opened", ["in process", "standing"], indirect=True)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.usefixtures("impatient")
def test_nobody_listens():
    started = time.perf_counter()
    address = f"tcp://127.0.0.1:{free_port()}"
    says = rf"^no Dask scheduler answers at {address} .*`dask scheduler`"
    with pytest.raises(SchedulerError, match=says), open_cluster(address):
        pass
    assert time.perf_counter() - started < 5


def test_it_is_found_out_within_fifteen_seconds():
    assert module.CONNECT_SECONDS <= 12


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


@pytest.mark.parametrize(
    "address",
    [
        *("", " ", "tcp://", "localhost", "127.0.0.1:text", "127.0.0.1:99999", "127.0.0.1:-1"),
        *("nothing://127.0.0.1:1", "tls://127.0.0.1:1", "inproc://127.0.0.1/1/1"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_what_is_no_address(address):
    with pytest.raises(SchedulerError, match="no Dask scheduler answers at"), open_cluster(address):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_scheduler_is_found_out_about_from_inside_an_event_loop():
    async def flow():
        with open_cluster(f"tcp://127.0.0.1:{free_port()}"):
            pass

    with pytest.raises(SchedulerError):
        asyncio.run(flow())


@pytest.mark.usefixtures("impatient")
def test_a_failed_connection_leaves_nothing_behind():
    before = threading.active_count()
    with pytest.raises(SchedulerError), open_cluster(f"tcp://127.0.0.1:{free_port()}"):
        pass
    assert threading.active_count() <= before


def test_a_scheduler_without_workers(tmp_path):
    with (
        scheduler_process(tmp_path, workers=0) as (address, _),
        pytest.raises(SchedulerError, match=rf"at {address} has no workers; start one with `dask worker {address}"),
        open_cluster(address),
    ):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_scheduler_that_dies_under_the_work(tmp_path):
    with scheduler_process(tmp_path) as (address, process), open_cluster(address) as cluster:
        work = cluster._submit(time.sleep, 60)
        process.kill()
        with pytest.raises(SchedulerError, match=rf"^the scheduler at {address} gave up the work .*run again$"):
            cluster._answer(work)


@pytest.mark.usefixtures("impatient")
def test_a_run_whose_scheduler_dies_ends_and_keeps_what_is_done(tmp_path, monkeypatch, small_weights):
    bench = Bench.of(tmp_path / "home", market(6, 60), weights=small_weights)
    monkeypatch.setattr(store_module, "FLUSH_ROWS", 1)
    with scheduler_process(tmp_path) as (address, process), open_cluster(address) as cluster:
        run = bench.start(cluster, samples=10)
        score = run.score

        def dying(symbol, chunks):
            if symbol == "S00003":
                process.kill()
            return score(symbol, chunks)

        monkeypatch.setattr(run, "score", dying)
        with pytest.raises(SchedulerError, match=r"went away; see whether it still runs, and run again$"):
            run_symbols(run)
    assert bench.home.read("factors").num_rows % 10 == 0


def test_a_cluster_without_workers_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(module, "WORKERLESS_SECONDS", 0.2)
    waits = SimpleNamespace(result=timed_out, done=lambda: False)
    client = SimpleNamespace(status="running", scheduler_info=lambda **_: {"workers": {}})
    monkeypatch.setattr(module, "monotonic", iter([10.0, 10.1, 10.3]).__next__)
    with pytest.raises(SchedulerError, match="has had no workers for"):
        Cluster(client, 1, "tcp://x")._answer(waits)


def timed_out(**_):
    raise TimeoutError


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KilledWorker("score-1", None, 3), "killed worker after worker of the cluster at tcp://x"),
        (FutureCancelledError("score-1", "scheduler-connection-lost"), "the scheduler at tcp://x gave up the work"),
    ],
)
def test_lost_work_is_one_line(error, says):
    def result(**_):
        raise error

    with pytest.raises(SchedulerError, match=says) as raised:
        Cluster(SimpleNamespace(status="running"), 1, "tcp://x")._answer(SimpleNamespace(result=result))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_threads_out_of_bounds(threads):
    says = f"threads is {threads}; it must be between 1 and 256"
    with pytest.raises(SettingError, match=says), open_cluster(threads=threads):
        pass


def test_threads_by_default(monkeypatch):
    assert 1 <= checked_threads(None) <= 16
    monkeypatch.setattr(module, "CPU_COUNT", 64)
    assert checked_threads(None) == 16
    assert checked_threads(200) == 200


def test_the_cluster_in_this_process(in_process):
    workers = in_process.client.scheduler_info(n_workers=-1)["workers"]
    assert [worker["nthreads"] for worker in workers.values()] == [2] == [in_process.threads]
    assert all(address.startswith("inproc://") for address in workers)
    # A limit would be one on the whole process, and passing it would stop the worker for good.
    assert [worker["memory_limit"] for worker in workers.values()] in ([0], [None])
    assert in_process.client.run(os.getpid) == dict.fromkeys(workers, os.getpid())


@pytest.mark.usefixtures("in_process")
def test_ports_are_on_the_loopback_interface_only():
    connections = psutil.Process().net_connections("tcp")
    assert {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


@both
def test_answers_and_refusals(opened, bench):
    overview = opened.load(bench.key)
    assert overview.symbols == ["S00000", "S00001", "S00002"]
    assert overview.n_patterns == bench.home.read("patterns").num_rows
    dates = opened.plan(bench.key, "S00001", 10, None)
    assert dates.dtype == np.dtype("datetime64[D]")
    assert len(dates) == 10
    with pytest.raises(UnknownSymbolError, match="symbol 'NONE' has no bars"):
        opened.plan(bench.key, "NONE", 10, None)
    with pytest.raises(DateError, match="2040-01-01 lies outside the bars"):
        opened.load(bench.key, np.datetime64("2040-01-01"))


@both
@pytest.mark.parametrize(("chunks", "pieces"), [(1, 1), (3, 3), (7, 7), (100, 40)])
def test_samples_in_pieces(opened, bench, chunks, pieces):
    dates = opened.plan(bench.key, "S00000", 40, None)
    scored = list(opened.score(bench.key, "S00000", dates, np.zeros(len(dates), np.int64), chunks))
    assert len(scored) == pieces
    found = sorted(date for part in scored for date in part.factors["date"].to_pylist())
    assert found == dates.tolist()


@pytest.mark.parametrize("opened", ["standing"], indirect=True)
def test_no_samples_are_no_pieces(opened, bench):
    assert list(opened.score(bench.key, "S00000", np.zeros(0, "datetime64[D]"), np.zeros(0, np.int64), 4)) == []


@both
def test_a_state_is_loaded_once_though_many_ask_at_once(opened, bench, tmp_path, monkeypatch):
    loaded = []
    real = resources_module.load_resources
    monkeypatch.setattr(resources_module, "load_resources", lambda key: loaded.append(key) or real(key))
    fresh = bench.copy(tmp_path / "fresh")
    with ThreadPoolExecutor(8) as pool:
        lengths = list(pool.map(lambda at: len(opened.plan(fresh.key, f"S0000{at % 3}", 5, None)), range(24)))
    assert lengths == [5] * 24
    assert loaded == [fresh.key]


@both
def test_two_versions_side_by_side(opened, tmp_path, small_weights):
    frame = market(2, 70)
    short = frame[frame.groupby("symbol").cumcount() < 60]
    bench = Bench.of(tmp_path / "home", short, weights=small_weights)
    old = bench.key
    opened.load(old)
    bench.add(frame[frame.groupby("symbol").cumcount() >= 60])
    new = bench.key
    newest = {key: opened.plan(key, "S00000", 5, None)[-1] for key in (old, new, old, new)}
    assert newest[old] == short["date"].max()
    assert newest[new] == frame["date"].max()
    assert opened.load(new).n_patterns - opened.load(old).n_patterns == 20


def test_workers_elsewhere_give_the_same(elsewhere, in_process, bench):
    zeros = np.zeros(30, np.int64)
    dates = in_process.plan(bench.key, "S00002", 30, None)
    (here,) = in_process.score(bench.key, "S00002", dates, zeros, 1)
    with open_cluster(elsewhere) as cluster:
        assert cluster.threads == 2
        assert os.getpid() not in cluster.client.run(os.getpid).values()
        assert np.array_equal(cluster.plan(bench.key, "S00002", 30, None), dates)
        (there,) = cluster.score(bench.key, "S00002", dates, zeros, 1)
    assert there.factors.equals(here.factors)
    assert there.matches.equals(here.matches)


def test_values_do_not_depend_on_how_the_work_was_cut(tmp_path, standing):
    """In process and over TCP, on one thread and on four, in one piece a symbol and in seven: the same bits."""
    frame = plain(synthetic_market(3, 160, seed=9))
    first = Bench.of(tmp_path / "home", frame, Settings())
    found = {}
    for name, address, threads in (("1", None, 1), ("4", None, 4), ("tcp", standing, None)):
        with open_cluster(address, threads) as cluster:
            for chunks in (1, 7):
                bench = first.copy(tmp_path / f"{name}-{chunks}")
                run = bench.start(cluster, samples=100)
                for symbol in run.symbols:
                    run.score(symbol, chunks)
                assert run.finish().count("done") > 150
                found[name, chunks] = bench.rows("factors"), bench.rows("matches")
    expected = found["1", 1]
    assert all(rows == expected for rows in found.values())
