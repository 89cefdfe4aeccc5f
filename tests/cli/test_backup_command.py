"""`kline backup` as a person and a program meet it."""

import json
from pathlib import Path

import pytest

from kline_core.store.home import Home
from tests.support.command import ask, refused
from tests.support.homes import make_home, market


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    make_home(tmp_path / "home", market(1, 10))
    return ["--home", str(tmp_path / "home")]


def test_a_backup_says_what_it_holds_and_how_it_is_restored(
    capsys: pytest.CaptureFixture[str], place: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "of monday"
    code, out, _ = ask(capsys, *place, "backup", str(folder))
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("backed up 1 file, ")
    assert lines[0].endswith(f" MB, into {folder}")
    assert lines[3].split()[:3] == ["bars", "1", "1"]
    assert lines[4] == "with 0 records of runs, and no database of a Prefect server"
    assert lines[5] == f"it is a home: to restore it, name it by --home '{folder}', or copy it back"
    assert Home(folder).read("bars").equals(Home(place[1]).read("bars"))


def test_a_program_reads_the_same(capsys: pytest.CaptureFixture[str], place: list[str], tmp_path: Path) -> None:
    code, out, _ = ask(capsys, *place, "backup", str(tmp_path / "backup"), "--no-prefect", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["place"] == str(tmp_path / "backup")
    assert [(each["table"], each["version"], each["files"]) for each in found["tables"]] == [("bars", 1, 1)]
    assert (found["records"], found["records_left"], found["database"]) == (0, 0, False)


def test_what_cannot_be_done_is_one_line(capsys: pytest.CaptureFixture[str], place: list[str], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    assert "holds something, and no backup is overwritten" in refused(capsys, *place, "backup", str(tmp_path / "full"))
    missing = refused(capsys, "--home", str(tmp_path / "nowhere"), "backup", str(tmp_path / "backup"))
    assert "there is no home at" in missing
