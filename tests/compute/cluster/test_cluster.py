import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kline_core import _memory
from kline_core._memory import on_disk
from kline_core.compute import cluster as module
from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.encoder.synthetic import synthetic_market
from kline_core.errors import (
    DateError,
    UnknownSymbolError,
)
from kline_core.factor import state as state_module
from kline_core.factor.explain import explain_sample
from kline_core.plots.match_plot import match_png
from kline_core.settings import Settings
from tests.support.bench import SMALL_SETTINGS, Bench, batch_of
from tests.support.clusters import STANDING, both, planned, scored
from tests.support.frames import plain
from tests.support.homes import make_home, market
from tests.support.processes import output_of, poll


@pytest.mark.slow
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


@pytest.mark.slow
@both
@pytest.mark.parametrize(("chunks", "pieces"), [(1, 1), (3, 3), (7, 7), (100, 40)])
def test_samples_in_pieces(opened, bench, chunks, pieces):
    dates = planned(opened, bench.key, "S00000", 40)
    parts = scored(opened, bench.key, batch_of("S00000", dates), chunks)
    assert len(parts) == pieces
    found = sorted(date for part in parts for date in part.factors["date"].to_pylist())
    assert found == dates.tolist()


def test_the_memory_that_a_cluster_allows_its_worker_counts_there(monkeypatch):
    monkeypatch.setattr(_memory, "_granted", [])
    with open_cluster(threads=1) as cluster:
        (worker,) = cluster.client.cluster.workers.values()
        assert not cluster.call(on_disk, 100_000)
        worker.memory_manager.memory_limit = 100_000
        assert cluster.call(on_disk, 100_000)


@pytest.mark.parametrize("opened", [STANDING], indirect=True)
def test_no_samples_are_no_pieces(opened, bench):
    assert scored(opened, bench.key, batch_of("S00000", np.zeros(0, "datetime64[D]")), 4) == []


@pytest.mark.slow
@both
def test_a_state_is_loaded_once_though_many_ask_at_once(opened, bench, tmp_path, monkeypatch):
    loaded = []
    real = state_module.load_state
    monkeypatch.setattr(state_module, "load_state", lambda key: loaded.append(key) or real(key))
    fresh = bench.copy(tmp_path / "fresh")
    with ThreadPoolExecutor(8) as pool:
        lengths = list(pool.map(lambda at: len(planned(opened, fresh.key, f"S0000{at % 3}", 5)), range(24)))
    assert lengths == [5] * 24
    assert loaded == [fresh.key.loads]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.long
@pytest.mark.slow
@both
def test_a_picture_drawn_by_a_worker(opened, bench):
    opened.load(bench.key)
    day = planned(opened, bench.key, "S00001", 10)[5]
    for date in (None, day):
        view = explain_sample(bench.home, "S00001", date, SMALL_SETTINGS, bench.weights, "cpu")
        assert opened.call(tasks.picture, bench.key, "S00001", date) == match_png(view)
    with pytest.raises(DateError, match="no trading day of S00001"):
        opened.call(tasks.picture, bench.key, "S00001", "2020-01-11")


@pytest.mark.long
def test_with_a_standing_cluster_a_process_loads_nothing_heavy(elsewhere, bench, tmp_path):
    home = make_home(tmp_path / "home", market(2, 40))
    code = """
import sys
from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
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
    done = output_of(code, *arguments)
    assert done.split() == ["62", "40", "True"]


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
