"""Compaction and vacuum: no row changes, what must stay readable does, and writers at work are left alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from kline_core.bars.bars_cache import files_hash
from kline_core.errors import HomeError, SettingError
from kline_core.factor.state import load_state
from kline_core.maintenance import upkeep
from kline_core.maintenance.upkeep import MANY_FILES, compact, vacuum
from kline_core.store.home import Home, TableChangedError
from kline_core.store.log import forget_before
from kline_core.store.run_records import TableState, new_run_id, recorded_runs, write_record
from kline_core.store.schemas import conform, table_schema
from tests.support.bench import Bench
from tests.support.homes import market
from tests.support.records import record_of
from tests.support.tables import KEYS, bar_rows, match_rows

NOW = datetime.now(UTC)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home", create=True)


def rows_of(home, table):
    return sorted(map(str, home.read(table).to_pylist()))


def aged(home, table, days):
    """Make a table look as if its commits and files were so many days old; a list gives each version its own."""
    folder = home.folder / table
    for version in range(home.version(table) + 1):
        back = days[version] if isinstance(days, list) else days
        stamp = (NOW - timedelta(days=back)).timestamp()
        log = folder / "_delta_log" / f"{version:020}.json"
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            if "commitInfo" in action:
                action["commitInfo"]["timestamp"] = int(stamp * 1000)
            if "remove" in action:
                action["remove"]["deletionTimestamp"] = int(stamp * 1000)
            if "add" in action:
                os.utime(folder / action["add"]["path"], (stamp, stamp))
        log.write_text("\n".join(map(json.dumps, actions)))


def aged_commit(home, version, stamp):
    """Give a commit of `bars` and its files another time."""
    log = home.folder / "bars" / "_delta_log" / f"{version:020}.json"
    log.write_text(re.sub(r'"timestamp":\d+', f'"timestamp":{int(stamp * 1000)}', log.read_text()))
    for name in re.findall(r'"add":\{"path":"([^"]+)"', log.read_text()):
        os.utime(home.folder / "bars" / name, (stamp, stamp))


def committed(home, version, day):
    """Append a row to `bars` as that version, `day` days from now, without Delta's writer, which takes its time."""
    folder, stamp = home.folder / "bars", (NOW + timedelta(days=day)).timestamp()
    rows, _ = conform(bar_rows(f"S{version}", 1), table_schema("bars"), "bars")
    file = folder / f"{version}.parquet"
    pq.write_table(rows, file)
    moment, size = int(stamp * 1000), file.stat().st_size
    add = {"path": file.name, "partitionValues": {}, "size": size, "modificationTime": moment, "dataChange": True}
    actions = [{"commitInfo": {"timestamp": moment, "operation": "WRITE"}}, {"add": add}]
    (folder / "_delta_log" / f"{version:020}.json").write_text("\n".join(map(json.dumps, actions)))
    os.utime(file, (stamp, stamp))
    if version % 100 == 99:
        DeltaTable(str(folder)).create_checkpoint()


def data_files(home, table):
    return {file.name for file in (home.folder / table).glob("*.parquet")}


def test_a_home_that_has_gone_is_not_in_order(home):
    shutil.rmtree(home.folder)
    for action in compact, vacuum:
        with pytest.raises(HomeError, match="is gone"):
            action(home)


@pytest.mark.slow
def test_many_small_files_become_one_and_no_row_changes(home):
    for number in range(MANY_FILES):
        home.append("bars", bar_rows(f"S{number}", 2))
    before = rows_of(home, "bars")
    report = compact(home)
    (bars,) = report.tables
    assert (bars.table, bars.files_before, bars.files_after, bars.removed) == ("bars", MANY_FILES, 1, MANY_FILES - 1)
    assert bars.bytes_after < bars.bytes_before
    assert rows_of(home, "bars") == before
    assert home.read("bars", version=3).num_rows == 6
    assert report.headline == f"compacted bars {MANY_FILES} files to 1"
    assert compact(home).headline == "nothing to compact"
    assert json.loads(json.dumps(report.to_dict()))["tables"][0]["removed"] == MANY_FILES - 1
    assert "files before" in report.text()


@pytest.mark.slow
def test_few_files_are_left_so_that_workers_need_not_load_again(home):
    for number in range(MANY_FILES - 1):
        home.append("bars", bar_rows(f"S{number}", 2))
    version = home.version("bars")
    assert compact(home).headline == "nothing to compact"
    assert home.version("bars") == version


@pytest.mark.slow
def test_large_files_are_left_as_they_are(home, monkeypatch):
    for number in range(MANY_FILES):
        home.append("bars", bar_rows(f"S{number}", 2))
    monkeypatch.setattr(upkeep, "TARGET_BYTES", 100)
    assert compact(home).headline == "nothing to compact"


@pytest.mark.slow
def test_matches_of_other_horizons_are_compacted_together(home):
    for number in range(MANY_FILES):
        home.upsert("matches", match_rows([number], horizon=1 + number % 3), KEYS)
    before = rows_of(home, "matches")
    assert compact(home).tables[-1].files_after == 1
    assert rows_of(home, "matches") == before
    home.upsert("matches", match_rows([0], run="again"), KEYS)
    assert home.read("matches", symbols=["A"], fingerprint="f").num_rows == MANY_FILES


@pytest.mark.slow
def test_workers_load_compacted_tables_bit_for_bit(tmp_path, small_weights, in_process, monkeypatch):
    monkeypatch.setattr(upkeep, "MANY_FILES", 2)
    first = market(3, 60)
    bench = Bench.of(tmp_path / "home", first[first["date"] < first["date"].unique()[40]], weights=small_weights)
    bench.run(in_process, samples=10)
    bench.add(first[first["date"] >= first["date"].unique()[40]])
    bench.run(in_process, samples=20)
    before, rows = load_state(bench.key), [bench.rows(table) for table in ("factors", "matches")]
    joined = {part.table: part.removed for part in compact(bench.home).tables}
    assert min(joined["bars"], joined["patterns"]) > 0
    after = load_state(bench.key)
    assert after.key != before.key
    np.testing.assert_array_equal(after.patterns.vectors, before.patterns.vectors)
    np.testing.assert_array_equal(after.patterns.history, before.patterns.history)
    assert [bench.rows(table) for table in ("factors", "matches")] == rows
    assert bench.run(in_process, samples=20).count("done") == 0


@pytest.mark.slow
def test_a_write_worked_out_before_a_compaction_still_fits(home):
    for number in range(MANY_FILES):
        home.append("bars", bar_rows(f"S{number}", 2))
    version = home.version("bars")
    compact(home)
    home.append("bars", bar_rows("NEW", 1), expected_version=version)
    assert home.read("bars").num_rows == 2 * MANY_FILES + 1
    with pytest.raises(TableChangedError):
        home.append("bars", bar_rows("LATE", 1), expected_version=version)


@pytest.mark.slow
def test_a_writer_at_the_same_time_loses_and_doubles_nothing(home):
    for number in range(MANY_FILES):
        home.upsert("matches", match_rows([number]), KEYS)

    def write(number):
        home.upsert("matches", match_rows([number % 24], run=f"r{number}"), KEYS)

    with ThreadPoolExecutor(3) as pool:
        writes = [pool.submit(write, number) for number in range(48)]
        while not all(one.done() for one in writes):
            home.compact("matches", upkeep.TARGET_BYTES)
        for one in writes:
            one.result()
    found = home.read("matches", ["rank", "run_id"]).to_pylist()
    assert sorted(row["rank"] for row in found) == list(range(24))
    assert all(int(row["run_id"][1:]) % 24 == row["rank"] for row in found)


WRITER = """
import sys
from kline_core.store.home import Home
from tests.support.tables import KEYS, match_rows
home = Home(sys.argv[1])
print("ready", flush=True)
for number in range(40):
    home.upsert("matches", match_rows([number % 10, 10 + number], run=f"r{number}"), KEYS)
"""


@pytest.mark.long
@pytest.mark.slow
def test_a_writer_in_another_process_loses_and_doubles_nothing(home):
    for number in range(10):
        home.upsert("matches", match_rows([number]), KEYS)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, home.uri], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "ready\n"
        compactions = 0
        while writer.poll() is None:
            version = home.version("matches")
            compactions += home.compact("matches", upkeep.TARGET_BYTES) > version
        assert writer.returncode == 0
    finally:
        writer.kill()
        writer.wait(30)
        writer.stdout.close()
    assert compactions
    found = {row["rank"]: row["run_id"] for row in home.read("matches", ["rank", "run_id"]).to_pylist()}
    assert home.read("matches").num_rows == len(found) == 50
    assert found == {rank: f"r{rank + 30 if rank < 10 else rank - 10}" for rank in range(50)}


@pytest.mark.slow
def test_old_files_go_and_versions_of_the_days_to_keep_stay(home):
    home.append("bars", bar_rows("A", 1))
    home.replace("bars", bar_rows("A", 2), ["A"])
    home.replace("bars", bar_rows("A", 3), ["A"])
    home.replace("bars", bar_rows("A", 4), ["A"])
    # Version 2 was the newest one until version 3 came, 100 days ago.
    aged(home, "bars", [500, 450, 400, 100, 10])
    report = vacuum(home, now=NOW)
    (bars,) = report.tables
    assert (bars.files_before, bars.files_after, bars.removed) == (4, 3, 1)
    assert bars.bytes_after < bars.bytes_before
    assert [home.read("bars", version=version).num_rows for version in (2, 3, 4)] == [2, 3, 4]
    with pytest.raises(HomeError, match=r"cannot read an old version of table bars .* read a newer one") as caught:
        home.read("bars", version=1)
    assert "\x1b" not in str(caught.value)
    assert report.headline == "removed 1 old files, 0.0 MB"
    assert "days for which older versions stay readable: bars 365" in report.text()
    assert vacuum(home, now=NOW).headline == "no old files to remove"
    # AddedPatterns ten days it has been version 4.
    assert vacuum(home, inputs_keep_days=7, now=NOW).tables[0].removed == 2
    assert home.read("bars").num_rows == 4


def test_where_checksums_cannot_be_removed_nothing_is(home, monkeypatch):
    home.append("bars", bar_rows("A", 1))
    home.replace("bars", bar_rows("A", 2), ["A"])
    aged(home, "bars", 500)

    def refuse(*_):
        raise PermissionError(13, "Permission denied", "_checksums")

    with monkeypatch.context() as patch:
        patch.setattr("kline_core.maintenance.upkeep.forget", refuse)
        with pytest.raises(HomeError, match="Permission denied: '_checksums'"):
            vacuum(home, now=NOW)
    assert home.read("bars", version=1).num_rows == 1
    assert vacuum(home, now=NOW).tables[0].removed == 1


@pytest.mark.slow
def test_values_and_inputs_are_kept_for_days_of_their_own(home):
    for table, key in (("bars", "A"), ("matches", "A")):
        for number in range(2):
            home.append(table, bar_rows(key, 1 + number) if table == "bars" else match_rows([number]))
            home.delete(table, [key])
        aged(home, table, 60)
    report = vacuum(home, now=NOW)
    assert {part.table: part.removed for part in report.tables} == {"bars": 0, "matches": 2}
    assert report.kept_days == {"bars": 365, "matches": 30}
    report = vacuum(home, values_keep_days=30, inputs_keep_days=30, now=NOW)
    assert {part.table: part.removed for part in report.tables} == {"bars": 2, "matches": 0}
    assert home.read("bars").num_rows == home.read("matches").num_rows == 0


def test_a_vacuum_makes_no_version_and_leaves_all_that_is_young(home):
    home.append("bars", bar_rows("A", 1))
    home.delete("bars", ["A"])
    version = home.version("bars")
    assert vacuum(home, 7, 7).tables[0].removed == 0
    assert home.version("bars") == version
    assert home.read("bars", version=1).num_rows == 1


def test_a_file_that_was_written_long_before_its_commit_stays_with_its_version(home):
    home.append("bars", bar_rows("A", 1))
    (name,) = data_files(home, "bars")
    home.replace("bars", bar_rows("A", 2), ["A"])
    aged(home, "bars", [500, 100, 10])
    stamp = (NOW - timedelta(days=400)).timestamp()
    os.utime(home.folder / "bars" / name, (stamp, stamp))
    assert vacuum(home, now=NOW).tables[0].removed == 0
    assert home.read("bars", version=1).num_rows == 1


def test_files_of_writers_at_work_stay_and_those_of_writers_long_dead_go(home):
    home.append("bars", bar_rows("A", 1))
    aged(home, "bars", 100)
    folder = home.folder / "bars"
    (name,) = data_files(home, "bars")
    for other, days in (("young.parquet", 3), ("dead.parquet", 400), ("notes.txt", 400)):
        (folder / other).write_bytes((folder / name).read_bytes())
        stamp = (NOW - timedelta(days=days)).timestamp()
        os.utime(folder / other, (stamp, stamp))
    assert vacuum(home, now=NOW).tables[0].removed == 1
    assert data_files(home, "bars") == {name, "young.parquet"}
    assert (folder / "notes.txt").exists()


@pytest.mark.long
def test_what_checkpoints_have_forgotten_is_removed_all_the_same(home):
    """Past a checkpoint, Delta's own vacuum would no longer know of files that were removed a week before it."""
    for number in range(3):
        home.replace("bars", bar_rows("A", 1 + number), ["A"])
    aged(home, "bars", 400)
    for number in range(110):
        home.append("bars", bar_rows(f"S{number}", 1))
    assert list((home.folder / "bars" / "_delta_log").glob("*.checkpoint.parquet"))
    assert vacuum(home, now=NOW).tables[0].removed == 2
    assert home.read("bars").num_rows == 113


@pytest.mark.slow
def test_a_compaction_keeps_the_small_files_for_as_long_as_their_versions(home):
    for number in range(MANY_FILES):
        home.append("bars", bar_rows(f"S{number}", 2))
    compact(home)
    aged(home, "bars", [400] * (MANY_FILES + 1) + [100])
    assert vacuum(home, now=NOW).tables[0].removed == 0
    assert home.read("bars", version=MANY_FILES).num_rows == 2 * MANY_FILES
    aged(home, "bars", 400)
    assert vacuum(home, now=NOW).tables[0].removed == MANY_FILES
    assert home.read("bars").num_rows == 2 * MANY_FILES


def bars_state(home, version):
    return TableState(version, home.identity("bars", version), files_hash(home.files("bars", version)))


def recorded_run(home, state, days):
    """A run of so many days ago, which read the bars in that state."""
    began = NOW - timedelta(days=days)
    tables = {"bars": state, "patterns": TableState(None, None, None)}
    record = record_of(new_run_id(began), began, tables=tables)
    write_record(home, record)
    return record


@pytest.mark.slow
@pytest.mark.parametrize(("days", "removed"), [(20, 1), (364, 1), (366, 2)])
def test_what_a_run_of_the_days_to_keep_recorded_stays_though_it_was_superseded_before(home, days, removed):
    """As where the clock of another machine is behind, or the run had named its versions long before it began."""
    for count in range(1, 5):
        home.replace("bars", bar_rows("A", count), ["A"])
    aged(home, "bars", [600, 580, 560, 540, 500])
    recorded_run(home, bars_state(home, 2), days)
    # Versions 1 and 3 are nobody's; version 2 is the run's.
    assert vacuum(home, now=NOW).tables[0].removed == removed + 1
    if removed == 1:
        assert home.read("bars", version=2).num_rows == 2
    for version in (1, 3):
        with pytest.raises(HomeError):
            home.read("bars", version=version)
    assert home.read("bars").num_rows == 4


@pytest.mark.slow
def test_what_a_run_recorded_of_a_table_that_was_replaced_keeps_nothing(home):
    for count in range(1, 4):
        home.replace("bars", bar_rows("A", count), ["A"])
    aged(home, "bars", [600, 580, 560, 540])
    recorded_run(home, replace(bars_state(home, 1), files="of another table"), 10)
    recorded_run(home, replace(bars_state(home, 1), version=99), 10)
    assert vacuum(home, now=NOW).tables[0].removed == 2


def test_records_go_with_the_versions_that_they_name(home):
    home.append("bars", bar_rows("A", 1))
    kept = [recorded_run(home, bars_state(home, 1), days) for days in (0, 364)]
    for days in (367, 800):
        recorded_run(home, bars_state(home, 1), days)
    report = vacuum(home, now=NOW)
    assert recorded_runs(home) == [record.run_id for record in kept]
    assert (report.records_removed, report.to_dict()["records_removed"]) == (2, 2)
    assert report.headline == "no old files to remove; removed 2 records of old runs"
    again = vacuum(home, now=NOW)
    assert (again.records_removed, again.headline) == (0, "no old files to remove")


@pytest.mark.slow
def test_a_record_that_cannot_be_read_stops_the_vacuum_before_anything_is_removed(home):
    for count in range(1, 4):
        home.replace("bars", bar_rows("A", count), ["A"])
    aged(home, "bars", [600, 580, 560, 540])
    record = recorded_run(home, bars_state(home, 1), 10)
    (home.folder / "runs" / f"{record.run_id}.json").write_text("{")
    before = data_files(home, "bars")
    with pytest.raises(HomeError, match=f"cannot read record runs/{record.run_id}.json"):
        vacuum(home, now=NOW)
    assert data_files(home, "bars") == before


@pytest.mark.long
@pytest.mark.slow
def test_logs_and_data_stay_bounded_where_maintenance_runs_weekly(home):
    """250 days, each with a commit; versions of the last 30 days are promised. `tests.endurance` has 500."""
    keep, version, counts = 30, 0, []
    for day in range(1, 251):
        version += 1
        committed(home, version, day)
        if day % 7 == 0:
            if compact(home).tables[0].removed:
                version += 1
                aged_commit(home, version, (NOW + timedelta(days=day)).timestamp())
            vacuum(home, 7, keep, now=NOW + timedelta(days=day))
            counts.append((len(list((home.folder / "bars" / "_delta_log").iterdir())), len(data_files(home, "bars"))))
    logs, data = zip(*counts, strict=True)
    assert version > 260
    # A commit a day and one for each compaction, and up to a hundred before them until a checkpoint is old enough.
    assert max(logs) <= (keep + 7) * 8 / 7 + 100 + 4
    assert max(data) <= (keep + 7) * 8 / 7 + MANY_FILES + 7
    assert home.read("bars").num_rows == 250
    assert home.read("bars", version=version - keep).num_rows >= 250 - keep


@pytest.mark.slow
def test_log_files_go_only_if_no_promised_version_needs_them(home):
    for version in range(1, 103):
        committed(home, version, -400 if version < 100 else -1)
    log = home.folder / "bars" / "_delta_log"
    # Version 99 was the newest one until a day ago.
    kept = [home.read("bars", version=version).sort_by("symbol") for version in (99, 102)]
    vacuum(home, now=NOW)
    assert min(int(file.name[:20]) for file in log.glob("*.json")) == 99
    assert [home.read("bars", version=version).sort_by("symbol") for version in (99, 102)] == kept
    home.upsert("bars", bar_rows("S1", 2), ["symbol", "date"])
    assert vacuum(home, 500, 500, now=NOW).tables[0].removed == 0
    assert [commit["version"] for commit in home.history("bars")] == [103, 102, 101, 100, 99]
    with pytest.raises(HomeError, match=r"cannot read an old version of table bars .* kept for a time"):
        home.read("bars", version=98)


@pytest.mark.slow
def test_log_files_stay_where_no_whole_checkpoint_stands_in_for_them(home):
    for version in range(1, 102):
        committed(home, version, -400)
    checkpoint = home.folder / "bars" / "_delta_log" / f"{99:020}.checkpoint.parquet"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:100])
    storage = home.storage("bars")
    assert forget_before(storage, 101) == 0
    checkpoint.write_bytes(content)
    assert forget_before(storage, 98) == 0
    assert forget_before(storage, 101) == 99
    assert home.read("bars", version=100).num_rows == 100


@pytest.mark.parametrize("days", [0, 6, -1])
def test_too_few_days_are_refused(home, days):
    for name in ("values_keep_days", "inputs_keep_days"):
        with pytest.raises(SettingError, match=f"{name} is {days}; it must be at least 7"):
            vacuum(home, **{name: days})


def test_two_vacuums_at_once_do_not_hurt_each_other(home, monkeypatch):
    home.append("bars", bar_rows("A", 1))
    home.delete("bars", ["A"])
    aged(home, "bars", 400)
    files = Home.files

    def overtaken(self, *words):
        monkeypatch.setattr(Home, "files", files)
        assert vacuum(home, now=NOW).tables[0].removed == 1
        return files(self, *words)

    monkeypatch.setattr(Home, "files", overtaken)
    assert vacuum(home, now=NOW).headline.startswith("removed 1 old files")
    assert data_files(home, "bars") == set()


def test_a_table_that_cannot_be_kept_up_is_named(home):
    home.append("bars", bar_rows("A", 1))
    (home.folder / "bars" / "_delta_log" / f"{1:020}.json").write_text("garbage")
    for work in (compact, vacuum):
        with pytest.raises(HomeError, match="table bars"):
            work(home)
