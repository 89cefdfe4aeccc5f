"""`kline runs`, `replay` and `doctor` as a person and a program meet them."""

import json
import shutil
from dataclasses import replace

import pytest

from kline_core.api import doctor
from kline_core.cli.parser import main
from kline_core.encoder.synthetic import random_walk
from kline_core.maintenance import machine_checks
from kline_core.store.home import Home
from kline_core.store.run_records import read_record, write_record


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with two runs."""
    folder = tmp_path_factory.mktemp("runs")
    random_walk(2, 120, seed=5).to_frame().to_csv(folder / "bars.csv", index=False)
    place = ["--home", str(folder / "home")]
    assert main([*place, "ingest", str(folder / "bars.csv")]) == 0
    assert main([*place, "index"]) == 0
    assert main([*place, "run", "--samples", "20", "--max-failed-share", "1"]) == 0
    assert main([*place, "run", "SYN00001", "--samples", "20", "--max-failed-share", "0"]) == 1
    return folder / "home"


@pytest.fixture
def place(made, tmp_path):
    return ["--home", str(shutil.copytree(made, tmp_path / "home"))]


def ask(capsys, *words):
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err.strip().splitlines()[-1] if err.strip() else ""


def listed(capsys, place):
    return json.loads(ask(capsys, *place, "runs", "--json")[1])["runs"]


@pytest.mark.slow
def test_runs_lists_them_newest_first(capsys, place):
    code, out, _ = ask(capsys, *place, "runs")
    failed, done = listed(capsys, place)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == [
        *("run", "state", "began", "(UTC)", "seconds", "symbols", "samples", "done", "failed", "re-used"),
        *("settings", "bars", "patterns"),
    ]
    assert lines[2].startswith(f"{failed['run_id']}  failed  ")
    assert lines[3].startswith(f"{done['run_id']}  done ")
    assert lines[4] == f"{failed['run_id']}: {failed['problem']}"
    assert done["counts"]["samples"] == 40
    assert done["settings"]["factor"]["top_k"] == 5
    assert "1 older runs; --last N shows more" in ask(capsys, *place, "runs", "--last", "1")[1]


def test_runs_name_the_table_of_patterns_of_other_settings(capsys, place):
    failed, done = listed(capsys, place)
    home = Home(place[1])
    record = read_record(home, done["run_id"])
    other = f"patterns-{'0' * 16}"
    tables = record.tables | {"patterns": replace(record.tables["patterns"], version=3, table=other)}
    write_record(home, replace(record, tables=tables))
    lines = ask(capsys, *place, "runs")[1].splitlines()
    assert lines[3].endswith(f"3 of {other}")
    assert lines[2].split()[-2:] == [str(failed["tables"][kind]["version"]) for kind in ("bars", "patterns")]
    assert listed(capsys, place)[1]["tables"]["patterns"]["table"] == other


def test_a_home_without_runs_says_so(capsys, place, tmp_path):
    shutil.rmtree(tmp_path / "home" / "runs")
    code, out, _ = ask(capsys, *place, "runs")
    assert (code, out) == (0, f"no runs are recorded in {tmp_path / 'home'}; `kline run` makes one\n")


def test_a_record_that_cannot_be_read_fails_the_list_and_hides_no_other(capsys, place, tmp_path):
    failed, done = listed(capsys, place)
    (tmp_path / "home" / "runs" / f"{failed['run_id']}.json").write_text("{")
    code, out, line = ask(capsys, *place, "runs")
    assert code == 1
    assert done["run_id"] in out
    assert line.startswith("kline: 1 records cannot be read, such as: cannot read record runs/")
    code, out, line = ask(capsys, *place, "replay", failed["run_id"])
    assert (code, out) == (1, "")
    assert "restore it from a copy, or delete it" in line


@pytest.mark.slow
def test_replay_computes_every_value_and_match_again(capsys, place):
    for run in listed(capsys, place):
        code, out, _ = ask(capsys, *place, "replay", run["run_id"])
        assert code == 0
        assert "every value and match is the same, bit for bit" in out
        document = json.loads(ask(capsys, *place, "replay", run["run_id"], "--json")[1])
        assert document["same"]
        assert sum(document[part]["values"]["equal"] for part in ("computed", "reused")) == run["counts"]["samples"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["runs", "--last", "0"], "--last is 0; it must be at least 1"),
        (["replay", "nothing"], "has no record of a run 'nothing'; `kline runs` lists those that it has"),
        (["replay", "../../etc/passwd"], "has no record of a run"),
    ],
)
def test_refusals(capsys, place, words, named):
    code, out, line = ask(capsys, *place, *words)
    assert (code, out) == (1, "")
    assert named in line


@pytest.mark.parametrize("words", [["replay"], ["runs", "--last", "many"], ["doctor", "now"]])
def test_wrong_usage(words):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2


@pytest.mark.slow
def test_doctor_fails_where_there_is_a_problem(capsys, place, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "check_calendars", list)
    for name in ("FEW_MEMORY", "LITTLE_MEMORY", "FEW_DISK", "LITTLE_DISK"):
        monkeypatch.setattr(machine_checks, name, 0)
    for name in ("KLINE_HOME", "KLINE_SCHEDULER", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    code, out, _ = ask(capsys, "doctor")
    assert code == 0
    assert "note     home: none is named" in out
    code, out, _ = ask(capsys, *place, "--json", "doctor")
    subjects = {check["subject"] for check in json.loads(out)["checks"]}
    assert (code, json.loads(out)["ok"]) == (0, True)
    assert {"cores", "memory", "disk", "processor", "packages", "clock", "bars", "runs", "pending", "Dask"} <= subjects
    monkeypatch.setenv("KLINE_HOME", str(tmp_path / "none"))
    code, out, line = ask(capsys, "doctor")
    assert code == 1
    assert "problem  home: " in out
    assert line.startswith(f"kline: home: there is no home at {tmp_path / 'none'}; make one with `kline ingest`")


@pytest.mark.slow
def test_match_shows_what_a_run_stored_and_on_which_candles_the_likeness_rests(capsys, place, tmp_path):
    run = listed(capsys, place)[-1]["run_id"]
    asked = [*place, "match", "SYN00001"]
    document = json.loads(ask(capsys, *asked, "--run", run, "--json")[1])
    live = json.loads(ask(capsys, *asked, "--json", "--attention", str(tmp_path / "map.png"))[1])
    assert document["run"] == run
    assert live["run"] is None
    for name in ("date", "value", "matches", "searchable"):
        assert document[name] == live[name]
    assert live["searchable"]["patterns"] > 0
    assert len(live["attention"]["drops"]["1"]) == len(live["matches"])
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = ask(capsys, *asked, "--run", run, "--png", str(tmp_path / "run.png"))
    assert code == 0
    assert f"run {run}: value and matches as it stored them; bars of version" in out
    assert (tmp_path / "run.png").exists()
    for more in (["--top-k", "3"], ["--attention", str(tmp_path / "no.png")]):
        code, _, error = ask(capsys, *asked, "--run", run, *more)
        assert (code, run in error) == (1, True)
    assert "leave one away" in ask(capsys, *asked, "--run", run, "--context")[2]
    assert not (tmp_path / "no.png").exists()
