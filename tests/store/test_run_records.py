"""Records of runs: written in one piece, listed newest first, and damage is named."""

import json
from datetime import timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.errors import HomeError
from kline_core.store import run_records
from kline_core.store.home import Home
from kline_core.store.run_records import (
    RunRecord,
    forget_records,
    new_run_id,
    read_record,
    read_records,
    recorded_runs,
    records_since,
    write_record,
)
from tests.support.examples import examples
from tests.support.records import BEGAN, record_of


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home", create=True)


def file_of(home, run_id):
    return home.folder / "runs" / f"{run_id}.json"


def test_a_record_is_read_as_it_was_written_and_replaced_in_one_piece(home):
    first = record_of(reasons={"für 沪深": 3}, problem="x" * 3_000_000)
    write_record(home, first)
    assert read_record(home, first.run_id) == first
    second = record_of(state="running")
    write_record(home, second)
    assert read_record(home, first.run_id) == second
    assert list((home.folder / "runs").iterdir()) == [file_of(home, first.run_id)]


def test_a_home_opens_as_before_and_has_no_runs_at_first(home):
    assert recorded_runs(home) == []
    write_record(home, record_of())
    assert Home(home.uri).version("bars") == 0


def test_runs_are_listed_newest_first_and_nothing_else_is(home):
    ids = [new_run_id(BEGAN + timedelta(days=day)) for day in (1, 0, 2)]
    for run_id in ids:
        write_record(home, record_of(run_id))
    # What a writer that was killed leaves, and what a person puts there.
    for name in (f"{ids[0]}.json#1", "notes.json", "notes.txt"):
        (home.folder / "runs" / name).write_text("{}")
    assert recorded_runs(home) == [ids[2], ids[0], ids[1]]
    assert [record.run_id for record in read_records(home, recorded_runs(home))] == [ids[2], ids[0], ids[1]]


def test_records_of_the_days_asked_about(home):
    days = [0, 10, 20]
    for day in days:
        began = BEGAN + timedelta(days=day)
        write_record(home, record_of(new_run_id(began), began))
    assert [record.began for record in records_since(home, BEGAN + timedelta(days=10))] == [
        BEGAN + timedelta(days=20),
        BEGAN + timedelta(days=10),
    ]


@pytest.mark.parametrize("run_id", ["", "../bars", "nothing", "20260302T093000-0000ab", "20260302T093000-0000aa/../x"])
def test_a_run_without_a_record_is_named(home, run_id):
    write_record(home, record_of())
    with pytest.raises(HomeError, match=r"has no record of a run .*; `kline runs` lists"):
        read_record(home, run_id)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"', "null", "\xff", '{"run_id": 3}'])
def test_a_damaged_record_is_named_with_what_to_do(home, text):
    record = record_of()
    write_record(home, record)
    file_of(home, record.run_id).write_bytes(text.encode("latin-1"))
    named = rf"cannot read record runs/{record.run_id}\.json .*; restore it from a copy, or delete it"
    with pytest.raises(HomeError, match=named) as caught:
        read_record(home, record.run_id)
    assert "\n" not in str(caught.value)
    (found,) = read_records(home, [record.run_id])
    assert isinstance(found, HomeError)
    with pytest.raises(HomeError, match=record.run_id):
        records_since(home, BEGAN)


def test_the_record_of_another_run_under_a_name_is_damage(home):
    write_record(home, record_of())
    other = "20260302T093000-0000bb"
    file_of(home, "20260302T093000-0000aa").rename(file_of(home, other))
    with pytest.raises(HomeError, match="it is the record of run 20260302T093000-0000aa"):
        read_record(home, other)


def test_what_a_newer_version_adds_is_left_out():
    record = record_of()
    assert RunRecord.from_dict(record.to_dict() | {"later": 1}) == record


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.slow
@settings(max_examples=examples(50))
@given(st.dictionaries(st.sampled_from(sorted(record_of().to_dict())), ANY, min_size=1) | ANY)
def test_whatever_stands_in_a_file_it_is_a_record_or_refused(wrong):
    values = record_of().to_dict() | wrong if isinstance(wrong, dict) else wrong
    try:
        record = RunRecord.from_dict(values)
    except ValueError:
        return
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict()))).began == record.began


def test_a_place_that_cannot_be_written_is_named(home):
    (home.folder / "runs").write_text("a file")
    with pytest.raises(HomeError, match=r"cannot write record runs/.*; check that it can be written"):
        write_record(home, record_of())


def test_records_of_runs_that_began_before_a_moment_are_forgotten(home):
    days = [-400, -2, 0, 10]
    runs = [record_of(new_run_id(began), began) for began in (BEGAN + timedelta(days=day) for day in days)]
    for record in runs:
        write_record(home, record)
    # Damaged or not: what it named is no longer kept. And what is no record of ours stays.
    file_of(home, runs[0].run_id).write_text("{")
    file_of(home, "notes").write_text("mine")
    assert forget_records(home, BEGAN, records_since(home, BEGAN)) == 2
    assert recorded_runs(home) == [runs[3].run_id, runs[2].run_id]
    assert file_of(home, "notes").read_text() == "mine"
    assert forget_records(home, BEGAN, records_since(home, BEGAN)) == 0
    with pytest.raises(HomeError, match=rf"no record of a run '{runs[1].run_id}'.*`maintain` removes those"):
        read_record(home, runs[1].run_id)


def test_whatever_records_since_reads_is_not_forgotten(home):
    zone = timezone(timedelta(hours=-11))
    began = BEGAN - timedelta(hours=23)
    write_record(home, record_of(new_run_id(began), BEGAN))
    since = records_since(home, BEGAN.astimezone(zone))
    assert len(since) == 1
    assert forget_records(home, BEGAN.astimezone(zone), since) == 0
    assert forget_records(home, BEGAN.astimezone(zone), []) == 1


def test_a_record_that_goes_while_they_are_read_is_none(home, monkeypatch):
    write_record(home, record_of())
    listed = [[*recorded_runs(home), "20260302T093000-0000bb"], recorded_runs(home)]
    monkeypatch.setattr(run_records, "recorded_runs", lambda _: listed.pop(0))
    assert [record.run_id for record in records_since(home, BEGAN)] == ["20260302T093000-0000aa"]


def test_within_a_second_the_moment_decides(home):
    runs = [record_of(new_run_id(BEGAN), BEGAN + timedelta(milliseconds=part)) for part in (100, 900)]
    for record in runs:
        write_record(home, record)
    moment = BEGAN + timedelta(milliseconds=500)
    assert forget_records(home, moment, records_since(home, moment)) == 1
    assert recorded_runs(home) == [runs[1].run_id]


@pytest.mark.parametrize("text", [b'{"seconds":' + b"[" * 100_000, b"NaN", b"-Infinity", b"1e999"])
def test_numbers_and_depths_that_no_record_has_are_damage(home, text):
    record = record_of("20200102T000000-abcdef")
    write_record(home, record)
    if not text.startswith(b"{"):
        text = json.dumps(record.to_dict() | {"seconds": {"total": 0.125}}).encode().replace(b"0.125", text)
    file_of(home, record.run_id).write_bytes(text)
    with pytest.raises(HomeError, match=r"cannot read record .*; restore it from a copy, or delete it"):
        read_record(home, record.run_id)
