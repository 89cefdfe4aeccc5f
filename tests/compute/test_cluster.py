import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from distributed import Client, KilledWorker
from distributed.client import FutureCancelledError

from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.compute import cluster as module
from kline_core.compute import tasks
from kline_core.compute.cluster import Cluster, PendingAnswer, checked_threads, open_cluster
from kline_core.compute.run import run_symbols
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.encoder.synthetic import synthetic_market
from kline_core.errors import (
    DateError,
    EncoderError,
    FingerprintError,
    SchedulerError,
    SettingError,
    StaleError,
    UnknownSymbolError,
)
from kline_core.factor import scoring
from kline_core.factor import state as resources_module
from kline_core.factor import stored_values as store_module
from kline_core.factor.explain import explain_sample
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.plots.match_plot import match_png
from kline_core.settings import Settings
from tests.support.bench import SMALL_SETTINGS, Bench, batch_of, break_batches
from tests.support.frames import plain
from tests.support.homes import SMALL, add_bars, make_home, market
from tests.support.processes import free_port, poll, scheduler_process


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1.0)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("cluster") / "home", market(3, 60), weights=small_weights)


@pytest.fixture
def opened(request):
    """Either kind of cluster."""
    if request.param == "in process":
        yield request.getfixturevalue("in_process")
    else:
        with open_cluster(request.getfixturevalue("standing")) as cluster:
            yield cluster


STANDING = pytest.param("standing", marks=[pytest.mark.cluster, pytest.mark.slow])
both = pytest.mark.parametrize("opened", ["in process", STANDING], indirect=True)


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


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.usefixtures("impatient")
def test_a_run_whose_scheduler_dies_ends_and_keeps_what_is_done(tmp_path, monkeypatch, small_weights):
    bench = Bench.of(tmp_path / "home", market(6, 60), weights=small_weights)
    monkeypatch.setattr(store_module, "FLUSH_ROWS", 1)
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
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(module, "WORKERLESS_SECONDS", 0.2)
    waits = SimpleNamespace(result=timed_out, done=lambda: False)
    client = SimpleNamespace(status="running", scheduler_info=lambda **_: {"workers": {}})
    monkeypatch.setattr(module, "monotonic", iter([10.0, 10.1, 10.3]).__next__)
    with pytest.raises(SchedulerError, match="has had no workers for"):
        PendingAnswer(Cluster(client, 1, "tcp://x"), waits).result()


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
        PendingAnswer(Cluster(SimpleNamespace(status="running"), 1, "tcp://x"), SimpleNamespace(result=result)).result()
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


def planned(cluster, key, symbol, samples):
    (dates,) = cluster.call(tasks.plan, key, [symbol], samples, None)
    return dates


def scored(cluster, key, batch, chunks=1):
    answers = cluster.submit(tasks.score, [(key, chunk) for chunk in batch.chunks(chunks)])
    return [answer.result() for answer in answers]


@both
def test_answers_and_refusals(opened, bench):
    overview = opened.load(bench.key)
    assert overview.symbols == ["S00000", "S00001", "S00002"]
    assert overview.n_patterns == bench.home.read("patterns").num_rows
    dates = planned(opened, bench.key, "S00001", 10)
    assert dates.dtype == np.dtype("datetime64[D]")
    assert len(dates) == 10
    with pytest.raises(UnknownSymbolError, match="symbol 'NONE' has no bars"):
        planned(opened, bench.key, "NONE", 10)
    with pytest.raises(DateError, match="2040-01-01 lies outside the bars"):
        opened.load(bench.key, np.datetime64("2040-01-01"))


@both
@pytest.mark.parametrize(("chunks", "pieces"), [(1, 1), (3, 3), (7, 7), (100, 40)])
def test_samples_in_pieces(opened, bench, chunks, pieces):
    dates = planned(opened, bench.key, "S00000", 40)
    parts = scored(opened, bench.key, batch_of("S00000", dates), chunks)
    assert len(parts) == pieces
    found = sorted(date for part in parts for date in part.factors["date"].to_pylist())
    assert found == dates.tolist()


@both
def test_messages_are_not_held_back(opened):
    assert opened.client.scheduler_comm.interval == module.MESSAGE_SECONDS


@pytest.mark.parametrize("opened", ["in process"], indirect=True)
def test_beside_the_work_dask_does_little(opened):
    local = opened.client.cluster
    streams = module._streams(local)
    assert len(streams) == 3
    assert {stream.interval for stream in streams} == {module.MESSAGE_SECONDS}
    for server in (local.scheduler, *local.workers.values()):
        often = {name for name, call in server.periodic_callbacks.items() if call.callback_time < 200}
        assert often == set()


@pytest.mark.parametrize("opened", [STANDING], indirect=True)
def test_no_samples_are_no_pieces(opened, bench):
    assert scored(opened, bench.key, batch_of("S00000", np.zeros(0, "datetime64[D]")), 4) == []


@both
def test_a_state_is_loaded_once_though_many_ask_at_once(opened, bench, tmp_path, monkeypatch):
    loaded = []
    real = resources_module.load_state
    monkeypatch.setattr(resources_module, "load_state", lambda key: loaded.append(key) or real(key))
    fresh = bench.copy(tmp_path / "fresh")
    with ThreadPoolExecutor(8) as pool:
        lengths = list(pool.map(lambda at: len(planned(opened, fresh.key, f"S0000{at % 3}", 5)), range(24)))
    assert lengths == [5] * 24
    assert loaded == [fresh.key.loads]


@both
def test_two_versions_side_by_side(opened, tmp_path, small_weights):
    frame = market(2, 70)
    short = frame[frame.groupby("symbol").cumcount() < 60]
    bench = Bench.of(tmp_path / "home", short, weights=small_weights)
    old = bench.key
    opened.load(old)
    bench.add(frame[frame.groupby("symbol").cumcount() >= 60])
    new = bench.key
    newest = {key: planned(opened, key, "S00000", 5)[-1] for key in (old, new, old, new)}
    assert newest[old] == short["date"].max()
    assert newest[new] == frame["date"].max()
    assert opened.load(new).n_patterns - opened.load(old).n_patterns == 20


def test_workers_elsewhere_give_the_same(elsewhere, in_process, bench):
    dates = planned(in_process, bench.key, "S00002", 30)
    (here,) = scored(in_process, bench.key, batch_of("S00002", dates))
    with open_cluster(elsewhere) as cluster:
        assert cluster.threads == 2
        assert os.getpid() not in cluster.client.run(os.getpid).values()
        assert np.array_equal(planned(cluster, bench.key, "S00002", 30), dates)
        (there,) = scored(cluster, bench.key, batch_of("S00002", dates))
    assert there.factors.equals(here.factors)
    assert there.matches.equals(here.matches)


@pytest.mark.slow
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
                    run.score([symbol], chunks)
                assert run.finish().count("done") > 150
                found[name, chunks] = bench.rows("factors"), bench.rows("matches")
    expected = found["1", 1]
    assert all(rows == expected for rows in found.values())


# --- encoding ---


def local(bench):
    return LocalWindowEncoder(Encoder.load(bench.weights, "cpu"))


@both
def test_vectors_are_those_that_this_process_makes(opened, bench, monkeypatch):
    monkeypatch.setattr(module, "SLICE", 10)
    bars = bench.key.bars
    windows = build_catalogue(bars.frames(), SMALL)
    # Whatever part is asked for: the last slice is short, and most lack a symbol.
    windows = windows.take(np.flatnonzero((windows.code != 1) | (np.arange(len(windows)) % 7 == 0)))
    encoding, progress = opened.encoding(bench.weights, "cpu"), []
    made = local(bench)
    assert (encoding.fingerprint, encoding.window_bars, encoding.dim) == (made.fingerprint, made.window_bars, made.dim)
    vectors = encoding.vectors(bars, windows, progress.append)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, made.vectors(bars, windows))
    assert progress == [*range(10, len(windows), 10), len(windows)]


def test_patterns_made_elsewhere_are_the_same_bit_for_bit(elsewhere, tmp_path):
    frame = plain(synthetic_market(3, 160, seed=4))
    here, there = make_home(tmp_path / "here", frame), make_home(tmp_path / "there", frame)
    update_patterns(here, Settings().patterns, LocalWindowEncoder(Encoder.load()))
    with open_cluster(elsewhere) as cluster:
        report = update_patterns(there, Settings().patterns, cluster.encoding())
        assert report.added == here.read("patterns").num_rows > 300
        assert cluster.load(Bench(there, Settings()).key).n_patterns == report.total
    assert there.read("patterns").equals(here.read("patterns"))
    assert there.description("patterns") == here.description("patterns")


@both
def test_only_so_many_calls_are_under_way(opened):
    begun, most = [], module.SLICES_PER_THREAD * opened.threads
    calls = ((begun.append(at) or at,) for at in range(50))
    for done, answer in enumerate(opened.answers_in_order(abs, calls)):
        assert answer == done
        assert len(begun) - done <= most
    assert len(begun) == 50


@both
def test_calls_that_nobody_waits_for_any_more_are_given_up(opened):
    before = set(opened.client.futures)
    answers = opened.answers_in_order(abs, ((at,) for at in range(50)))
    assert next(answers) == 0
    assert len(set(opened.client.futures) - before) > 1
    answers.close()
    poll(lambda: not set(opened.client.futures) - before, "end of the calls")


@both
def test_what_an_encoding_refuses(opened, bench, tmp_path):
    with pytest.raises(EncoderError, match="cannot be read"):
        opened.encoding(tmp_path / "nowhere")
    home = make_home(tmp_path / "home", market(1, 20))
    bars, encoder = BarsKey.newest(home), EncoderKey.of(bench.weights, "cpu")
    windows = build_catalogue(bars_by_symbol(home.read("bars")), SMALL)
    shutil.rmtree(home.folder)
    make_home(home.folder, market(1, 20, seed=1))
    with pytest.raises(StaleError, match="were made anew"):
        opened.encoding(bench.weights, "cpu").vectors(bars, windows)
    with pytest.raises(StaleError, match="were made anew"):
        opened.call(tasks.update, bars, SMALL, encoder, 1_000, 1)
    assert home.read("patterns").num_rows == 0


# --- pictures ---


@both
def test_a_picture_drawn_by_a_worker(opened, bench):
    opened.load(bench.key)
    day = planned(opened, bench.key, "S00001", 10)[5]
    for date in (None, day):
        view = explain_sample(bench.home, "S00001", date, SMALL_SETTINGS, bench.weights, "cpu")
        assert opened.call(tasks.picture, bench.key, "S00001", date) == match_png(view)
    with pytest.raises(DateError, match="no trading day of S00001"):
        opened.call(tasks.picture, bench.key, "S00001", "2020-01-11")


def test_with_a_standing_cluster_a_process_loads_nothing_heavy(elsewhere, bench, tmp_path):
    home = make_home(tmp_path / "home", market(2, 40))
    code = """
import sys
from kline_core.compute import tasks
from kline_core.compute.cluster import open_cluster
from kline_core.compute.run import Request, Run, run_symbols
from kline_core.factor.state_key import StateKey
from kline_core.patterns.update import update_patterns
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.home import Home

address, folder, weights = sys.argv[1:]
settings = Settings(
    PatternSettings(window_bars=5, horizons=(1, 3), barrier_bars=4), FactorSettings(return_horizon=3, isolation_bars=5)
)
home = Home(folder)
with open_cluster(address) as cluster:
    extended = update_patterns(home, settings.patterns, cluster.encoding(weights, "cpu"))
    key = StateKey.newest(home, settings, weights, "cpu")
    report = run_symbols(Run(home, cluster, key, Request(samples=20)))
    size = len(cluster.call(tasks.picture, key, "S00001", None))
heavy = {"torch", "faiss", "matplotlib", "PIL"} & sys.modules.keys()
print(extended.total, report.count("samples"), size > 10_000, *heavy)
"""
    arguments = [elsewhere, home.uri, bench.weights]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["62", "40", "True"]


# --- what workers say ---


@pytest.mark.parametrize("kind", ["in process", "standing"])
def test_what_workers_say_reaches_the_client(standing, bench, tmp_path, monkeypatch, caplog, kind):
    said = []
    fresh = bench.copy(tmp_path / "fresh")
    with open_cluster(standing if kind == "standing" else None, 2, lambda *record: said.append(record)) as cluster:
        cluster.load(fresh.key)
        # It is there before the answer is.
        ((level, message),) = said
        assert level == logging.INFO
        assert message.startswith(
            f"loaded 3 symbols, {bench.home.read('patterns').num_rows} patterns of {fresh.home.uri}"
        )
        dates = planned(cluster, fresh.key, "S00001", 6)
        break_batches(monkeypatch, dates, ValueError("it broke"))
        fresh.start(cluster, dates={"S00001": dates}).score(["S00001"], 2)
        assert [level for level, _ in said[1:]] == [logging.WARNING] * 2
        assert all("S00001: a chunk of 3 samples" in message for _, message in said[1:])
    assert not [record for record in caplog.records if record.name.startswith("kline_core")]


def test_nobody_hears_what_is_said_to_others(standing, elsewhere, bench, tmp_path):
    for address in (standing, elsewhere):
        homes = [bench.copy(tmp_path / f"{address[-5:]}-{name}") for name in "abc"]
        heard = [[] for _ in homes]
        with (
            open_cluster(address, log=lambda _, message, to=heard[0]: to.append(message)) as first,
            open_cluster(address, log=lambda _, message, to=heard[1]: to.append(message)) as second,
            open_cluster(address) as third,
            ThreadPoolExecutor(3) as pool,
        ):
            clusters = (first, second, third)
            list(pool.map(lambda cluster, home: cluster.load(home.key), clusters, homes))
        assert [len(each) for each in heard] == [1, 1, 0]
        assert all(f"patterns of {home.home.uri}:" in each[0] for home, each in zip(homes, heard[:2], strict=False))


@pytest.mark.parametrize("address", [None, "standing"])
def test_a_client_that_listened_leaves_quietly(standing, bench, tmp_path, caplog, address):
    """Under its own id the scheduler would tell it that it has left, and complain that it cannot."""
    with open_cluster(address and standing, 1, lambda *_: None) as cluster:
        cluster.load(bench.copy(tmp_path / "fresh").key)
    with Client(standing, set_as_default=False) as watching:
        poll(lambda: clients(watching) == 1, "leaving of the client")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_waiting_for_workers_is_said_to_the_client_too(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(module, "monotonic", iter([10.0, 100.0]).__next__)
    client = SimpleNamespace(status="running", scheduler_info=lambda **_: {"workers": {}})
    said = []
    with pytest.raises(SchedulerError):
        PendingAnswer(
            Cluster(client, 1, "tcp://x", lambda *record: said.append(record)),
            SimpleNamespace(result=timed_out, done=lambda: False),
        ).result()
    assert said == [(logging.WARNING, "no workers left at tcp://x, waiting 60 s for one")]


# --- versions that change, clients that go ---


@both
def test_new_patterns_load_neither_bars_nor_encoder_again(opened, tmp_path, small_weights, monkeypatch):
    frame = market(2, 70, seed=8)
    days = frame.groupby("symbol").cumcount()
    bench = Bench(make_home(tmp_path / "home", frame[days < 60]), weights=small_weights)
    # The fixture's cluster has its encoder from other tests, which may have pushed it out.
    loads = []
    # Bars open their home whether all of them are read, or only those that came.
    for kind, name in ((BarsKey, "_open"), (EncoderKey, "load")):
        real = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda key, kind=kind, real=real: loads.append(kind) or real(key))

    def extend():
        update_patterns(bench.home, SMALL, opened.encoding(bench.weights, "cpu"))
        return opened.load(bench.key).n_patterns

    assert extend() == 2 * 51
    assert loads.count(BarsKey) == 1
    add_bars(bench.home, frame[days >= 60])
    assert extend() == 2 * 61
    assert loads.count(BarsKey) == 2
    bench.home.delete("patterns", ["S00001"])
    assert extend() == 2 * 61
    assert loads.count(BarsKey) == 2
    assert loads.count(EncoderKey) <= 1


@both
@pytest.mark.parametrize("few", [0, 50, 10_000])
def test_patterns_are_extended_by_a_worker_or_by_all(opened, few, tmp_path, small_weights, monkeypatch):
    frame = market(2, 70, seed=9)
    days = frame.groupby("symbol").cumcount()
    bench = Bench(make_home(tmp_path / "home", frame[days < 60]), weights=small_weights)
    other = Bench.of(tmp_path / "other", frame, weights=small_weights)
    monkeypatch.setattr(module, "FEW_WINDOWS", few)
    assert opened.update_patterns(bench.home, SMALL, bench.weights, "cpu").added == 2 * 51
    add_bars(bench.home, frame[days >= 60])
    assert opened.update_patterns(bench.home, SMALL, bench.weights, "cpu").added == 2 * 10
    assert opened.update_patterns(bench.home, SMALL, bench.weights, "cpu").added == 0
    keys = [("symbol", "ascending"), ("end", "ascending")]
    assert bench.home.read("patterns").sort_by(keys).equals(other.home.read("patterns").sort_by(keys))
    with pytest.raises(FingerprintError):
        opened.update_patterns(bench.home, replace(SMALL, barrier_up=0.2), bench.weights, "cpu")


@pytest.mark.slow
@both
def test_runs_on_two_versions_at_the_same_time_see_each_its_own(opened, tmp_path, small_weights):
    frame = market(2, 90, seed=7)
    days = frame.groupby("symbol").cumcount()
    bench = Bench.of(tmp_path / "home", frame[days < 60], weights=small_weights)
    keys = [bench.key]
    bench.add(frame[days >= 60])
    keys.append(bench.key)
    alone = {}
    for key in keys:
        dates = planned(opened, key, "S00001", 40)
        (whole,) = scored(opened, key, batch_of("S00001", dates))
        alone[key] = dates, whole.factors
    assert alone[keys[0]][0][-1] < alone[keys[1]][0][-1]

    def score(key):
        dates = planned(opened, key, "S00001", 40)
        parts = scored(opened, key, batch_of("S00001", dates), 4)
        return key, dates, {row["date"]: row for part in parts for row in part.factors.to_pylist()}

    with ThreadPoolExecutor(8) as pool:
        for key, dates, rows in pool.map(score, keys * 6):
            assert np.array_equal(dates, alone[key][0])
            assert rows == {row["date"]: row for row in alone[key][1].to_pylist()}


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
def test_work_of_a_client_that_was_killed_stops(elsewhere):
    code = """
import sys, time
from kline_core.compute.cluster import open_cluster

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


def clients(client):
    return client.run_on_scheduler(
        lambda dask_scheduler: sum(name != "fire-and-forget" for name in dask_scheduler.clients)
    )
