"""Bars that come while a run is at work: it keeps the ones that it began with, and says so."""

import numpy as np
import pytest

import kline_core as kl
from kline_core import _cache
from kline_core.compute.replay import replay, replay_keys
from kline_core.compute.run import run_symbols
from kline_core.errors import FingerprintError, SettingError, StaleError
from kline_core.factor.state_key import StateKey
from kline_core.patterns import pattern_table as tables
from kline_core.store.home import Home
from kline_core.store.run_records import read_record
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import SMALL, add_bars, replace_bars
from tests.support.runs import BARS, FRAME, first

LATER = FRAME[FRAME.groupby("symbol").cumcount() >= BARS - 2]
ASKED = {"samples": 30}


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("deliveries") / "home", first(FRAME, BARS - 2), weights=small_weights)


@pytest.fixture
def bench(made, tmp_path):
    return made.copy(tmp_path / "home")


@pytest.fixture(scope="module")
def undisturbed(made, in_process, tmp_path_factory):
    """Values over the bars before anything comes."""
    alone = made.copy(tmp_path_factory.mktemp("undisturbed") / "home")
    assert alone.run(in_process, **ASKED).newer_bars is None
    return alone.rows("factors"), alone.rows("matches")


def newer(bench):
    return add_bars(bench.home, LATER)


def restated(bench):
    """Another history of one symbol, as after a split that the vendor had forgotten."""
    frame = FRAME.copy()
    rows = frame["symbol"] == "S00000"
    frame.loc[rows, ["open", "high", "low", "close"]] *= np.linspace(1, 3, rows.sum())[:, None]
    return replace_bars(bench.home, frame, "S00000")


def overtaken(bench):
    """Newer bars whose patterns another run has made already."""
    bench.add(LATER)
    return bench.home.version("bars")


@pytest.mark.slow
@pytest.mark.parametrize("deliver", [newer, restated, overtaken])
def test_a_run_keeps_the_bars_that_its_patterns_are_of(bench, in_process, undisturbed, deliver):
    updated = bench.extend()
    came = deliver(bench)
    report = bench.run(in_process, patterns=updated, **ASKED)
    assert (bench.rows("factors"), bench.rows("matches")) == undisturbed
    assert report.versions == {"bars": updated.bars.version, "patterns": updated.version}
    assert report.newer_bars == report.to_dict()["newer_bars"] == came
    assert report.newer == f"bars came during the run (version {came}), which read version {came - 1}"
    # What it read is found again, whatever has come since.
    _cache._caches.clear()
    record = read_record(bench.home, report.run_id)
    again = replay(bench.home, in_process, replay_keys(bench.home, record), record)
    assert again.same, again.failure
    # The next one takes them.
    bench.extend()
    following = bench.run(in_process, **ASKED)
    assert following.versions["bars"] == came
    assert following.newer is None


@pytest.mark.slow
def test_bars_that_come_between_load_and_write(bench, in_process, undisturbed):
    run = bench.start(in_process, **ASKED)
    came = newer(bench)
    report = run_symbols(run)
    assert report.newer_bars == came
    assert (bench.rows("factors"), bench.rows("matches")) == undisturbed


@pytest.mark.slow
def test_notes_and_compactions_are_no_newer_bars(bench, in_process):
    updated = bench.extend()
    bench.home.set_note("seen", True)
    assert bench.home.version("bars") > updated.bars.version
    report = bench.run(in_process, patterns=updated, **ASKED)
    assert report.newer_bars is report.newer is None


@pytest.mark.slow
def test_prices_beside_the_values_are_those_of_the_run(bench, in_process):
    updated = bench.extend()
    asked = {"device": "cpu", "settings": SMALL_SETTINGS, "encoder": bench.weights, "cluster": in_process}
    before = kl.compute_factor(bench.home, **asked, **ASKED, check=False).prices
    restated(bench)
    after = kl.compute_factor(bench.home, patterns=updated, **asked, **ASKED, check=False).prices
    assert after.equals(before)


@pytest.mark.slow
def test_patterns_of_other_settings_or_of_another_home_are_refused(bench, in_process, made):
    updated = bench.extend()
    with pytest.raises(FingerprintError, match="window_bars 5"):
        kl.compute_factor(bench.home, patterns=updated, cluster=in_process)
    with pytest.raises(SettingError, match="update those of this home") as caught:
        kl.compute_factor(made.home, patterns=updated, cluster=in_process)
    assert caught.value.parameter == "patterns"


@pytest.mark.slow
def test_without_the_update_newer_bars_are_refused_as_ever(bench, in_process):
    newer(bench)
    with pytest.raises(StaleError, match="lag behind its bars"):
        bench.run(in_process, **ASKED)


@pytest.mark.slow
def test_a_key_is_of_bars_and_patterns_that_were_there_together(bench, monkeypatch):
    """Bars come, and their patterns, between the looks at the two tables."""
    look = tables.pattern_table
    looked = []

    def overtaken_once(home, *asked):
        looked.append(home.version("bars"))
        if len(looked) == 1:
            bench.add(LATER)
        return look(home, *asked)

    monkeypatch.setattr("kline_core.factor.state_key.pattern_table", overtaken_once)
    key = StateKey.newest(bench.home, SMALL_SETTINGS, bench.weights, "cpu")
    monkeypatch.undo()
    assert len(looked) == 2
    assert (key.bars.version, key.patterns_version) == tuple(map(bench.home.version, ("bars", "patterns")))
    key.load()


def test_a_home_whose_bars_are_too_few_has_no_patterns(tmp_path, small_weights, in_process):
    bench = Bench(Home(tmp_path / "home", create=True), weights=small_weights)
    add_bars(bench.home, first(FRAME, SMALL.window_bars))
    updated = bench.extend()
    assert updated.version is None
    assert bench.run(in_process, patterns=updated).versions == {"bars": updated.bars.version, "patterns": None}
