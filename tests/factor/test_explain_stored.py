"""A past run's samples are shown from what it stored, whatever has become of bars, patterns and values since."""

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import kline_core as kl
from kline_core.compute import recording
from kline_core.encoder.encoder import Encoder
from kline_core.errors import DateError, FingerprintError, HomeError, SettingError, UnknownSymbolError
from kline_core.factor.explain_stored import explain_stored
from kline_core.factor.stored_values import KEY
from kline_core.maintenance.upkeep import vacuum
from kline_core.search.flat_index import FlatIndex
from kline_core.settings import FactorSettings, Settings
from kline_core.store.home import Home
from kline_core.store.run_records import read_record, write_record
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import replace_bars
from tests.support.runs import BARS, DAYS, FRAME, SYMBOLS, first

pytestmark = pytest.mark.slow
LATER = FRAME[FRAME.groupby("symbol").cumcount() >= BARS - 2]
SAMPLES = [("S00000", DAYS[BARS - 3]), ("S00001", DAYS[BARS - 3]), ("S00002", DAYS[50])]


def live(bench, symbol, day):
    return kl.explain(bench.home, symbol, day, settings=SMALL_SETTINGS, encoder=bench.weights, device="cpu")


@pytest.fixture(scope="module")
def past(tmp_path_factory, small_weights, in_process):
    """A home after a run, what was shown of it then, and the home after it has grown, was restated, and run again."""
    bench = Bench.of(tmp_path_factory.mktemp("past") / "home", first(FRAME, BARS - 2), weights=small_weights)
    every = dict.fromkeys(SYMBOLS, DAYS[4 : BARS - 2])
    report = bench.run(in_process, dates=every)
    shown = {(symbol, day): live(bench, symbol, day) for symbol, day in SAMPLES}
    bench.add(LATER)
    frame = FRAME.copy()
    rows = frame["symbol"] == "S00000"
    frame.loc[rows, ["open", "high", "low", "close"]] *= np.linspace(1, 3, rows.sum())[:, None]
    replace_bars(bench.home, frame, "S00000")
    bench.extend()
    bench.run(in_process, dates=every)
    return bench, report.run_id, shown


@pytest.fixture
def copied(past, tmp_path):
    """A copy of the home to do damage to."""
    bench, run, shown = past
    return Home(shutil.copytree(bench.home.folder, tmp_path / "home")), run, shown


def alike(found, then):
    assert found.factor["value"] == then.factor["value"]
    assert found.to_frame().equals(then.to_frame())
    assert found.window.close.tolist() == then.window.close.tolist()
    assert found.after.close.tolist() == then.after.close.tolist()
    assert found.outcome == then.outcome
    assert found.searchable == then.searchable
    assert [match.after.close.tolist() for match in found.matches] == [m.after.close.tolist() for m in then.matches]


def remove_old_bars(home, run):
    version = read_record(home, run).tables["bars"].version
    for name in home.files("bars", version).keys() - home.files("bars").keys():
        (home.folder / "bars" / name).unlink()


def test_it_is_what_was_shown_then_without_encoder_or_index(past, monkeypatch):
    bench, run, shown = past
    now = {at: live(bench, *at) for at in SAMPLES}
    # The test has teeth only if later runs see others.
    assert any(not now[at].to_frame().equals(shown[at].to_frame()) for at in SAMPLES)

    def refuse(*_):
        raise AssertionError("loaded")

    monkeypatch.setattr(Encoder, "load", refuse)
    monkeypatch.setattr(FlatIndex, "build", refuse)
    for symbol, day in SAMPLES:
        found = explain_stored(bench.home, symbol, str(day), run)
        assert len(found.matches) == 5
        alike(found, shown[symbol, day])
        version = read_record(bench.home, run).tables["bars"].version
        assert found.notes == ("value and matches as it stored them", f"bars of version {version}, which it read")
        assert f"run {run}: value and matches as it stored them; bars of version" in found.text()
        assert found.to_dict()["run"] == run
    newest = kl.explain(bench.home, "S00000", run=run)
    alike(newest, shown["S00000", DAYS[BARS - 3]])
    assert newest._repr_png_().startswith(b"\x89PNG")


def test_full_mode_time_scales_and_outcomes_beside_the_market(past, in_process, tmp_path):
    steps = replace(SMALL_SETTINGS.patterns, scales=(1, 2), scale_weights=(0.7, 0.3), market_relative=True)
    factor = replace(FactorSettings.of_mode("full"), return_horizon=3, isolation_bars=5)
    settings = Settings(steps, factor)
    bench = Bench.of(tmp_path / "home", first(FRAME, BARS - 2), settings, past[0].weights)
    run = bench.run(in_process, dates={"S00001": DAYS[[60]]}).run_id
    then = kl.explain(bench.home, "S00001", DAYS[60], settings=settings, encoder=bench.weights, device="cpu")
    bench.add(LATER)
    found = explain_stored(bench.home, "S00001", DAYS[60], run)
    alike(found, then)
    assert found.matches[0].parts == then.matches[0].parts
    assert found.matches[0].parts["dtw"] is not None
    assert found.candles[2].close.tolist() == then.candles[2].close.tolist()
    for name in bench.home.files("bars", read_record(bench.home, run).tables["bars"].version):
        (bench.home.folder / "bars" / name).rename(tmp_path / name)
    with pytest.raises(HomeError):
        explain_stored(bench.home, "S00001", DAYS[60], run)


def test_what_it_re_used_is_shown_as_the_earlier_run_stored_it(past, in_process, tmp_path):
    bench = past[0].copy(tmp_path / "home")
    earlier = bench.run(in_process, dates={"S00001": DAYS[[30, 40, 50]]})
    later = bench.run(in_process, dates={"S00001": DAYS[[40, 60]]})
    assert later.count("reused") == 1
    found = explain_stored(bench.home, "S00001", DAYS[40], later.run_id)
    alike(found, explain_stored(bench.home, "S00001", DAYS[40], earlier.run_id))
    assert found.notes[0] == f"value and matches of run {earlier.run_id}, which it re-used"
    # Stored by then, and not what the run was asked for.
    says = f"date {DAYS[50]} of symbol S00001: no sample of run {later.run_id}; it has 2 samples from {DAYS[40]} to "
    with pytest.raises(DateError, match=f"{says}{DAYS[60]}, the nearest {DAYS[40]}, {DAYS[60]}"):
        explain_stored(bench.home, "S00001", DAYS[50], later.run_id)
    nothing = bench.run(in_process, symbols="S00001", samples=5)
    third = bench.run(in_process, symbols="S00001", samples=5)
    assert third.count("done") == 0 < third.count("reused")
    assert (
        explain_stored(bench.home, "S00001", None, third.run_id)
        .notes[0]
        .startswith(f"value and matches of run {nothing.run_id}")
    )
    with pytest.raises(DateError, match="has no sample of S00002 any more, or never had one"):
        explain_stored(bench.home, "S00002", None, third.run_id)


def test_of_many_dates_it_cannot_tell_which_were_asked(past, in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "FEW_DATES", 1)
    bench = past[0].copy(tmp_path / "home")
    earlier = bench.run(in_process, dates={"S00001": DAYS[[30, 40]]})
    later = bench.run(in_process, dates={"S00001": DAYS[[40, 60]]})
    assert explain_stored(bench.home, "S00001", DAYS[40], later.run_id).notes[0] == (
        f"value and matches of run {earlier.run_id}, as it found them; whether it was asked for this date cannot be "
        "told any more"
    )


def test_without_its_version_of_the_bars_the_present_ones_are_shown_and_it_says_so(past, copied):
    home, run, _ = copied
    remove_old_bars(home, run)
    shown, bare = set(), set()
    for symbol, day in [("S00000", DAYS[60]), *(("S00001", day) for day in DAYS[[40, 56, 72]])]:
        found, then = explain_stored(home, symbol, day, run), explain_stored(past[0].home, symbol, day, run)
        assert found.factor == then.factor
        columns = [name for name in then.to_frame() if name != "known_on"]
        assert found.to_frame()[columns].equals(then.to_frame()[columns])
        assert found.searchable is None
        assert "bars as they are now, perhaps restated since, for version" in found.notes[1]
        assert "which part of history was searchable is not known any more" in found.notes
        for match, before in zip(found.matches, then.matches, strict=True):
            if len(match.after) == 0:
                bare.add(match.symbol)
                assert match.known_on is None
                assert f"{match.rank}" in found.notes[-1]
            else:
                shown.add(match.symbol)
                assert match.symbol == "S00000" or match.after.close.tolist() == before.after.close.tolist()
    # The restated symbol's bars no longer give the outcomes that were stored; those of the others do.
    assert bare == {"S00000"}
    assert shown >= {"S00001", "S00002", "S00003"}


def test_rows_that_are_gone_are_named_with_the_dates_that_there_are(copied):
    home, run, _ = copied
    vacuum(home, now=datetime.now(UTC) + timedelta(days=60))
    rows = home.read("factors", ["symbol", "date", "run_id"]).to_pandas().query("run_id == @run")
    left = np.unique(rows.loc[rows["symbol"] == "S00001", "date"])
    assert 0 < len(left) < len(DAYS[4 : BARS - 2])
    says = (
        f"date {DAYS[BARS - 3]} of symbol S00001: the rows of run {run} are gone, overwritten by later runs; "
        f"it has {len(left)} samples from {left[0]} to {left[-1]}, the nearest "
    )
    with pytest.raises(DateError, match=re.escape(says)):
        explain_stored(home, "S00001", DAYS[BARS - 3], run)
    assert "S00000" not in set(rows["symbol"])
    with pytest.raises(DateError, match=f"run {run} has no sample of S00000 any more, or never had one"):
        explain_stored(home, "S00000", DAYS[60], run)


def test_matches_that_are_not_those_of_the_value_are_refused(past, in_process, tmp_path):
    bench = past[0].copy(tmp_path / "home")
    run = bench.run(in_process, dates={"S00001": DAYS[[60]]}).run_id
    rows = bench.home.read("matches")
    at = rows.column_names.index("similarity")
    bench.home.upsert(
        "matches", rows.set_column(at, "similarity", [[0.5] * len(rows)]), [*KEY, "rank"], {"run_id": run}
    )
    with pytest.raises(HomeError, match=r"are gone, or are not those of its value any more"):
        explain_stored(bench.home, "S00001", DAYS[60], run)


def test_samples_without_value_or_window(past, in_process, tmp_path):
    bench = past[0].copy(tmp_path / "home")
    weekend = np.datetime64("2019-01-05")
    run = bench.run(in_process, dates={"S00001": np.array([weekend, DAYS[2], DAYS[5]])}).run_id
    found = explain_stored(bench.home, "S00001", DAYS[5], run)
    assert "no value: too few matches" in found.text()
    assert found.matches == []
    for day in (weekend, DAYS[2]):
        with pytest.raises(DateError, match=f"has no window to show: run {run} says "):
            explain_stored(bench.home, "S00001", day, run)


def test_what_a_run_has_not_and_what_does_not_go_with_it(past):
    bench, run, _ = past
    with pytest.raises(HomeError, match="has no record of a run"):
        explain_stored(bench.home, "S00001", None, "20200101T000000-abcdef")
    with pytest.raises(UnknownSymbolError):
        explain_stored(bench.home, "NOPE", None, run)
    for other in ({"settings": SMALL_SETTINGS}, {"encoder": bench.weights}, {"attention": True}):
        with pytest.raises(SettingError, match=run):
            kl.explain(bench.home, "S00001", run=run, **other)


def test_a_run_of_another_method_is_refused(copied):
    home, run, _ = copied
    write_record(home, replace(read_record(home, run), fingerprint="0" * 16, package="0.0.9", method=0))
    with pytest.raises(FingerprintError, match=r"made by version 0\.0\.9 .*; install that version to show it"):
        explain_stored(home, "S00001", None, run)
