import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from kline_core.compute import tasks
from kline_core.compute.tasks import BrokenBatchError
from kline_core.encoder.encoder import Encoder
from kline_core.errors import DateError, SettingError, UnknownSymbolError
from kline_core.factor import scoring
from kline_core.factor.explain import explain_sample
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.plots.match_plot import match_png
from kline_core.store.home import Home
from tests.support.bench import Bench, batch_of, break_batches
from tests.support.homes import market

FRAME = market(2, 50)
DAYS = np.unique(FRAME["date"].to_numpy()).astype("datetime64[D]")
ASKED = DAYS[[30, 35, 40, 45]]
BATCH = batch_of("S00000", ASKED)


@pytest.fixture(scope="module")
def key(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("worker") / "home", FRAME, weights=small_weights).key


def test_refusals_are_answers():
    def refuse(symbol):
        raise UnknownSymbolError(f"no {symbol}")

    answer = tasks.answered(refuse, "A")
    assert isinstance(answer, UnknownSymbolError)
    assert str(answer) == "no A"
    assert tasks.answered(len, "abc") == 3


def test_other_errors_are_raised():
    with pytest.raises(ZeroDivisionError):
        tasks.answered(lambda: 1 / 0)


@pytest.mark.slow
def test_what_is_sent_can_be_pickled(key):
    assert pickle.loads(pickle.dumps(key)) == key
    assert hash(pickle.loads(pickle.dumps(key))) == hash(key)
    result = tasks.score(key, BATCH)
    again = pickle.loads(pickle.dumps(result))
    assert again.factors.equals(result.factors)
    assert again.matches.equals(result.matches)


def test_overview(key):
    overview = tasks.overview(key)
    assert overview.symbols == ["S00000", "S00001"]
    assert overview.n_patterns == 2 * (50 - 4 - 5)
    assert set(overview.seconds) == {"encoder", "cache", "bars", "patterns", "index"}
    assert overview.windows == [46, 46]
    assert 1 <= overview.cores <= os.cpu_count()
    assert tasks.overview(key, DAYS[7]) == replace(overview, windows=[4, 4])
    assert tasks.overview(key, DAYS[2]) == replace(overview, windows=[0, 0])
    with pytest.raises(DateError, match="lies outside the bars"):
        tasks.overview(key, DAYS[0] - 1)


def test_a_plan(key):
    plans = tasks.plan(key, ["S00001", "S00000"], 1000, None)
    assert np.array_equal(plans, [DAYS[4:]] * 2)
    with pytest.raises(SettingError, match="samples is 0"):
        tasks.plan(key, ["S00001"], 0, None)


def test_a_batch_that_works_is_computed_once(key, monkeypatch):
    sizes = break_batches(monkeypatch, DAYS[:0], ValueError())
    tasks.score(key, BATCH)
    assert sizes == [4]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("it broke\nbadly"), "ValueError: it broke"),
        (MemoryError(), "MemoryError: "),
        (KeyError("close"), "KeyError: 'close'"),
    ],
)
def test_a_batch_that_breaks_is_an_answer(key, monkeypatch, error, reason):
    sizes = break_batches(monkeypatch, ASKED[[0, 2]], error)
    answer = tasks.answered(tasks.score, key, BATCH)
    assert isinstance(answer, BrokenBatchError)
    assert str(answer) == reason
    assert sizes == [4]


def test_a_refusal_of_a_batch_stays_what_it_is(key, monkeypatch):
    sizes = break_batches(monkeypatch, ASKED, DateError("not that day"))
    with pytest.raises(DateError, match="not that day"):
        tasks.score(key, BATCH)
    assert sizes == [4]


def test_windows_by_symbols_codes_and_bars(key):
    windows = build_catalogue(key.bars.frames(), key.settings.patterns)
    expected = LocalWindowEncoder(Encoder.load(key.encoder.path, "cpu")).vectors(
        key.bars, windows, key.settings.patterns
    )
    some = windows.take(windows.code == 1)
    vectors = tasks.encode(
        key.bars, key.encoder, key.settings.patterns, ["S00001"], np.zeros(len(some), np.int32), some.bar
    )
    assert np.array_equal(vectors, expected[windows.code == 1])


@pytest.mark.slow
def test_a_picture_is_that_of_the_matches(key):
    view = explain_sample(Home(key.home), "S00001", DAYS[40], key.settings, key.encoder.path, "cpu")
    assert tasks.picture(key, "S00001", str(DAYS[40])) == match_png(view)
    with pytest.raises(UnknownSymbolError, match="'NONE' has no bars"):
        tasks.picture(key, "NONE", None)


def test_the_libraries_use_one_thread_in_every_thread_of_a_worker(key):
    def threads():
        tasks.plan(key, ["S00000"], 5, None)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(threads).result() == 1


def test_no_more_threads_compute_than_there_are_cores(key, monkeypatch):
    monkeypatch.setattr("kline_core._cores.CORES", threading.BoundedSemaphore(2))
    alone = threading.Lock()
    at_work, most = [], []
    real = scoring.score_batch

    def counted(*arguments):
        with alone:
            at_work.append(None)
            most.append(len(at_work))
        try:
            return real(*arguments)
        finally:
            with alone:
                at_work.pop()

    monkeypatch.setattr(scoring, "score_batch", counted)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: tasks.score(key, BATCH), range(12)))
    assert max(most) <= 2
    assert all(result.factors.equals(results[0].factors) for result in results)
