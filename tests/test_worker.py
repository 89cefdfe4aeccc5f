import logging
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from kline_core._logging import listening
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.compute import tasks
from kline_core.encoder.encoder import Encoder
from kline_core.errors import DateError, SettingError, UnknownSymbolError
from kline_core.factor import scoring
from kline_core.factor.explain import explain_sample
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.plots.match_plot import match_png
from kline_core.store.home import Home
from tests.helpers import Bench
from tests.homes import market

FRAME = market(2, 50)
DAYS = np.unique(FRAME["date"].to_numpy()).astype("datetime64[D]")
ASKED = DAYS[[30, 35, 40, 45]]
NEVER = np.zeros(4, np.int64)


@pytest.fixture(scope="module")
def key(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("worker") / "home", FRAME, weights=small_weights).key


def breaking(monkeypatch, days, error):
    real, calls = scoring.score_samples, []

    def score(loaded, symbol, dates, stored):
        calls.append(len(dates))
        if np.isin(dates, days).any():
            raise error
        return real(loaded, symbol, dates, stored)

    monkeypatch.setattr(scoring, "score_samples", score)
    return calls


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


def test_what_is_sent_can_be_pickled(key):
    assert pickle.loads(pickle.dumps(key)) == key
    assert hash(pickle.loads(pickle.dumps(key))) == hash(key)
    result = tasks.score(key, "S00000", ASKED, NEVER)
    again = pickle.loads(pickle.dumps(result))
    assert again.factors.equals(result.factors)
    assert again.matches.equals(result.matches)


def test_overview(key):
    overview = tasks.overview(key)
    assert overview.symbols == ["S00000", "S00001"]
    assert overview.n_patterns == 2 * (50 - 4 - 5)
    assert set(overview.seconds) == {"encoder", "bars", "patterns", "index"}
    assert overview.windows == [46, 46]
    assert 1 <= overview.cores <= os.cpu_count()
    assert tasks.overview(key, DAYS[7]) == replace(overview, windows=[4, 4])
    assert tasks.overview(key, DAYS[2]) == replace(overview, windows=[0, 0])
    with pytest.raises(DateError, match="lies outside the bars"):
        tasks.overview(key, DAYS[0] - 1)


def test_a_plan(key):
    assert np.array_equal(tasks.plan(key, "S00001", 1000, None), DAYS[4:])
    with pytest.raises(SettingError, match="samples is 0"):
        tasks.plan(key, "S00001", 0, None)


def test_a_chunk_that_works_is_computed_once(key, monkeypatch):
    calls = breaking(monkeypatch, DAYS[:0], ValueError())
    tasks.score(key, "S00000", ASKED, NEVER)
    assert calls == [4]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("it broke\nbadly"), "error: ValueError: it broke"),
        (MemoryError(), "error: MemoryError: "),
        (KeyError("close"), "error: KeyError: 'close'"),
    ],
)
def test_a_chunk_that_breaks_is_done_sample_by_sample(key, monkeypatch, error, reason):
    whole = tasks.score(key, "S00000", ASKED, NEVER)
    calls = breaking(monkeypatch, ASKED[[0, 2]], error)
    result = tasks.score(key, "S00000", ASKED, NEVER)
    assert calls == [4, 1, 1, 1, 1]
    right, rows = whole.factors.to_pylist(), result.factors.to_pylist()
    assert [rows[1], rows[3]] == [right[1], right[3]]
    for row, date in ((rows[0], ASKED[0]), (rows[2], ASKED[2])):
        assert (row["date"], row["status"], row["reason"], row["value"]) == (date.item(), "failed", reason, None)
        assert (row["matches"], row["history"]) == (0, scoring.NEVER_REUSED)
    kept = [match for match in whole.matches.to_pylist() if match["date"] in ASKED[[1, 3]].tolist()]
    assert result.matches.to_pylist() == kept
    assert result.factors.schema == whole.factors.schema
    assert result.matches.schema == whole.matches.schema


def test_a_chunk_that_breaks_is_spoken_of_with_its_error(key, monkeypatch):
    breaking(monkeypatch, ASKED[[2]], ValueError("it broke\nbadly"))
    said = []
    with listening(lambda level, message: said.append((level, message))):
        tasks.score(key, "S00000", ASKED, NEVER)
    says = (
        f"S00000: a chunk of 4 samples from {ASKED[0]} on broke (ValueError: it broke), so it is done sample by sample"
    )
    assert said == [(logging.WARNING, says)]


def test_a_chunk_of_which_all_breaks(key, monkeypatch):
    breaking(monkeypatch, ASKED, ValueError("it broke"))
    result = tasks.score(key, "S00000", ASKED, NEVER)
    assert result.factors["reason"].to_pylist() == ["error: ValueError: it broke"] * 4
    assert (result.matches.num_rows, len(result.reused), result.seconds) == (0, 0, {})


def test_stored_samples_of_a_chunk_that_breaks_are_still_re_used(key, monkeypatch):
    history = np.array(tasks.score(key, "S00000", ASKED, NEVER).factors["history"].to_pylist())
    history[1] = 0
    breaking(monkeypatch, ASKED[[1]], ValueError("it broke"))
    result = tasks.score(key, "S00000", ASKED, history)
    assert np.array_equal(result.reused, ASKED[[0, 2, 3]])
    assert result.factors["date"].to_pylist() == [ASKED[1].item()]


def test_a_refusal_is_not_tried_sample_by_sample(key, monkeypatch):
    calls = breaking(monkeypatch, ASKED, DateError("not that day"))
    with pytest.raises(DateError, match="not that day"):
        tasks.score(key, "S00000", ASKED, NEVER)
    assert calls == [4]


def test_windows_by_symbols_codes_and_bars(key):
    frames = bars_by_symbol(Home(key.home).read("bars"))
    windows = build_catalogue(frames, key.settings.patterns)
    expected = LocalWindowEncoder(Encoder.load(key.encoder_path, "cpu")).vectors(None, frames, windows)
    some = windows.take(windows.code == 1)
    vectors = tasks.encode(key.bars, key.encoder, ["S00001"], np.zeros(len(some), np.int32), some.bar)
    assert np.array_equal(vectors, expected[windows.code == 1])


def test_a_picture_is_that_of_the_matches(key):
    view = explain_sample(Home(key.home), "S00001", DAYS[40], key.settings, key.encoder_path, "cpu")
    assert tasks.picture(key, "S00001", str(DAYS[40])) == match_png(view)
    with pytest.raises(UnknownSymbolError, match="'NONE' has no bars"):
        tasks.picture(key, "NONE", None)


def test_the_libraries_use_one_thread_in_every_thread_of_a_worker(key):
    def threads():
        tasks.plan(key, "S00000", 5, None)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(threads).result() == 1


def test_no_more_threads_compute_than_there_are_cores(key, monkeypatch):
    monkeypatch.setattr("kline_core._threads.CORES", threading.BoundedSemaphore(2))
    alone = threading.Lock()
    at_work, most = [], []
    real = scoring.score_samples

    def counted(*arguments):
        with alone:
            at_work.append(None)
            most.append(len(at_work))
        try:
            return real(*arguments)
        finally:
            with alone:
                at_work.pop()

    monkeypatch.setattr(scoring, "score_samples", counted)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: tasks.score(key, "S00000", ASKED, NEVER), range(12)))
    assert max(most) <= 2
    assert all(result.factors.equals(results[0].factors) for result in results)
