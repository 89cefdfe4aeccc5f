"""What `verify` says of sound tables, of others than it can judge, and of those that are being written."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import kline_core as kl
from kline_core.errors import EncoderError, HomeError, StaleError
from kline_core.factor.stored_values import KEY
from kline_core.maintenance import moment
from kline_core.maintenance.upkeep import compact
from kline_core.maintenance.verify import verify
from kline_core.settings import FactorSettings
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.damage import checked, kinds, of_ok, put, rewrite, without_first
from tests.support.homes import SMALL, market, write_encoder


@pytest.mark.slow
def test_sound_tables_are_said_to_be_sound(sound):
    report = checked(sound)
    assert (report.ok, report.findings, report.notes) == (True, [], [])
    counts = {name: sound.home.read(name).num_rows for name in ("bars", "patterns", "factors", "matches")}
    assert report.rows == counts
    assert min(counts.values()) > 100
    assert report.versions == {name: sound.home.version(name) for name in counts}
    assert report.headline.startswith("tables are sound: 210 bars, ")
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["ok"] is True


@pytest.mark.slow
def test_values_of_other_settings_are_checked_by_themselves(bench):
    three = replace(bench.settings, factor=FactorSettings(return_horizon=3, isolation_bars=5, top_k=3, min_matches=3))
    report = checked(bench, three)
    count = bench.home.read("factors").num_rows
    assert report.ok
    (note,) = report.notes
    assert note.startswith(
        f"{count} values of other settings than fingerprint {three.fingerprint(bench.key.encoder.fingerprint)}"
    )
    rewrite(bench.home, "factors", of_ok("barrier_win_rate", lambda value: 1 - value if value != 0.5 else 0.1))
    assert kinds(checked(bench, three)) == {("factors", "rows whose barrier_win_rate is not that of their matches", 1)}
    five = replace(bench.settings.factor, return_horizon=5)
    report = verify(
        bench.home, replace(bench.settings, patterns=replace(SMALL, horizons=(1, 5)), factor=five), bench.weights
    )
    assert report.notes == ["values were checked by themselves only, because the patterns have no returns over 5 bars"]


@pytest.mark.slow
def test_values_made_from_bars_that_have_changed_are_noted_until_the_next_run(bench, in_process):
    rewrite(bench.home, "bars", put("close", lambda value: value * 1.0001, 10))
    bench.extend()
    report = checked(bench)
    assert report.ok
    (note,) = report.notes
    assert "were made from other bars than there are now" in note
    bench.run(in_process, samples=40)
    report = checked(bench)
    assert (report.ok, report.notes) == (True, [])


@pytest.mark.slow
def test_samples_without_a_window_or_a_bar_are_sound(bench, in_process):
    days = np.array(["2019-12-31", "2020-01-07", "2020-01-11", "2031-01-06"], "datetime64[D]")
    report = bench.run(in_process, dates={"S00000": days})
    assert report.count("failed") == 4
    report = checked(bench)
    assert (report.ok, report.notes) == (True, [])


@pytest.mark.slow
def test_a_sample_that_broke_is_sound(bench):
    def broke(frame):
        frame.loc[0, ["value", "matches", "history", "status"]] = [None, 0, 0, "failed"]
        frame["reason"] = frame["reason"].astype(object)
        frame.loc[0, "reason"] = "ValueError: something"

    first = bench.home.read("factors").sort_by([("symbol", "ascending"), ("date", "ascending")])["date"][0].as_py()
    rewrite(bench.home, "factors", broke)
    rewrite(bench.home, "matches", lambda frame: frame[(frame["symbol"] != "S00000") | (frame["date"] != first)])
    report = checked(bench)
    assert (report.findings, report.notes) == ([], [])


@pytest.mark.slow
def test_dates_seen_by_the_encoder_are_checked_like_others(tmp_path, in_process):
    weights = write_encoder(tmp_path / "seen.safetensors", trained_through="2020-02-28")
    factor = replace(SMALL_SETTINGS.factor, allow_seen=True)
    bench = Bench.of(tmp_path / "home", market(2, 60), replace(SMALL_SETTINGS, factor=factor), weights)
    bench.run(in_process, samples=30)
    reasons = bench.home.read("factors")["reason"].to_pylist()
    assert "encoder trained through 2020-02-28" in reasons
    report = checked(bench)
    assert (report.findings, report.notes) == ([], [])
    # The default weights are others: how long a vector is then shows in most of them.
    assert verify(bench.home, bench.settings).ok


@pytest.mark.slow
def test_weights_that_cannot_be_read_are_refused(sound):
    with pytest.raises(EncoderError, match="cannot be read"):
        verify(sound.home, sound.settings, "nowhere.safetensors")


def test_an_empty_home_is_sound(tmp_path):
    report = verify(Home(tmp_path / "home", create=True))
    assert (report.ok, report.notes, report.rows) == (True, [], {"bars": 0})


@pytest.mark.slow
@pytest.mark.parametrize("table", ["bars", "patterns", "factors", "matches"])
@pytest.mark.parametrize("lost", ["*.parquet", "_delta_log/*.json"])
def test_a_table_that_cannot_be_read_is_found_and_the_others_are_checked(bench, table, lost):
    for file in (bench.home.folder / table).glob(lost):
        file.write_bytes(b"garbage")
    report = checked(bench)
    assert kinds(report) == {(table, "table that cannot be read", 1)}
    assert table not in report.rows
    assert len(report.rows) == 3
    assert len(report.text().splitlines()) <= 3


def cut_off(bench, run_id="20990101T000000-abcdef"):
    """Store the matches of one more sample, and not its value: a run was cut off in between, or is at work."""
    matches = bench.home.read("matches").slice(0, 1).to_pandas()
    symbol = matches["symbol"].item()
    # Rows come in no set order, and each symbol has sample dates of its own: one that this symbol has not.
    bars, values = (bench.home.read(table, ["date"], symbols=[symbol]) for table in ("bars", "factors"))
    day = max(set(bars["date"].to_pylist()) - set(values["date"].to_pylist()))
    rows = pa.Table.from_pandas(
        matches.assign(date=day, rank=1), table_schema("matches", SMALL.horizons), preserve_index=False
    )
    bench.home.upsert("matches", rows, [*KEY, "rank"], {"run_id": run_id})
    return run_id


@pytest.mark.slow
def test_matches_of_a_run_that_was_cut_off_are_found_with_a_remedy_that_heals_them(bench, in_process):
    cut_off(bench)
    report = checked(bench)
    assert ("matches", "rows that belong to no value", 1) in kinds(report)
    assert (report.ok, report.state) == (True, "cut off")
    assert report.headline == "tables are sound, and work on them was cut off: matches: 1 rows that belong to no value"
    (finding,) = report.findings
    assert "run `kline run` again" in finding.remedy
    bench.run(in_process, symbols=[finding.example.split()[0]], samples=1, max_failed_share=1)
    assert checked(bench).state == "sound"


@pytest.mark.slow
def test_two_runs_that_stored_the_same_matches_at_once_leave_sound_tables(bench):
    """The value of one beside the matches of the other, which are the same."""
    rewrite(bench.home, "matches", lambda frame: frame.assign(run_id="20990101T000000-abcdef"))
    report = checked(bench)
    assert (report.state, report.findings) == ("sound", [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("factors", of_ok("matches", 4)),
        ("factors", of_ok("value", 0.123)),
        ("matches", without_first),
        ("matches", lambda frame: frame.iloc[1:].assign(run_id="20990101T000000-abcdef")),
    ],
)
def test_what_running_again_is_said_to_heal_it_heals(bench, in_process, table, change):
    rewrite(bench.home, table, change)
    findings = checked(bench).findings
    assert findings
    assert any("run `kline run` again" in finding.remedy for finding in findings)
    bench.run(in_process)
    assert checked(bench).state == "sound"


@pytest.mark.slow
def test_a_run_between_its_two_commits_is_waited_for(bench, monkeypatch):
    run_id = cut_off(bench)
    monkeypatch.setattr(moment, "_PATIENCE", 600.0)
    waited = []

    def meanwhile(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            matches = bench.home.read("matches", version=bench.home.version("matches") - 1)
            factors = bench.home.read("factors").slice(0, 1)
            assert matches.num_rows
            bench.home.upsert("factors", factors, KEY, {"run_id": run_id})

    monkeypatch.setattr(time, "sleep", meanwhile)
    checked(bench)
    assert len(waited) == 3
    # Commits of long ago are not waited for, whatever became of them.
    cut_off(bench, "another")
    monkeypatch.setattr(moment, "_RECENT", -60_000)
    assert ("matches", "rows that belong to no value", 1) in kinds(checked(bench))
    assert len(waited) == 3


@pytest.mark.slow
def test_rows_written_while_the_tables_are_read_are_left_out(bench, monkeypatch):
    read = Home.read

    def overtaken(self, table, **words):
        if table == "factors":
            late = read(self, "matches").slice(0, 1).to_pandas().assign(date=pd.Timestamp("2020-01-15").date())
            rows = pa.Table.from_pandas(late, table_schema("matches", SMALL.horizons), preserve_index=False)
            self.upsert("matches", rows, [*KEY, "rank"], {"run_id": "late"})
        return read(self, table, **words)

    monkeypatch.setattr(Home, "read", overtaken)
    assert checked(bench).ok


@pytest.mark.slow
def test_compacted_tables_are_as_sound_as_before(bench, monkeypatch):
    monkeypatch.setattr("kline_core.maintenance.upkeep.MANY_FILES", 1)
    before = checked(bench).rows
    compact(bench.home)
    report = checked(bench)
    assert (report.ok, report.rows) == (True, before)


@pytest.mark.slow
def test_a_table_of_values_that_is_gone_is_no_empty_one(bench, in_process):
    """Its matches would bring the values back, and nothing the samples without one."""
    bench.run(in_process, samples=5)
    shutil.rmtree(bench.home.folder / "factors")
    with pytest.raises(HomeError, match=r"has lost its table factors, in which run .* stored values; restore a copy"):
        bench.run(in_process, samples=5)
    (finding,) = (found for found in checked(bench).findings if found.table == "factors")
    assert finding.kind == "table that cannot be read"
    shutil.rmtree(bench.home.folder / "matches")
    assert bench.run(in_process, samples=5).count("done") > 0


@pytest.mark.slow
def test_patterns_whose_first_commit_was_cut_off_wait_with_the_options_that_make_them(bench):
    other = replace(bench.settings, patterns=replace(bench.settings.patterns, market_relative=True))
    kl.update_patterns(bench.home, settings=other.patterns, encoder=bench.weights, device="cpu")
    (own,) = set(bench.home.pattern_tables()) - {"patterns"}
    folder = bench.home.folder / own
    for file in [*folder.glob("*.parquet"), *folder.glob("_checksums/*"), *folder.glob("_delta_log/*")]:
        if not file.name.startswith("0" * 20):
            file.unlink()
    (folder / "_checksums" / f"{0:020}.version").unlink(missing_ok=True)
    report = verify(bench.home, bench.settings, bench.weights)
    assert report.state == "pending"
    assert {(finding.table, "--market-relative" in finding.remedy) for finding in report.findings} == {(own, True)}
    with pytest.raises(StaleError, match=r"run `kline index .*--market-relative"):
        Bench(bench.home, other, bench.weights).key.load()
