"""Time scales together with full mode, strides, market-relative outcomes and the approximate index."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from kline_core.compute.opening import open_cluster
from kline_core.factor import state as state_module
from kline_core.factor.state import load_state
from kline_core.search.ivf_index import IvfIndex
from kline_core.settings import FactorSettings, Settings
from tests import naive
from tests.support.bench import Bench
from tests.support.frames import perturbed
from tests.support.homes import WINDOW_BARS, make_home
from tests.support.scaled_market import CUTS, DAYS, EVERY, FRAME, SCALES, SETTINGS, SPAN, STEPS, WEIGHTS

FULL = Settings(STEPS, FactorSettings.of_mode("full", return_horizon=3, isolation_bars=5, search_k=60, rerank_k=12))
# The market's bars are of all weekdays.
STRIDE = replace(STEPS, pattern_stride=3, calendar="24/5", barrier_up=0.04, entry_lag_bars=2)
STRIDED = replace(SETTINGS, patterns=STRIDE)
RELATIVE = replace(FULL, patterns=replace(STRIDE, market_relative=True))


def made(place, frame, settings, weights, cluster):
    """A home whose patterns and values are made on a cluster."""
    bench = Bench(make_home(place, frame), settings, weights)
    cluster.update_patterns(bench.home, settings.patterns, bench.weights, "cpu")
    bench.run(cluster, samples=EVERY)
    return bench


def assert_same_until(truth, other, day):
    for table in ("factors", "matches"):
        expected = truth.rows(table, day)
        assert len(expected) > 10
        assert other.rows(table, day) == expected
    assert other.rows("factors") != truth.rows("factors"), "the other future is another one"


@pytest.mark.long
@pytest.mark.parametrize(
    "settings", [FULL, SETTINGS, RELATIVE], ids=["full mode", "fast mode", "full mode, stride and market"]
)
def test_another_future_on_workers_elsewhere(settings, small_weights, elsewhere, in_process, tmp_path):
    """The past is made in this process, each other future by a scheduler and a worker of their own, over TCP."""
    truth = made(tmp_path / "truth", FRAME, settings, small_weights, in_process)
    with open_cluster(elsewhere) as cluster:
        for day in CUTS:
            other = made(tmp_path / str(day), perturbed(FRAME, day, 0), settings, small_weights, cluster)
            assert_same_until(truth, other, day)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [FULL, STRIDED], ids=["full mode", "stride"])
def test_values_equal_the_plain_loop(settings, small_weights, in_process, tmp_path):
    bench = Bench.of(tmp_path / "home", FRAME, settings, small_weights)
    loaded = load_state(bench.key)
    bars, patterns = loaded.frames["S00004"], loaded.patterns
    full = settings.factor.mode == "full"
    days = bars.dates[SPAN - 1 :: 19]
    bench.run(in_process, dates={"S00004": days})
    rows = {row["date"]: row for row in bench.rows("factors")}
    matches = bench.rows("matches")

    def window(frame, end):
        sides = (frame.open, frame.high, frame.low, frame.close)
        return [tuple(side[at] for side in sides) for at in range(end + 1 - WINDOW_BARS, end + 1)]

    windows = [
        window(loaded.frames[patterns.symbols[code]], int(bar))
        for code, bar in zip(patterns.code, patterns.bar, strict=True)
    ]
    found = 0
    for date in days:
        end = int(np.flatnonzero(bars.dates == date)[0])
        vector = naive.vector(loaded.encoder, bars, end, WINDOW_BARS, SCALES, WEIGHTS)
        own = patterns.symbols.index("S00004")
        shapes = (window(bars, end), windows) if full else ()
        kept, _ = naive.search_one(patterns, vector, date, own, end, settings.factor, SPAN, *shapes)
        named = [(patterns.symbols[patterns.code[row]], patterns.end[row].item(), score.hex()) for row, score in kept]
        assert named == [
            (match["match_symbol"], match["match_end"], match["similarity"])
            for match in matches
            if match["date"] == date.item()
        ]
        expected = naive.factor_one(patterns, kept, date, settings)
        if isinstance(expected, str):
            assert rows[date.item()]["reason"] == expected
        else:
            found += 1
            figures = [float.fromhex(rows[date.item()][name]) for name in expected]
            np.testing.assert_allclose(figures, list(expected.values()), rtol=1e-12)
    assert found > 0


@pytest.mark.slow
def test_a_stride_takes_a_part_of_the_windows_of_all_scales(small_weights, tmp_path):
    every = load_state(Bench.of(tmp_path / "all", FRAME, SETTINGS, small_weights).key).patterns
    third = replace(SETTINGS, patterns=replace(STEPS, pattern_stride=3, calendar="24/5"))
    some = load_state(Bench.of(tmp_path / "some", FRAME, third, small_weights).key).patterns
    place = {(every.symbols[code], end): row for row, (code, end) in enumerate(zip(every.code, every.end, strict=True))}
    rows = [place[some.symbols[code], end] for code, end in zip(some.code, some.end, strict=True)]
    assert len(every) / 4 < len(rows) < len(every) / 2.5
    assert np.array_equal(some.vectors, every.vectors[rows])
    # Sessions of the calendar are counted, so that all symbols have their patterns on the same days.
    days = np.searchsorted(DAYS, np.unique(some.end))
    assert set(np.diff(days) % 3) == {0}
    assert set(np.unique(every.end)) - set(np.unique(some.end))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_the_approximate_index_takes_vectors_of_all_scales(small_weights, in_process, tmp_path, monkeypatch):
    lists, trained = 6, 60
    monkeypatch.setattr(
        state_module, "IvfIndex", SimpleNamespace(of=partial(IvfIndex.of, lists=lists, trained=trained))
    )

    def asked(probes):
        factor = replace(SETTINGS.factor, index="ivf", probes=probes, min_recall=0.0)
        return replace(SETTINGS, factor=factor)

    truth = Bench.of(tmp_path / "home", FRAME, SETTINGS, small_weights)
    exact = truth.run(in_process, samples=EVERY)
    whole = truth.copy(tmp_path / "whole")
    whole = Bench(whole.home, asked(lists), small_weights)
    report = whole.run(in_process, samples=EVERY)
    assert report.fingerprint != exact.fingerprint
    for table in ("factors", "matches"):
        tied = {"factors": ("history", "match_digest"), "matches": ("digest",)}[table]
        left = ("run_id", "fingerprint", *tied)
        assert whole.rows(table, without=left) == truth.rows(table, without=left)
    few = Bench.of(tmp_path / "few", FRAME, asked(1), small_weights)
    assert few.run(in_process, samples=EVERY).recall.asked > 0
    assert few.rows("matches") != whole.rows("matches")
    day = CUTS[2]
    other = Bench.of(tmp_path / "other", perturbed(FRAME, day, 0), asked(1), small_weights)
    other.run(in_process, samples=EVERY)
    assert_same_until(few, other, day)
