"""Patterns made on the workers of a cluster."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.compute import encoding as module
from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.encoder.synthetic import synthetic_market
from kline_core.errors import (
    EncoderError,
    HomeError,
    StaleError,
)
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.recent import RecentVectors
from kline_core.patterns.update import update_patterns
from kline_core.settings import Settings
from tests.support.bench import Bench
from tests.support.clusters import both
from tests.support.frames import plain
from tests.support.homes import SMALL, add_bars, make_home, market


def local(bench):
    return LocalWindowEncoder(Encoder.load(bench.weights, "cpu"))


@pytest.mark.slow
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
    vectors = encoding.vectors(bars, windows, SMALL, progress.append)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, made.vectors(bars, windows, SMALL))
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


@pytest.mark.slow
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
        opened.encoding(bench.weights, "cpu").vectors(bars, windows, SMALL)
    with pytest.raises(StaleError, match="were made anew"):
        opened.call(tasks.update, bars, SMALL, encoder, 1_000, 1)
    assert home.read("patterns").num_rows == 0


@pytest.mark.slow
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


@pytest.mark.slow
@both
@pytest.mark.usefixtures("small_homes_cached")
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
    # Whoever extended them, the next process that asks for the newest windows finds these encoded.
    for each in (bench, other):
        recent = RecentVectors.of(each.home, SMALL, each.key.encoder.fingerprint)
        assert len(recent.content) == 2 * SMALL.outcome_bars
    keys = [("symbol", "ascending"), ("end", "ascending")]
    assert bench.home.read("patterns").sort_by(keys).equals(other.home.read("patterns").sort_by(keys))
    # Other settings have a table of their own.
    before = bench.home.version("patterns")
    assert opened.update_patterns(bench.home, replace(SMALL, barrier_up=0.2), bench.weights, "cpu").added == 2 * 61
    assert (bench.home.version("patterns"), len(bench.home.pattern_tables())) == (before, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("small_homes_cached")
def test_an_update_is_complete_without_recent_vectors(in_process, tmp_path, small_weights, monkeypatch, caplog):
    home = make_home(tmp_path / "home", market(2, 60))
    monkeypatch.setattr(module, "FEW_WINDOWS", 0)

    def refused(*_):
        raise HomeError("a file is gone")

    monkeypatch.setattr(tasks, "keep_recent", refused)
    with caplog.at_level("WARNING"):
        assert in_process.update_patterns(home, SMALL, small_weights, "cpu").added == 2 * 51
    assert "vectors of recent windows were not kept (a file is gone" in caplog.text
