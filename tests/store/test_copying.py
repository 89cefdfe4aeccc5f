"""A copy of a table: all that can be read of it up to a version, and nothing else."""

import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable

from kline_core.errors import HomeError
from kline_core.store import copying
from kline_core.store.checksums import recorded
from kline_core.store.copying import copy_table
from kline_core.store.home import Home
from kline_core.store.log import forget_before
from tests.support.damage import flip
from tests.support.object_store import object_store
from tests.support.tables import KEYS, bar_rows, match_rows


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three versions of `bars` with rows: A, then B beside it, then A replaced."""
    home = Home(tmp_path / "home", create=True)
    home.append("bars", bar_rows("A", 2))
    home.append("bars", bar_rows("B", 2))
    home.replace("bars", bar_rows("A", 3, close=11.0), ["A"])
    return home


def rows(home: Home, table: str = "bars", version: int | None = None) -> list[str]:
    return sorted(map(str, home.read(table, version=version).to_pylist()))


def copied(home: Home, place: Path, version: int | None = None, table: str = "bars") -> Home:
    newest = home.version(table)
    copy_table(home, table, newest if version is None else version, place)
    return Home(place)


def data(home: Home, table: str = "bars") -> set[str]:
    assert home.folder is not None
    return {file.name for file in (home.folder / table).glob("*.parquet")}


def test_every_version_can_be_read_of_the_copy(home: Home, tmp_path: Path) -> None:
    copy = copied(home, tmp_path / "copy")
    assert copy.version("bars") == home.version("bars") == 3
    assert all(rows(copy, version=version) == rows(home, version=version) for version in range(4))
    assert copy.identity("bars") == home.identity("bars")
    assert copy.notes() == home.notes()
    assert recorded(copy.storage("bars")) == recorded(home.storage("bars"))
    assert not copy.unchecked("bars")


def test_what_was_committed_later_or_never_stays_behind(home: Home, tmp_path: Path) -> None:
    assert home.folder is not None
    shutil.copy(next((home.folder / "bars").glob("*.parquet")), home.folder / "bars" / "uncommitted.parquet")
    copy = copied(home, tmp_path / "copy", version=2)
    assert rows(copy) == rows(home, version=2)
    assert data(copy) == home.files("bars", 1).keys() | home.files("bars", 2).keys()
    # It goes on like any table.
    assert copy.append("bars", bar_rows("C", 1)) == 3
    assert len(rows(copy)) == 5
    assert len(rows(home)) == 5


def test_a_log_whose_beginning_was_cleaned_up_is_copied_from_its_checkpoint(home: Home, tmp_path: Path) -> None:
    DeltaTable(str(home.folder / "bars")).create_checkpoint()  # type: ignore[operator]
    home.append("bars", bar_rows("D", 1))
    assert forget_before(home.storage("bars"), 3) == 3
    copy = copied(home, tmp_path / "copy")
    assert all(rows(copy, version=version) == rows(home, version=version) for version in (3, 4))
    # Delta's pointer names a checkpoint that a copy of an earlier version lacks.
    DeltaTable(str(home.folder / "bars")).create_checkpoint()  # type: ignore[operator]
    assert rows(copied(home, tmp_path / "earlier", version=3)) == rows(home, version=3)


@pytest.mark.parametrize("folder", [False, True])
def test_files_of_older_versions_that_were_removed_are_not_asked_for(home: Home, tmp_path: Path, folder: bool) -> None:
    assert home.folder is not None
    (old,) = home.files("bars", 1).keys() - home.files("bars").keys()
    file = home.folder / "bars" / old
    file.unlink()
    if folder:
        # Which is no file either.
        file.mkdir()
    copy = copied(home, tmp_path / "copy")
    assert rows(copy) == rows(home)
    assert data(copy) == data(home) - {old}


@pytest.mark.parametrize("which", ["newest", "older"])
def test_a_file_that_is_not_what_was_written_is_refused_by_its_name(home: Home, tmp_path: Path, which: str) -> None:
    assert home.folder is not None
    newest = home.files("bars").keys()
    name = min(newest if which == "newest" else home.files("bars", 1).keys() - newest)
    flip(home.folder / "bars" / name)
    with pytest.raises(HomeError, match=f"its file {name} is not what was written: its SHA-256 differs"):
        copied(home, tmp_path / "copy")


def test_a_file_without_a_checksum_is_known_by_its_size(home: Home, tmp_path: Path) -> None:
    assert home.folder is not None
    home.upsert("matches", match_rows([0]), KEYS)
    (name,) = home.files("matches")
    path = home.folder / "matches" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(HomeError, match=f"its file {name} is not what was written: it has"):
        copied(home, tmp_path / "copy", table="matches")
    path.unlink()
    with pytest.raises(HomeError, match=f"its file {name} is gone"):
        copied(home, tmp_path / "other", table="matches")


def test_a_checksum_is_not_made_up_for_a_file_that_has_none(home: Home, tmp_path: Path) -> None:
    assert home.folder is not None
    shutil.rmtree(home.folder / "bars" / "_checksums")
    copy = copied(home, tmp_path / "copy")
    assert copy.unchecked("bars") == home.unchecked("bars") == sorted(home.files("bars"))


def test_a_damaged_log_is_refused_by_its_name(home: Home, tmp_path: Path) -> None:
    assert home.folder is not None
    log = home.folder / "bars" / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text()[:-20])
    with pytest.raises(HomeError, match=f"its log file _delta_log/{1:020}.json is not whole"):
        copied(home, tmp_path / "copy", version=2)


def test_a_clean_up_of_the_log_meanwhile_leaves_no_gap(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DeltaTable(str(home.folder / "bars")).create_checkpoint()  # type: ignore[operator]
    listed = copying.files_until

    def then_cleaned(storage: object, version: int) -> dict[int, list[str]]:
        found = listed(storage, version)
        forget_before(storage, 3)
        return found

    monkeypatch.setattr(copying, "files_until", then_cleaned)
    copy = copied(home, tmp_path / "copy")
    assert rows(copy) == rows(home)
    assert [path.name for path in sorted((tmp_path / "copy" / "bars" / "_delta_log").glob("*.json"))] == [
        f"{3:020}.json"
    ]


def test_a_disk_without_room_is_told_before_anything_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kline_core.store.folder.free_bytes", lambda _: 10)
    with pytest.raises(OSError, match="no space left"):
        copied(home, tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("*.parquet"))


@pytest.mark.slow
def test_a_table_in_an_object_store_is_copied_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store(monkeypatch):
        home = Home("s3://bucket/home", create=True)
        home.append("bars", bar_rows("A", 2))
        home.replace("bars", bar_rows("A", 3), ["A"])
        copy = copied(home, tmp_path / "copy")
        assert all(rows(copy, version=version) == rows(home, version=version) for version in range(3))
        assert recorded(copy.storage("bars")) == recorded(home.storage("bars"))


def test_a_copy_is_what_the_log_names_and_no_more(home: Home, tmp_path: Path) -> None:
    found = copy_table(home, "bars", 3, tmp_path / "copy")
    files = data(Home(tmp_path / "copy"))
    assert found.files == len(files) == 3
    assert found.bytes == sum((tmp_path / "copy" / "bars" / name).stat().st_size for name in files)
    names = {path.name for path in (tmp_path / "copy" / "bars" / "_delta_log").iterdir()}
    assert names == {f"{version:020}.json" for version in range(4)}
    assert found.version == 3
