"""A past run computed again from the versions that it recorded."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kline_core import _cache
from kline_core.api.data import update_patterns
from kline_core.compute import recording
from kline_core.compute import replay as module
from kline_core.compute.replay import replay, replay_key, replay_keys
from kline_core.compute.run import run_symbols
from kline_core.errors import EncoderError, FingerprintError, HomeError
from kline_core.factor.stored_values import KEY
from kline_core.maintenance.upkeep import vacuum
from kline_core.settings import FactorSettings
from kline_core.store.run_records import read_record, write_record
from tests.support.bench import SMALL_SETTINGS, Bench, break_batches
from tests.support.homes import replace_bars, write_encoder, write_synthetic_card
from tests.support.runs import BARS, DAYS, FRAME, first

LATER = FRAME[FRAME.groupby("symbol").cumcount() >= BARS - 2]


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("replay") / "home", first(FRAME, BARS - 2), weights=small_weights)


@pytest.fixture
def bench(made, tmp_path):
    return made.copy(tmp_path / "home")


def again(bench, cluster, report, encoder=None):
    # The run's own process may still hold what it read; a replay has to find it in the tables.
    _cache._caches.clear()
    record = read_record(bench.home, report.run_id)
    return replay(bench.home, cluster, replay_keys(bench.home, record, encoder), record)


def all_same(found, values):
    assert found.same, found.failure
    assert found.failure is None
    assert found.own.values.total + found.reused.values.total == values
    assert "every value and match is the same, bit for bit" in found.text()


def restate(bench):
    """Bars of one symbol in the place of which the vendor delivers others."""
    frame = FRAME.copy()
    rows = frame["symbol"] == "S00000"
    frame.loc[rows, ["open", "high", "low", "close"]] *= np.linspace(1, 3, rows.sum())[:, None]
    replace_bars(bench.home, frame, "S00000")
    bench.extend()


@pytest.mark.slow
def test_a_run_is_the_same_again_and_nothing_is_stored(bench, in_process):
    report = bench.run(in_process, samples=30)
    before = {table: bench.home.version(table) for table in ("bars", "patterns", "factors", "matches")}
    runs = list((bench.home.folder / "runs").iterdir())
    found = again(bench, in_process, report)
    all_same(found, 120)
    assert found.reused.values.total == 0
    assert found.own.matches.total == bench.home.read("matches").num_rows
    assert {table: bench.home.version(table) for table in before} == before
    assert list((bench.home.folder / "runs").iterdir()) == runs


@pytest.mark.slow
def test_values_of_earlier_runs_that_it_re_used_are_computed_again_too(bench, in_process):
    bench.run(in_process, samples=20)
    report = bench.run(in_process, samples=30)
    found = again(bench, in_process, report)
    all_same(found, 120)
    assert found.own.values.total == read_record(bench.home, report.run_id).counts["rows"] < 120
    nothing_new = bench.run(in_process, samples=30)
    found = again(bench, in_process, nothing_new)
    all_same(found, 120)
    assert found.own.values.total == 0


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{"as_of": str(DAYS[60]), "symbols": "S00002"}, {"dates": {"S00001": DAYS[[30, 2]]}}])
def test_what_was_asked_is_asked_again(bench, in_process, asked):
    report = bench.run(in_process, **asked)
    all_same(again(bench, in_process, report), report.count("samples"))


@pytest.mark.slow
def test_bars_patterns_and_values_that_came_since_change_nothing(bench, in_process):
    """Restated bars, whose old values a later run has overwritten."""
    report = bench.run(in_process, samples=30)
    bench.add(LATER)
    restate(bench)
    overwritten = bench.run(in_process, samples=30)
    rows = bench.home.read("factors", ["run_id"])["run_id"].to_pylist()
    assert rows.count(report.run_id) < 120
    all_same(again(bench, in_process, report), 120)
    # What a run makes again of earlier runs is its own too.
    assert overwritten.count("refreshed") > 0
    all_same(again(bench, in_process, overwritten), 120 + overwritten.count("refreshed"))


@pytest.mark.slow
def test_dates_of_earlier_runs_that_it_refreshed_are_compared_too(bench, in_process):
    bench.run(in_process, dates={"S00000": DAYS[[30, 40]]})
    restate(bench)
    report = bench.run(in_process, dates={"S00000": DAYS[[50]]})
    assert report.count("refreshed") == 2
    all_same(again(bench, in_process, report), 3)


@pytest.mark.long
@pytest.mark.slow
def test_two_runs_at_once_are_each_told_from_the_other(bench, in_process):
    other = Bench(bench.home, replace(SMALL_SETTINGS, factor=FactorSettings(return_horizon=3, top_k=7)), bench.weights)
    runs = [bench.start(in_process, samples=10), other.start(in_process, samples=10)]
    for symbol in ("S00000", "S00001", "S00002", "S00003"):
        for run in runs:
            run.score([symbol])
            run.writer.flush()
    for run in runs:
        all_same(again(bench, in_process, run.finish()), 40)


@pytest.mark.slow
def test_a_run_that_was_cut_off_is_compared_as_far_as_it_came(bench, in_process):
    run = bench.start(in_process, samples=10)
    run.score(["S00000"])
    run.writer.flush()
    killed = again(bench, in_process, run)
    assert killed.same
    assert (killed.own.values.total, killed.unstored) == (10, 30)
    assert "30 samples were never stored" in killed.text()
    found = again(bench, in_process, run.finish())
    assert found.same
    assert (found.own.values.total, found.unstored) == (10, 30)


def test_a_run_that_was_killed_before_it_stored_anything_has_nothing_to_compare(bench, in_process):
    run = bench.start(in_process, samples=10)
    with pytest.raises(HomeError, match=f"run {run.run_id} was cut off before it stored anything"):
        again(bench, in_process, run)


def changed(bench, table, column, change, run_id):
    """Store another number in one row of a run, as if the run had stored it."""
    rows = bench.home.read(table)
    at = next(at for at, value in enumerate(rows[column].to_pylist()) if value is not None)
    row = rows.slice(at, 1)
    other = pa.array([change(row[column][0].as_py())], rows[column].type)
    row = row.set_column(row.column_names.index(column), rows.schema.field(column), other)
    keys = [*KEY, "rank"] if table == "matches" else KEY
    bench.home.upsert(table, row, keys, {"run_id": run_id})


@pytest.mark.slow
def test_a_last_bit_and_another_value_are_told_apart(bench, in_process):
    report = bench.run(in_process, samples=30)
    changed(bench, "factors", "value", lambda value: float(np.nextafter(value, 2)), report.run_id)
    found = again(bench, in_process, report)
    assert (found.own.values.equal, found.own.values.close, found.own.values.different) == (119, 1, 0)
    assert not found.same
    assert "1 of 120 values are not the same bit for bit, but within 1e-06" in found.failure
    changed(bench, "matches", "similarity", lambda value: value - 0.01, report.run_id)
    found = again(bench, in_process, report)
    assert (found.own.matches.close, found.own.matches.different) == (0, 1)
    assert "similarity" in found.failure
    assert "`kline verify`" in found.failure


@pytest.mark.slow
def test_another_processor_is_named_where_only_last_bits_differ(bench, in_process):
    report = bench.run(in_process, samples=30)
    record = read_record(bench.home, report.run_id)
    had = replace(record.cluster.processor, name="another", instructions=("avx512f",))
    write_record(bench.home, replace(record, cluster=replace(record.cluster, processor=had)))
    changed(bench, "factors", "value", lambda value: float(np.nextafter(value, 2)), report.run_id)
    found = again(bench, in_process, report)
    assert "the run had another (avx512f), here is " in found.failure
    assert "processor of the run: another (avx512f); here: " in found.text()


@pytest.mark.slow
def test_patterns_made_again_since_with_another_encoder(bench, in_process, tmp_path):
    report = bench.run(in_process, samples=20)
    other = write_encoder(tmp_path / "other.safetensors", seed=5)
    update_patterns(bench.home, settings=SMALL_SETTINGS.patterns, encoder=other, device="cpu", rebuild=True)
    all_same(again(bench, in_process, report), 80)


@pytest.mark.slow
def test_weights_that_have_moved_are_named_and_others_refused(bench, in_process, tmp_path):
    report = bench.run(in_process, samples=10)
    record = read_record(bench.home, report.run_id)
    moved = tmp_path / "moved.safetensors"
    shutil.copy(bench.weights, moved)
    write_synthetic_card(moved)
    write_record(bench.home, replace(record, encoder=replace(record.encoder, path=str(tmp_path / "gone.safetensors"))))
    with pytest.raises(EncoderError, match=r"gone.safetensors cannot be read"):
        again(bench, in_process, report)
    all_same(again(bench, in_process, report, moved), 40)
    other = write_encoder(tmp_path / "other.safetensors", seed=5)
    with pytest.raises(EncoderError, match=f"run {report.run_id} used {record.encoder.fingerprint} .* --encoder"):
        again(bench, in_process, report, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"fingerprint": "0" * 16}, {"settings": {"patterns": {"horizons": [1], "x": 2}, "factor": {}}}]
)
def test_a_run_of_another_method_is_refused(bench, in_process, change):
    record = read_record(bench.home, bench.run(in_process, samples=10).run_id)
    with pytest.raises(FingerprintError, match=r"made by version 0\.0\.9 of this package \(method 0\)"):
        replay_key(bench.home, replace(record, package="0.0.9", method=0, **change))


@pytest.mark.slow
@pytest.mark.parametrize("table", ["bars", "patterns"])
def test_a_version_that_is_gone_is_named_with_since_when(bench, in_process, table):
    report = bench.run(in_process, samples=10)
    record = read_record(bench.home, report.run_id)
    restate(bench)
    old = bench.home.files(table, record.tables[table].version).keys() - bench.home.files(table).keys()
    assert old
    for name in old:
        (bench.home.folder / table / name).unlink()
    today = datetime.now(UTC)
    says = (
        f"run {report.run_id} read version {record.tables[table].version} of {table}, which was the newest until "
        rf"({today:%Y-%m-%d}|{today - timedelta(days=1):%Y-%m-%d}) and has been removed since .*; restore a copy"
    )
    with pytest.raises(HomeError, match=says) as caught:
        again(bench, in_process, report)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_what_a_run_read_outlives_maintenance_of_the_promised_year(bench, in_process):
    report = bench.run(in_process, samples=30)
    restate(bench)
    now = datetime.now(UTC)
    assert vacuum(bench.home, now=now + timedelta(days=364)).kept_days["bars"] == 365
    all_same(again(bench, in_process, report), 120)
    vacuum(bench.home, now=now + timedelta(days=367))
    with pytest.raises(HomeError, match=r"has no record of a run .*`maintain` removes those of runs whose versions"):
        again(bench, in_process, report)


@pytest.mark.slow
def test_values_that_were_overwritten_and_vacuumed_are_counted_as_such(bench, in_process):
    report = bench.run(in_process, samples=30)
    restate(bench)
    bench.run(in_process, samples=30)
    left = pc.sum(pc.equal(bench.home.read("factors")["run_id"].cast("string"), report.run_id)).as_py()
    vacuum(bench.home, now=datetime.now(UTC) + timedelta(days=60))
    found = again(bench, in_process, report)
    assert 0 < left < 120
    assert found.own.values.total == left
    assert found.own.same
    assert found.uncompared == {"overwritten by later runs, and the version before is gone": 120 - left}
    assert not found.same
    assert f"{120 - left} values cannot be compared" in found.failure


@pytest.mark.slow
def test_tables_that_were_restored_and_went_on_are_told_from_those_that_were_read(bench, in_process, made, tmp_path):
    restored = made.copy(tmp_path / "restored")
    bench.add(LATER)
    report = bench.run(in_process, samples=10)
    restored.add(LATER[LATER["symbol"] != "S00003"])
    record = read_record(bench.home, report.run_id)
    for state in (record.tables["bars"], replace(record.tables["bars"], version=99)):
        asked = replace(record, tables=record.tables | {"bars": state})
        with pytest.raises(HomeError, match=r"bars of home .* were made anew or restored since .*; restore a copy"):
            replay_key(restored.home, asked)


@pytest.mark.slow
def test_many_dates_are_compared_where_the_run_computed_them(bench, in_process, monkeypatch):
    monkeypatch.setattr(recording, "FEW_DATES", 2)
    dates = {"S00001": DAYS[[30, 40, 50]], "S00002": DAYS[[45]]}
    all_same(again(bench, in_process, bench.run(in_process, dates=dates)), 4)
    report = bench.run(in_process, dates=dates | {"S00003": DAYS[[45]]})
    found = again(bench, in_process, report)
    assert found.own.same
    assert found.own.values.total == 1
    assert found.uncompared == {"re-used, and of its many dates the record holds only a hash": 4}


@pytest.mark.slow
def test_a_sample_that_breaks_again_is_alone_and_the_same(bench, in_process, monkeypatch):
    break_batches(monkeypatch, DAYS[40], ValueError("it broke"))
    report = bench.run(in_process, dates={"S00001": DAYS[[30, 40]], "S00002": DAYS[[45]]})
    assert report.count("failed") == 1
    all_same(again(bench, in_process, report), 3)
    monkeypatch.undo()
    found = again(bench, in_process, report)
    assert (found.own.values.equal, found.own.values.different) == (2, 1)
    assert f"S00001 {DAYS[40]}: value nan stored" in found.failure


@pytest.mark.slow
def test_blocks_and_batches_change_nothing(bench, in_process, monkeypatch):
    report = bench.run(in_process, samples=30)
    for block, together in ((1, 1), (60, 40)):
        monkeypatch.setattr(module, "_BLOCK", block)
        monkeypatch.setattr(module, "_TOGETHER", together)
        all_same(again(bench, in_process, report), 120)


@pytest.mark.slow
def test_a_home_without_patterns_is_replayed(bench, in_process, tmp_path):
    few = Bench.of(tmp_path / "few", first(FRAME, 8), weights=bench.weights)
    assert few.home.version("patterns") is None
    report = run_symbols(few.start(in_process, samples=10))
    found = again(few, in_process, report)
    all_same(found, report.count("failed"))
    assert found.own.matches.total == 0
