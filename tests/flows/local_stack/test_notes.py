"""Small files that one start leaves for the next."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.local_stack.abandoned import Reach
from flows.local_stack.notes import read_json, write_json, write_whole
from flows.local_stack.processes import FLOW_RUN
from flows.local_stack.source import checked_source
from flows.local_stack.stops import forget_stopped, note_stopped, stopped_before
from kline_core.errors import HomeError

DAMAGED = [b"", b"[]", b"null", b"\xff\xfe", b'{"flow_runs"']


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "note.json"
    assert read_json(file) is None
    write_json(file, {"a": 1})
    write_json(file, {"b": "\N{BULLET}"})
    assert read_json(file) == {"b": "\N{BULLET}"}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_note_says_nothing(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "note.json").write_bytes(damage)
    assert read_json(tmp_path / "note.json") == {}


@pytest.mark.parametrize("damage", [*DAMAGED, b'{"source": 5}'])
def test_a_source_that_cannot_be_read_is_asked_for(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "source.json").write_bytes(damage)
    with pytest.raises(HomeError, match=r"source\.json is damaged.*--source"):
        checked_source(None, tmp_path)
    assert checked_source("none", tmp_path) == "none"


def test_a_worker_without_a_name_gets_one(tmp_path: Path) -> None:
    write_whole(tmp_path / "worker", "\n")
    named = Reach.of(tmp_path, "127.0.0.1", {})
    assert named.worker.startswith("kline-up-")
    assert named.home == str(tmp_path.parent)
    assert Reach.of(tmp_path, "127.0.0.1", {}) == named


def test_stopped_runs_add_up_until_they_are_recovered(tmp_path: Path) -> None:
    def process(run: str) -> Any:
        return SimpleNamespace(environ=lambda: {FLOW_RUN: run})

    assert stopped_before(tmp_path) == frozenset()
    note_stopped(tmp_path, [process("a"), process("b")])
    note_stopped(tmp_path, [])
    note_stopped(tmp_path, [process("c")])
    assert stopped_before(tmp_path) == {"a", "b", "c"}
    forget_stopped(tmp_path)
    forget_stopped(tmp_path)
    assert stopped_before(tmp_path) == frozenset()


@pytest.mark.parametrize("damage", [*DAMAGED, b'{"flow_runs": 5}', b'{"flow_runs": [5]}'])
def test_a_damaged_note_of_stops_names_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "stopped.json").write_bytes(damage)
    assert stopped_before(tmp_path) == frozenset()
