import os
from pathlib import Path

import pytest

from kline_core.bars.delivery import find_files
from kline_core.store.home import Home


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_files_at_every_depth_in_the_order_of_their_paths_each_once(tmp_path: Path) -> None:
    names = ["b.csv", "a/x.CSV", "a/b/y.Parquet", "c/z.csv.GZ"]
    files = [touch(tmp_path / name) for name in names]
    note = touch(tmp_path / "a/note.md")
    (tmp_path / "again.csv").symlink_to(files[0])
    found = find_files([files[3], tmp_path])
    assert list(found.files) == [files[3], files[2], files[1], tmp_path / "again.csv"]
    assert set(found.files.values()) == {None}
    assert (found.skipped, found.left_out) == ([str(note)], [])


def test_homes_and_tables_are_left_out_and_said_so(tmp_path: Path) -> None:
    bars = touch(tmp_path / "in" / "a.csv")
    home = tmp_path / "in" / "deep" / "home"
    Home(home, create=True)
    touch(home / "bars" / "part.parquet")
    touch(tmp_path / "in" / "table" / "_delta_log" / "0.json")
    touch(tmp_path / "in" / "table" / "x.parquet")
    found = find_files([tmp_path / "in"])
    assert list(found.files) == [bars]
    assert found.left_out == [
        f"{home}: is a home, no delivery",
        f"{tmp_path / 'in' / 'table'}: is a Delta table, no delivery",
    ]
    for place in (home, home / "bars", home / "bars" / "_delta_log"):
        found = find_files([place])
        assert not found.files
        assert found.left_out[0].startswith(f"{place}: is ")
    # Folders beside the tables are the user's own.
    assert list(find_files([touch(home / "incoming" / "a.csv").parent]).files) == [home / "incoming" / "a.csv"]


def test_a_file_of_a_table_is_none_of_a_delivery_by_whatever_name(tmp_path: Path) -> None:
    Home(tmp_path / "home", create=True)
    part = touch(tmp_path / "home" / "bars" / "part.parquet")
    (tmp_path / "in").mkdir()
    link = tmp_path / "in" / "link.parquet"
    link.symlink_to(part)
    for place, path in ((part, part), (link, link), (tmp_path / "in", link)):
        (reason,) = find_files([place]).files.values()
        assert reason == f"{path}: is a file of the Delta table {part.parent}, no delivery; leave it away"


def test_folders_that_are_not_searched_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = touch(tmp_path / "in" / "a.csv")
    touch(tmp_path / "in" / "shut" / "b.csv")
    touch(tmp_path / "else" / "c.csv")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "else")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    scan = os.scandir

    def guarded(path: str) -> object:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find_files([tmp_path / "in"])
    shut = tmp_path / "in" / "shut"
    assert found.files == {
        bars: None,
        shut: f"{shut}: cannot be listed: Permission denied; make it readable, or name its files",
    }
    assert [reason.split(": ")[0] for reason in found.left_out] == [str(tmp_path / "in" / n) for n in ("link", "round")]


def test_links_that_lead_nowhere_are_files_to_complain_of(tmp_path: Path) -> None:
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert len(find_files([tmp_path]).files) == 2
