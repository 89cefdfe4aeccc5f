"""Checks of a home: every stage of its life, and what is wrong with it."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from kline_core.maintenance import home_checks
from kline_core.maintenance.home_checks import check_home
from kline_core.store.checksums import CHECKED
from kline_core.store.home import Home
from kline_core.store.remedies import DAMAGED_FILE, UNREADABLE
from kline_core.store.run_records import new_run_id, read_record, recorded_runs, write_record
from tests.support.damage import BARS, flip
from tests.support.homes import SMALL, add_bars, market


def by_subject(home):
    return {check.subject: check for check in check_home(home)}


def states(home):
    return {subject: check.state for subject, check in by_subject(home).items()}


def test_an_empty_home_says_what_to_do(tmp_path):
    found = by_subject(Home(tmp_path / "home", create=True))
    assert {name: found[name].state for name in ("bars", "patterns", "factors", "matches", "runs")} == dict.fromkeys(
        ("bars", "patterns", "factors", "matches", "runs"), "note"
    )
    assert "`kline ingest`" in found["bars"].text
    assert "`kline index`" in found["patterns"].text


@pytest.mark.slow
def test_a_home_that_is_up_to_date(bench):
    before = {table: bench.home.version(table) for table in ("bars", "patterns", "factors", "matches")}
    found = by_subject(bench.home)
    assert {
        found[name].state for name in ("bars", "patterns", "factors", "matches", "pending", "upkeep", "contents")
    } == {"ok"}
    assert "1 files" in found["bars"].text
    assert recorded_runs(bench.home)[0] in found["runs"].text
    assert {table: bench.home.version(table) for table in before} == before


@pytest.mark.slow
def test_bars_and_patterns_that_came_since_the_last_run(bench):
    later = market(3, BARS + 2)
    add_bars(bench.home, later[later.groupby("symbol").cumcount() == BARS])
    assert by_subject(bench.home)["pending"].text.endswith(f"run `kline index {SMALL.options}`, then `kline run`")
    bench.extend()
    assert by_subject(bench.home)["pending"].text.endswith("have changed since the last run; run `kline run`")
    assert states(bench.home)["pending"] == "note"


@pytest.mark.slow
def test_compactions_are_upkeep_and_no_work(bench):
    add_bars(bench.home, market(1, 3, prefix="T"))
    record = read_record(bench.home, recorded_runs(bench.home)[0])
    tables = {name: replace(state, version=bench.home.version(name)) for name, state in record.tables.items()}
    write_record(bench.home, replace(record, tables=tables))
    assert bench.home.compact("bars", 2**26) > tables["bars"].version
    found = by_subject(bench.home)
    assert found["pending"].state == "ok"
    assert found["upkeep"].text.startswith("files were last joined on 20")


def test_damage_is_a_problem_and_the_rest_is_still_looked_at(bench):
    next((bench.home.folder / "patterns").glob("*.parquet")).unlink()
    (bench.home.folder / "runs" / f"{recorded_runs(bench.home)[0]}.json").write_text("{")
    found = list(check_home(bench.home))
    problems = {check.subject: check.text for check in found if check.state == "problem"}
    assert problems.keys() == {"patterns", "runs"}
    assert "is gone; " in problems["patterns"]
    assert "matches" in {check.subject for check in found}


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def grow(path):
    path.write_bytes(path.read_bytes() + b" ")


def remove(path):
    path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("table", ["bars", "patterns", "factors", "matches"])
@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (truncate, "is not what was written: it has [0-9]+ bytes, and had [0-9]+; "),
        (grow, "is not what was written: it has [0-9]+ bytes, and had [0-9]+; "),
        (remove, "is gone; "),
        (flip, "is not what was written: its SHA-256 differs from its checksum; "),
    ],
)
def test_a_data_file_that_is_not_what_was_written_is_a_problem(bench, table, harm, says):
    file = next((bench.home.folder / table).glob("*.parquet"))
    harm(file)
    found = list(check_home(bench.home))
    problems = [check for check in found if check.state == "problem"]
    if harm is flip and table not in CHECKED:
        assert problems == []
        (contents,) = (check.text for check in found if check.subject == "contents")
        assert contents == "bars and patterns as written; not looked at: factors, matches; `kline verify` does"
        return
    (problem,) = problems
    assert problem.subject == table
    assert re.search(f"its file {re.escape(file.name)} {says}", problem.text)
    remedy = UNREADABLE if harm is remove else DAMAGED_FILE
    assert problem.text.endswith(remedy[table])


@pytest.mark.slow
def test_what_was_not_looked_at_is_said(bench, monkeypatch):
    add_bars(bench.home, market(1, 3, prefix="T"))
    newest = max(
        (bench.home.folder / "bars" / "_checksums").glob("*.parquet.*"), key=lambda path: path.stat().st_mtime_ns
    )
    newest.unlink()
    found = by_subject(bench.home)["contents"]
    assert (found.state, found.text) == (
        "note",
        "patterns as written; not looked at: 1 of 2 files of bars, factors, matches; `kline verify` does",
    )
    monkeypatch.setattr(home_checks, "CONTENT_SECONDS", -1.0)
    found = by_subject(bench.home)["contents"]
    assert (found.state, found.text) == (
        "note",
        "not looked at: bars, patterns, factors, matches; `kline verify` does",
    )


@pytest.mark.slow
def test_runs_that_failed_or_did_not_end_are_worth_a_note(bench):
    record = read_record(bench.home, recorded_runs(bench.home)[0])
    began = record.began + timedelta(hours=1)
    later = replace(record, run_id=new_run_id(began), started=began.isoformat(), state="running")
    write_record(bench.home, later)
    notes = [check.text for check in check_home(bench.home) if (check.subject, check.state) == ("runs", "note")]
    assert notes[-1].startswith("1 runs began after it and did not end")
    write_record(bench.home, replace(later, state="failed", problem="too many"))
    assert by_subject(bench.home)["runs"].text.endswith(f"{later.run_id}, which failed: too many")


def test_a_commit_in_the_future_is_a_clock_that_is_wrong(bench, monkeypatch):
    monkeypatch.setattr(home_checks, "_SLACK", -timedelta(days=3650))
    assert "set the clock" in by_subject(bench.home)["bars"].text


def test_many_small_files_are_worth_joining(bench, monkeypatch):
    monkeypatch.setattr(home_checks, "MANY_FILES", 0)
    found = by_subject(bench.home)["bars"]
    assert (found.state, found.text.endswith("of them small; the flow `maintain` joins them")) == ("note", True)


@pytest.mark.slow
def test_logs_of_kline_up(bench, monkeypatch):
    logs = bench.home.folder / "prefect" / "logs"
    assert "logs" not in states(bench.home)
    logs.mkdir(parents=True)
    (logs / "server.log").write_text("x" * 100)
    assert by_subject(bench.home)["logs"].text.startswith("1 files, 0.0 MB in ")
    monkeypatch.setattr(home_checks, "MUCH_LOG", 50)
    assert states(bench.home)["logs"] == "note"
