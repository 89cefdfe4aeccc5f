"""The file systems of what is stored."""

from pathlib import Path

import psutil
import pytest
from deltalake.fs import DeltaStorageHandler

from kline_core.errors import HomeError
from kline_core.store.checksums import content_of
from kline_core.store.home import Home
from kline_core.store.storage import storage_of
from tests.support.tables import bar_rows


def test_files_of_a_folder_are_read_without_delta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes come as Python's, several times as slowly."""
    home = Home(tmp_path / "a häme of bars", create=True)
    home.append("bars", bar_rows("A", 3))

    def refused(_: DeltaStorageHandler, path: str) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(DeltaStorageHandler, "open_input_file", refused)
    assert home.read("bars").num_rows == 3


def test_a_content_stays_what_was_compared_when_the_file_changes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"as it was")
    content = content_of(storage_of(str(tmp_path)), "file")
    with (tmp_path / "file").open("r+b") as stream:
        stream.write(b"changed")
        stream.truncate()
    assert content.to_pybytes() == b"as it was"


def test_a_file_that_was_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"as it was")
    held = content_of(storage_of(str(tmp_path)), "file")
    assert str(tmp_path / "file") not in [file.path for file in psutil.Process().open_files()]
    assert held.size == 9


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_that_is_gone_is_named(tmp_path: Path, folder: bool) -> None:
    home = Home(tmp_path / "home", create=True)
    home.append("bars", bar_rows("A", 3))
    (name,) = home.files("bars")
    file = tmp_path / "home" / "bars" / name
    file.unlink()
    if folder:
        file.mkdir()
    with pytest.raises(HomeError, match=f"cannot read table bars of home .*: its file {name} is gone; restore"):
        home.read("bars")
