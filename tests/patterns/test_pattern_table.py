"""Patterns of several settings in one home."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kline_core.api.data import update_patterns
from kline_core.compute.replay import replay, replay_key, replay_keys
from kline_core.errors import FingerprintError, HomeError
from kline_core.factor.alphalens_folder import recorded_steps
from kline_core.maintenance import upkeep
from kline_core.maintenance.home_checks import check_home
from kline_core.maintenance.upkeep import compact, vacuum
from kline_core.maintenance.verify import verify
from kline_core.patterns.pattern_table import pattern_table, table_to_update
from kline_core.settings import pattern_fingerprint
from kline_core.store.home import Home
from kline_core.store.run_records import read_record
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import SMALL, make_home, market

SCALED = replace(SMALL, scales=(1, 2), scale_weights=(0.5, 0.5))
FRAME = market(3, 60, seed=2)
LAST = FRAME.groupby("symbol").cumcount() >= 58


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_weights):
    """A home with patterns of two settings, and its two benches."""
    first = Bench.of(tmp_path_factory.mktemp("tables") / "home", FRAME[~LAST], weights=small_weights)
    second = Bench(first.home, replace(SMALL_SETTINGS, patterns=SCALED), small_weights)
    second.extend()
    return first, second


@pytest.fixture
def both(made, tmp_path):
    shutil.copytree(made[0].home.folder, tmp_path / "home")
    home = Home(tmp_path / "home")
    return tuple(Bench(home, bench.settings, bench.weights) for bench in made)


def tables_of(both):
    return [bench.key.patterns_table for bench in both]


def test_each_setting_has_a_table_of_its_own(both):
    first, second = both
    encoder = first.key.encoder.fingerprint
    own = f"patterns-{pattern_fingerprint(SCALED, encoder)}"
    assert tables_of(both) == ["patterns", own]
    assert first.home.pattern_tables() == ["patterns", own]
    assert first.home.tables() == ["bars", "patterns", own, "factors", "matches", "members"]
    assert first.home.description(own)["settings"] == SCALED.to_dict()
    # Five more bars in a window are five patterns fewer of each symbol.
    assert first.home.read("patterns").num_rows == first.home.read(own).num_rows + 3 * 5
    assert first.extend().added == second.extend().added == 0
    # Whose patterns are not there is refused by every reader, and has a table of its own to be made.
    third = replace(SMALL, barrier_up=0.04)
    assert pattern_table(first.home, third, encoder) == "patterns"
    assert table_to_update(first.home, third, encoder) == f"patterns-{pattern_fingerprint(third, encoder)}"
    with pytest.raises(
        FingerprintError, match=r"barrier_up 0.05 \(now asked for: 0.04\); ask for the same, or make those"
    ):
        _ = Bench(first.home, replace(SMALL_SETTINGS, patterns=third), first.weights).key


def test_a_table_of_no_kind_is_none(both):
    for name in ("patterns-", "patterns-0123", "patterns-0123456789ABCDEF", "patterns-0123456789abcdef/x", "others"):
        with pytest.raises(ValueError, match="no table is called"):
            both[0].home.version(name)
    assert both[0].home.version("patterns-0123456789abcdef") is None


@pytest.mark.slow
def test_values_of_both_stand_beside_each_other(both, in_process, tmp_path):
    first, second = both
    reports = [bench.run(in_process, samples=12) for bench in both]
    alone = Bench.of(tmp_path / "alone", FRAME[~LAST], first.settings, first.weights)
    alone.run(in_process, samples=12)
    stored = first.rows("factors")
    assert [row for row in stored if row["fingerprint"] == first.key.fingerprint] == alone.rows("factors")
    assert {row["fingerprint"] for row in stored} == {bench.key.fingerprint for bench in both}
    found = verify(first.home, first.settings, first.weights)
    assert found.state == "sound"
    # All values were computed again from their matches, those of either setting.
    assert not any("by themselves only" in note for note in found.notes)
    # New bars, and patterns of one setting only: the other's wait, and say so.
    first.add(FRAME[LAST])
    found = verify(first.home, first.settings, first.weights)
    assert found.state == "pending"
    assert {finding.table for finding in found.findings} == {second.home.pattern_tables()[1]}
    second.extend()
    for bench, report in zip(both, reports, strict=True):
        again = bench.run(in_process, samples=12)
        assert again.count("reused") > 0.8 * report.count("done")
        record = read_record(bench.home, report.run_id)
        key = replay_key(bench.home, record)
        assert key.patterns_table == bench.key.patterns_table
        compared = replay(bench.home, in_process, [key], record)
        assert compared.same, compared.failure


@pytest.mark.slow
def test_a_rebuild_replaces_only_its_own_table(both, in_process):
    first, second = both
    versions = {name: first.home.version(name) for name in first.home.pattern_tables()}
    update_patterns(second.home, settings=SCALED, encoder=second.weights, device="cpu", rebuild=True)
    now = {name: first.home.version(name) for name in first.home.pattern_tables()}
    assert now["patterns"] == versions["patterns"]
    assert [name for name in now if now[name] > versions[name]] == tables_of(both)[1:]
    assert first.run(in_process, samples=5).count("done") > 0


@pytest.mark.slow
def test_upkeep_knows_all_tables(both, in_process, monkeypatch):
    monkeypatch.setattr(upkeep, "MANY_FILES", 2)
    first, second = both
    report = second.run(in_process, samples=5)
    own = tables_of(both)[1]
    second.home.delete(own, ["S00001"])
    second.extend()
    assert own in {part.table for part in compact(first.home).tables if part.removed}
    later = datetime.now(UTC) + timedelta(days=30)
    done = vacuum(first.home, 7, 7, now=later)
    assert done.kept_days[own] == done.kept_days["patterns"] == 7
    assert {part.table for part in done.tables if part.removed} >= {own}
    assert second.run(in_process, samples=5).count("reused") == report.count("done") > 0
    assert verify(first.home, first.settings, first.weights).state == "sound"


@pytest.mark.slow
def test_a_vacuum_keeps_what_runs_of_either_table_read(both, in_process):
    report = both[1].run(in_process, samples=5)
    record = read_record(both[1].home, report.run_id)
    both[1].extend()
    both[1].home.delete(tables_of(both)[1], ["S00001"])
    both[1].extend()
    vacuum(both[0].home, 7, 365, now=datetime.now(UTC) + timedelta(days=30))
    assert replay(both[1].home, in_process, replay_keys(both[1].home, record), record).same


@pytest.mark.slow
def test_damage_to_one_table_is_named(both, in_process):
    first, second = both
    own = tables_of(both)[1]
    second.run(in_process, samples=5)
    (file,) = (first.home.folder / own).glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    checks = {check.subject: check for check in check_home(first.home) if check.state == "problem"}
    assert set(checks) == {own}
    found = verify(first.home, first.settings, first.weights)
    assert {finding.table for finding in found.findings} == {own}
    assert "with the settings of that table" in found.findings[0].remedy
    shutil.rmtree(first.home.folder / own)
    second.extend()
    assert verify(first.home, first.settings, first.weights).state == "sound"
    shutil.rmtree(first.home.folder / own / "_delta_log")
    with pytest.raises(HomeError):
        _ = second.home.read(own, version=0)


def test_prices_of_values_without_a_record(both):
    first, _ = both
    # Both settings have the same entry and horizons.
    assert recorded_steps(first.home, "0" * 16).horizons == (1, 3)
    third = replace(SMALL, entry_lag_bars=2)
    Bench(first.home, replace(SMALL_SETTINGS, patterns=third), first.weights).extend()
    with pytest.raises(HomeError, match="its patterns of several settings differ in that"):
        recorded_steps(first.home, "0" * 16)


def test_a_home_whose_first_table_is_gone(both):
    first, second = both
    shutil.rmtree(first.home.folder / "patterns")
    assert second.key.patterns_table == f"patterns-{pattern_fingerprint(SCALED, second.key.encoder.fingerprint)}"
    assert verify(first.home, first.settings, first.weights).state == "sound"
    assert first.key.patterns_version is None
    assert first.extend().added > 0
    assert tables_of(both)[0] == "patterns"


def test_no_table_at_all(tmp_path):
    home = make_home(tmp_path / "home", market(1, 20))
    assert home.pattern_tables() == []
    assert home.tables() == ["bars", "patterns", "factors", "matches", "members"]
