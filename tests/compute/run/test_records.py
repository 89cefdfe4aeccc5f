"""The record that a run leaves, however it ends."""

import json
import os
import socket
from dataclasses import asdict, replace

import numpy as np
import psutil
import pytest

from kline_core.compute import recording
from kline_core.compute.recording import recorded_dates, state_of
from kline_core.compute.run import run_symbols
from kline_core.errors import DateError, HomeError, RunFailedError, UnknownSymbolError
from kline_core.factor.recorded import settings_of
from kline_core.settings import METHOD
from kline_core.store.home import Home
from kline_core.store.run_records import RecordedProcess, read_record, recorded_runs, write_record
from tests.support.bench import break_batches
from tests.support.records import record_of
from tests.support.runs import DAYS, SYMBOLS


def record(bench, run_id=None):
    if run_id is None:
        (run_id,) = recorded_runs(bench.home)
    return read_record(bench.home, run_id)


@pytest.mark.slow
def test_a_run_leaves_what_it_was_asked_read_counted_and_stored(bench, in_process):
    report = bench.run(in_process, symbols=["S00001", "S00000"], samples=30, max_failed_share=1)
    found, key = record(bench, report.run_id), bench.key
    assert found.state == state_of(found) == "done"
    assert found.problem is None
    assert found.began.strftime("%Y%m%dT%H%M%S") == report.run_id[:15]
    assert settings_of(found) == bench.settings
    assert (found.fingerprint, found.method) == (key.fingerprint, METHOD)
    assert asdict(found.encoder) == asdict(key.encoder)
    assert (found.tables["bars"].version, found.tables["bars"].identity) == (key.bars.version, key.bars.identity)
    assert found.tables["bars"].files == key.bars.files
    assert (found.tables["patterns"].version, found.tables["patterns"].identity) == (
        *(key.patterns_version, key.patterns_identity),
    )
    assert found.request.symbols == ["S00000", "S00001"]
    assert (found.request.samples, found.request.as_of, found.request.dates) == (30, None, None)
    counts = {name: report.count(name) for name in ("samples", "done", "failed", "reused", "refreshed")}
    assert found.counts == counts | {"rows": 60}
    assert found.reasons == dict(report.reasons)
    assert found.seconds.keys() == report.seconds.keys()
    assert found.stored == bench.versions()
    assert found.patterns == report.n_patterns
    assert found.process == RecordedProcess(socket.gethostname(), os.getpid(), psutil.Process().create_time())


@pytest.mark.slow
def test_a_run_that_stores_nothing_leaves_a_record_and_no_version(bench, in_process):
    bench.run(in_process, samples=10)
    before = bench.versions()
    report = bench.run(in_process, samples=10)
    assert bench.versions() == before
    assert record(bench, report.run_id).counts["rows"] == 0


@pytest.mark.slow
def test_a_run_that_fails_says_why(bench, in_process):
    with pytest.raises(RunFailedError) as caught:
        bench.run(in_process, samples=30, max_failed_share=0, check=True)
    found = record(bench)
    assert (found.state, found.problem) == ("failed", str(caught.value))


@pytest.mark.slow
def test_a_run_at_work_is_recorded_as_such_and_one_that_lost_its_process_as_cut_off(bench, in_process):
    run = bench.start(in_process)
    found = record(bench)
    assert found.state == state_of(found) == "running"
    assert (found.ended, found.counts, found.stored) == (None, {}, {})
    for gone in (replace(found.process, pid=2**22 + 1), replace(found.process, began=found.process.began - 60)):
        assert state_of(replace(found, process=gone)) == "cut off"
    assert state_of(replace(found, process=replace(found.process, host="elsewhere"))) == "running or cut off"
    run.finish()
    found = record(bench)
    assert (found.state, found.problem) == ("cut off", "4 symbols were not reached; run again for the rest")


@pytest.mark.slow
def test_an_interrupted_run_is_cut_off_with_what_it_had(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)
    score = run.score

    def interrupted(symbols, chunks):
        if "S00001" in symbols:
            raise KeyboardInterrupt
        return score(symbols, chunks)

    monkeypatch.setattr(run, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_symbols(run)
    found = record(bench)
    assert found.state == "cut off"
    assert found.counts["rows"] == bench.home.read("factors").num_rows


@pytest.mark.slow
def test_values_that_cannot_be_stored_cut_the_run_off(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)

    def upsert(*_, **__):
        raise HomeError("no room")

    monkeypatch.setattr(Home, "upsert", upsert)
    with pytest.raises(HomeError, match="no room"):
        run_symbols(run)
    assert (record(bench).state, record(bench).problem) == ("cut off", "no room")


def test_a_broken_symbol_is_in_the_record(bench, in_process, monkeypatch):
    break_batches(monkeypatch, DAYS, DateError("not that day"))
    bench.run(in_process, symbols=["S00000"], samples=10)
    assert record(bench).state == "failed"
    assert "S00000 (not that day)" in record(bench).problem


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "error"),
    [({"symbols": ["NOPE"]}, UnknownSymbolError), ({"as_of": "1999-01-04"}, DateError)],
)
def test_what_is_refused_is_no_run(bench, in_process, asked, error):
    with pytest.raises(error):
        bench.run(in_process, **asked)
    assert recorded_runs(bench.home) == []


@pytest.mark.slow
def test_a_home_that_cannot_hold_the_record_is_named_before_any_work(bench, in_process):
    (bench.home.folder / "runs").write_text("a file")
    with pytest.raises(HomeError, match="cannot write record runs/"):
        bench.run(in_process, samples=10)
    assert bench.home.version("factors") is None


def test_dates_are_named_where_they_are_few_and_hashed_where_they_are_many(monkeypatch):
    dates = {"B": DAYS[[3, 1, 1]], "A": DAYS[[2]]}
    few = recorded_dates(dates)
    assert few.named == {"A": [str(DAYS[2])], "B": [str(DAYS[1]), str(DAYS[3])]}
    assert few.count == 3
    monkeypatch.setattr(recording, "FEW_DATES", 2)
    many = recorded_dates(dict(reversed(dates.items())))
    assert (many.count, many.hash, many.named) == (3, few.hash, None)
    assert recorded_dates({"B": DAYS[[1]], "A": DAYS[[2, 3]]}).hash != few.hash


@pytest.mark.slow
def test_reasons_beyond_the_most_frequent_are_counted(bench, in_process, monkeypatch):
    monkeypatch.setattr(recording, "NAMED_REASONS", 1)
    before = DAYS[0] - np.arange(1, 4)
    report = bench.run(in_process, dates=dict.fromkeys(SYMBOLS, before) | {SYMBOLS[0]: DAYS[:1]})
    found = record(bench)
    assert len(found.reasons) == 1
    assert sum(found.reasons.values()) + found.other_reasons == report.count("failed") == 10


@pytest.mark.slow
def test_a_record_is_plain_json(bench, in_process):
    bench.run(in_process, dates={"S00000": DAYS[[30, 40]]}, settings=bench.settings)
    file = bench.home.folder / "runs" / f"{record(bench).run_id}.json"
    assert json.loads(file.read_text()) == json.loads(json.dumps(record(bench).to_dict()))
    assert str(bench.home.folder) not in file.read_text().replace(str(bench.weights), "")
    assert settings_of(record_of(settings=record(bench).settings)) == bench.settings


@pytest.mark.slow
def test_a_record_that_cannot_be_completed_costs_no_report(bench, in_process, monkeypatch, caplog):
    written = []

    def write(home, record):
        written.append(record)
        if record.state != "running":
            raise HomeError("no room", home=home.uri)
        write_record(home, record)

    monkeypatch.setattr(recording, "write_record", write)
    report = bench.run(in_process, symbols=["S00000"], samples=10, max_failed_share=1)
    assert report.count("samples") == 10
    assert [one.state for one in written] == ["running", "done"]
    assert record(bench).state == "running"
    assert f"the record of run {report.run_id} could not be completed: no room" in caplog.text
