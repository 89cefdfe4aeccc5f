"""Sound tables, and a copy of them that may be damaged."""

import shutil

import pytest

from kline_core.maintenance import moment
from kline_core.store.home import Home
from tests.support.bench import Bench
from tests.support.damage import BARS
from tests.support.homes import market


@pytest.fixture(scope="module")
def sound(tmp_path_factory, small_weights, in_process):
    bench = Bench.of(tmp_path_factory.mktemp("sound") / "home", market(3, BARS), weights=small_weights)
    bench.run(in_process, samples=40)
    return bench


@pytest.fixture
def bench(sound, tmp_path, monkeypatch):
    """A copy that may be damaged."""
    monkeypatch.setattr(moment, "_PATIENCE", 0.0)
    shutil.copytree(sound.home.folder, tmp_path / "home")
    return Bench(Home(tmp_path / "home"), sound.settings, sound.weights)
