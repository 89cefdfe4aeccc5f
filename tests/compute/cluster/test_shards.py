"""Vectors in shards over the workers of a cluster: the same values, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from kline_core import _cache
from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.compute.run import run_symbols
from kline_core.errors import SettingError
from kline_core.factor.shard import ShardKey
from kline_core.factor.state_key import StateKey
from kline_core.settings import Settings
from tests.support.bench import SMALL_SETTINGS, Bench

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture
def in_shards(in_process):
    """A cluster inside this process, whose vectors lie in shards."""
    return replace(in_process, shards=3, _shards={})


def values(bench, cluster, path, **request):
    """Rows of a run on a copy of a home."""
    copy = bench.copy(path)
    run_symbols(copy.start(cluster, **request)).check(1.0)
    return [copy.rows(table) for table in ("factors", "matches")]


@pytest.mark.parametrize("mode", ["fast", "full"])
def test_values_are_those_of_the_whole(bench, in_process, in_shards, tmp_path, mode):
    settings = Settings(bench.settings.patterns, replace(bench.settings.factor, mode=mode))
    bench = Bench(bench.home, settings, bench.weights)
    whole = values(bench, in_process, tmp_path / "whole", samples=30)
    assert values(bench, in_shards, tmp_path / "shards", samples=30) == whole
    assert sum(row["status"] == "ok" for row in whole[0]) > 50


@pytest.mark.usefixtures("nothing_loaded")
def test_the_state_is_loaded_without_its_vectors(bench, in_shards):
    run = bench.start(in_shards, samples=5)
    run_symbols(run)
    kinds = {kind[1].number for kind in _cache._caches if isinstance(kind, tuple) and kind[0] is ShardKey}
    assert kinds == {0, 1, 2}
    states = [state for _, state in _cache._caches[StateKey].items()]
    assert [len(state.patterns.vectors) for state in states] == [0]
    whole = _cache.loaded(bench.key.loads)
    for number in range(3):
        key = ShardKey.of(run.key, number)
        own = key.share.holds(np.arange(len(whole.patterns)))
        assert 0 < own.sum() < len(own)
        assert np.array_equal(_cache.loaded(key).index.rows, whole.index.rows[own])


def test_a_fingerprint_does_not_depend_on_shards(bench):
    assert replace(bench.key, shards=7).fingerprint == bench.key.fingerprint


def test_pictures_are_those_of_the_whole(bench, in_process, in_shards):
    symbol = in_process.load(bench.key).symbols[0]
    whole = in_process.call(tasks.picture, bench.key, symbol, None)
    assert in_shards.computed(tasks.picture, in_shards.sharded(bench.key), symbol, None) == whole


def test_an_approximate_index_is_refused(bench, in_shards):
    settings = Settings(SMALL_SETTINGS.patterns, replace(SMALL_SETTINGS.factor, index="ivf"))
    with pytest.raises(SettingError, match="index ivf cannot be divided into shards"):
        Bench(bench.home, settings, bench.weights).start(in_shards, samples=5)


@pytest.mark.parametrize(
    ("shards", "says"),
    [
        (0, "between 1 and 1024"),
        (1025, "between"),
        (2, "no standing cluster"),
        (2.5, "shards is 2.5; it must be between"),
        ("4", "shards is '4'; it must be"),
        (True, "shards is True; it must be"),
    ],
)
def test_bounds_of_the_number_of_shards(shards, says):
    with pytest.raises(SettingError, match=says), open_cluster(shards=shards):
        pass
