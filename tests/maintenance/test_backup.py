"""A backup is a home: sound, with the same values bit for bit, whatever others wrote while it was made."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from kline_core.api.backup import back_up
from kline_core.api.runs import replay_run
from kline_core.errors import HomeError
from kline_core.maintenance import backup
from kline_core.maintenance.backup import PLACE_NOTE
from kline_core.store.copying import copy_table
from kline_core.store.home import Home
from kline_core.store.run_records import DONE, read_record, recorded_runs, write_record
from tests.support.bench import Bench
from tests.support.damage import checked, flip
from tests.support.homes import add_bars, market
from tests.support.object_store import object_store

TABLES = ("factors", "matches")


def backed_up(bench, place, **options):
    back_up(bench.home, place, **options)
    return Bench(Home(place), bench.settings, bench.weights)


def all_rows(bench):
    return [bench.rows(table, without=()) for table in TABLES]


def untouched(folder):
    return not list(folder.parent.glob(f".{folder.name}.*"))


@pytest.mark.long
@pytest.mark.slow
def test_a_backup_is_a_home_with_the_same_values_and_runs(bench, in_process, tmp_path):
    bench.add(market(4, 40, seed=9, prefix="T"))
    bench.run(in_process, samples=20)
    copy = backed_up(bench, tmp_path / "backup")
    assert checked(copy).state == checked(bench).state == "sound"
    assert all_rows(copy) == all_rows(bench)
    assert recorded_runs(copy.home) == recorded_runs(bench.home)
    # Past runs are replayed of it, the first one from patterns and bars that have gone on since.
    for run_id in recorded_runs(copy.home):
        report = replay_run(copy.home, run_id, encoder=copy.weights, threads=1)
        assert report.same, report.text()
        assert report.own.values.equal > 0
    # And both go on alike.
    for each in (bench, copy):
        each.add(market(2, 30, seed=5, prefix="U"))
        assert each.run(in_process, samples=25).count("done")
    assert [copy.rows(table) for table in TABLES] == [bench.rows(table) for table in TABLES]
    assert checked(copy).state == "sound"


@pytest.mark.slow
def test_what_others_store_meanwhile_is_left_out_or_pending(bench, in_process, tmp_path, monkeypatch):
    before = all_rows(bench)
    runs = recorded_runs(bench.home)
    order = backup.derived_first

    def overtaken(names):
        # After the versions of values have been looked at, and before those of patterns; and before that of bars.
        bench.add(market(2, 40, seed=9, prefix="T"))
        bench.run(in_process, samples=10)
        for name in order(names):
            if name == "bars":
                add_bars(bench.home, market(2, 40, seed=10, prefix="U"))
            yield name

    monkeypatch.setattr(backup, "derived_first", overtaken)
    copy = backed_up(bench, tmp_path / "backup")
    assert all_rows(copy) == before
    assert recorded_runs(copy.home) == runs != recorded_runs(bench.home)
    report = checked(copy)
    assert report.state == "pending"
    assert {finding.table for finding in report.findings} == {"patterns"}


def test_the_record_of_a_run_that_ended_after_the_moment_is_left_out(bench, tmp_path):
    (run_id,) = recorded_runs(bench.home)
    record = read_record(bench.home, run_id)
    later = replace(record, run_id="20990101T000000-0000aa", state=DONE, stored={"factors": 99, "matches": 99})
    write_record(bench.home, later)
    made = back_up(bench.home, tmp_path / "backup")
    assert (made.records, made.records_left) == (1, 1)
    assert recorded_runs(Home(tmp_path / "backup")) == [run_id]
    assert "with 1 record of runs, without 1 that ended meanwhile, and no database of a Prefect server" in made.text()
    text = (bench.home.folder / "runs" / f"{run_id}.json").read_bytes()
    assert (tmp_path / "backup" / "runs" / f"{run_id}.json").read_bytes() == text


def test_a_record_that_cannot_be_read_is_named(bench, tmp_path):
    (run_id,) = recorded_runs(bench.home)
    (bench.home.folder / "runs" / f"{run_id}.json").write_text("{")
    with pytest.raises(
        HomeError, match=rf"cannot read record runs/{run_id}.json .*; restore it from a copy, or delete"
    ):
        back_up(bench.home, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("table", ["bars", "patterns"])
def test_damage_is_refused_by_the_name_of_the_file_and_leaves_no_backup(bench, tmp_path, table):
    (name,) = bench.home.files(table)
    flip(bench.home.folder / table / name)
    with pytest.raises(HomeError, match=f"its file {name} is not what was written"):
        back_up(bench.home, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert untouched(tmp_path / "backup")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("home/backup", "lies in the home .* itself; name a folder elsewhere"),
        ("home", "lies in the home"),
        ("other/bars/backup", "lies in the table .*/other/bars; name a folder elsewhere"),
        ("nowhere/backup", "cannot be made; its folder does not exist"),
        ("file", "is a file; name a folder"),
        ("full", "holds something, and no backup is overwritten; name a new folder"),
    ],
)
def test_a_place_that_cannot_be_taken_is_refused(bench, tmp_path, place, says):
    Home(tmp_path / "other", create=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    with pytest.raises(HomeError, match=f"^backup {tmp_path / place} {says}"):
        back_up(bench.home, tmp_path / place)
    assert untouched(tmp_path / place)


def test_a_url_is_no_place(bench):
    with pytest.raises(HomeError, match=r"backup s3:/bucket/x is a URL; name a folder, which the store's own tools"):
        back_up(bench.home, "s3://bucket/x")


def test_a_name_that_delta_does_not_take_is_refused_and_nothing_is_left(bench, tmp_path):
    with pytest.raises(HomeError, match=r"cannot be written \(.*illegal character.*; nothing of it is left"):
        back_up(bench.home, tmp_path / "a\nb")
    assert untouched(tmp_path / "a\nb")


def test_an_empty_folder_is_taken(bench, tmp_path):
    (tmp_path / "empty").mkdir()
    assert back_up(bench.home, tmp_path / "empty").tables
    assert Home(tmp_path / "empty").version("bars") == bench.home.version("bars")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_backup_that_is_cut_off_or_finds_no_room_leaves_nothing(bench, tmp_path, monkeypatch, error):
    def broken(home, name, version, place):
        if name == "patterns":
            raise error
        return copy_table(home, name, version, place)

    monkeypatch.setattr(backup, "copy_table", broken)
    with pytest.raises((KeyboardInterrupt, HomeError)) as caught:
        back_up(bench.home, tmp_path / "backup")
    if isinstance(caught.value, HomeError):
        assert str(caught.value) == (
            f"backup {tmp_path / 'backup'} cannot be written (No space left on device); nothing of it is left, make "
            "room or name another folder"
        )
    assert not (tmp_path / "backup").exists()
    assert untouched(tmp_path / "backup")


def test_a_home_that_vanishes_meanwhile_is_named(bench, tmp_path, monkeypatch):
    def gone(home, name, version, place):
        shutil.rmtree(home.folder)
        return copy_table(home, name, version, place)

    monkeypatch.setattr(backup, "copy_table", gone)
    with pytest.raises(HomeError, match="cannot read table factors of home"):
        back_up(bench.home, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.fixture
def database(bench):
    """A database as the Prefect server keeps it, in which rows stand that no checkpoint has reached."""
    folder = bench.home.folder / "prefect"
    folder.mkdir()
    (folder / "source.json").write_text('{"source": "none"}')
    (folder / "logs").mkdir()
    with closing(sqlite3.connect(folder / "prefect.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE flow_run (name TEXT)")
        connection.execute("INSERT INTO flow_run VALUES ('XSHG 2026-11-24')")
        connection.commit()
        # Under way while the backup is made.
        connection.execute("INSERT INTO flow_run VALUES ('half')")
        yield folder


def test_the_database_of_the_server_comes_along_while_it_is_written(bench, database, tmp_path):
    assert (database / "prefect.db-wal").stat().st_size
    assert back_up(bench.home, tmp_path / "backup").database
    folder = tmp_path / "backup" / "prefect"
    with closing(sqlite3.connect(folder / "prefect.db")) as connection:
        assert connection.execute("SELECT name FROM flow_run").fetchall() == [("XSHG 2026-11-24",)]
    assert (folder / "source.json").read_text() == '{"source": "none"}'
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} == {"prefect.db", "source.json", PLACE_NOTE}
    # For the first `kline up` of the backup.
    assert json.loads((folder / PLACE_NOTE).read_text()) == {"home": str(bench.home.folder.resolve()), "backup": True}


def test_the_database_of_the_server_is_left_out_if_asked(bench, database, tmp_path):
    assert database.is_dir()
    assert not back_up(bench.home, tmp_path / "backup", prefect=False).database
    assert not (tmp_path / "backup" / "prefect").exists()


def test_a_damaged_database_is_named_with_how_to_leave_it_out(bench, tmp_path):
    (bench.home.folder / "prefect").mkdir()
    (bench.home.folder / "prefect" / "prefect.db").write_bytes(b"no database" * 1000)
    with pytest.raises(HomeError, match=r"prefect\.db cannot be copied \(file is not a database\); .* --no-prefect"):
        back_up(bench.home, tmp_path / "backup")
    assert untouched(tmp_path / "backup")


@pytest.mark.slow
def test_a_home_in_an_object_store_is_backed_up_into_a_folder(tmp_path, monkeypatch):
    with object_store(monkeypatch):
        home = Home("s3://bucket/home", create=True)
        add_bars(home, market(1, 10))
        made = back_up(home, tmp_path / "backup")
        assert [table.table for table in made.tables] == ["bars"]
        assert Home(tmp_path / "backup").read("bars").equals(home.read("bars"))


WRITER = """
import sys
from kline_core.store.home import Home
from kline_core.cli.parser import main
from tests.support.homes import add_bars, market
home = sys.argv[1]
for number in range(1_000_000):
    add_bars(Home(home), market(2, 60, seed=number, prefix=f"W{number}N"))
    assert main(["--home", home, "index", "--threads", "1"]) == 0
    assert main(["--home", home, "run", "--samples", "5", "--threads", "1", "--max-failed-share", "1"]) == 0
    print("day", flush=True)
"""


@pytest.mark.long
def test_every_backup_of_a_home_at_work_is_sound(tmp_path):
    """Ingests, indexes and runs follow each other without a pause; none of the backups catches them half way."""
    home, states = Home(tmp_path / "home", create=True), []
    add_bars(home, market(3, 80))
    command = [sys.executable, "-c", WRITER, home.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            for number in range(8):
                assert any(line == "day\n" for line in writer.stdout), writer.stderr
                for part in range(3):
                    back_up(home, tmp_path / f"{number}-{part}")
        finally:
            writer.kill()
    for place in sorted(tmp_path.glob("[0-9]*")):
        report = checked(Bench(Home(place), weights=None))
        states.append(report.state)
        assert report.ok, report.text()
    assert "sound" in states
