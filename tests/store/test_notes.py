"""Notes that are kept with a home, in commits of its bars table that change no row."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable

from kline_core.errors import HomeError
from kline_core.factor.stored_run import last_versions
from kline_core.store.home import Home
from tests.support.tables import bar_rows


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", create=True)


def test_a_home_without_notes_has_none_and_notes_come_and_go(home: Home) -> None:
    assert home.notes() == {}
    assert home.set_note("market", "XSHG") == "XSHG"
    assert home.set_note("columns", {"date": "D\"at'um, ü", "close": "收盘"}) == {
        "date": "D\"at'um, ü",
        "close": "收盘",
    }
    assert home.notes() == {"market": "XSHG", "columns": {"date": "D\"at'um, ü", "close": "收盘"}}
    assert home.notes(0) == {}
    assert home.set_note("market", None) is None
    assert list(home.notes()) == ["columns"]


def test_what_is_so_already_commits_nothing(home: Home) -> None:
    assert home.set_note("market", None) is None
    assert home.version("bars") == 0
    home.set_note("market", "XSHG")
    home.set_note("market", "XSHG")
    assert home.version("bars") == 1


def test_a_note_that_may_not_be_replaced_stays(home: Home) -> None:
    assert home.set_note("market", "XSHG", replace=False) == "XSHG"
    assert home.set_note("market", "XNYS", replace=False) == "XSHG"
    assert home.notes() == {"market": "XSHG"}
    assert home.set_note("market", "XNYS") == "XNYS"


def test_notes_outlive_every_kind_of_write_and_go_along_with_a_copy(home: Home, tmp_path: Path) -> None:
    home.set_note("market", "XSHG")
    home.append("bars", bar_rows("A", 2))
    home.append("bars", bar_rows("B", 2))
    home.upsert("bars", bar_rows("A", 3), ["symbol", "date"])
    home.replace("bars", bar_rows("B", 1), ["B"])
    home.compact("bars", 2**20)
    home.delete("bars", ["A"])
    assert home.notes() == {"market": "XSHG"}
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    assert Home(tmp_path / "copy").notes() == {"market": "XSHG"}


def test_a_note_is_no_change_of_rows(home: Home) -> None:
    version = home.append("bars", bar_rows("A", 2), {"run_id": "x"})
    identity, rows = home.identity("bars"), home.read("bars")
    home.set_note("market", "XSHG")
    assert home.identity("bars") == identity
    assert home.read("bars").equals(rows)
    assert home.append("bars", bar_rows("B", 1), {"run_id": "x"}, expected_version=version) == version + 2
    assert last_versions(home.history("bars"), "x") == [version + 2]


def test_writers_of_notes_and_rows_at_the_same_time_lose_nothing(home: Home) -> None:
    def write(number: int) -> None:
        if number % 2:
            home.set_note(f"note {number}", number)
        else:
            home.append("bars", bar_rows(f"S{number}", 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(8)))
    assert home.notes() == {f"note {number}": number for number in (1, 3, 5, 7)}
    assert sorted(home.read("bars")["symbol"].to_pylist()) == ["S0", "S2", "S4", "S6"]


def test_a_writer_that_is_overtaken_keeps_the_others_note(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer in another process does not queue at the lock of this one."""
    opened, own = [], DeltaTable

    def slow(self, *_, **__):
        delta = own(self.path)
        if len(opened) < 2:
            opened.append(delta.version())
            if len(opened) == 2:
                own(self.path).alter.set_table_properties({"kline.notes": '{"a": 1}'}, raise_if_not_exists=False)
        return delta

    monkeypatch.setattr("kline_core.store.table.StoredTable.open", slow)
    monkeypatch.setattr("kline_core.store.table.StoredTable._at", slow)
    home.set_note("b", 2)
    assert home.notes() == {"a": 1, "b": 2}
    assert opened == [0, 0]


@pytest.mark.parametrize("text", ["[]", "x", "3"])
def test_notes_that_kline_did_not_write_are_refused(home: Home, text: str) -> None:
    path = str(home.folder / "bars")
    DeltaTable(path).alter.set_table_properties({"kline.notes": text}, raise_if_not_exists=False)
    with pytest.raises(HomeError, match="has notes that kline did not write"):
        home.notes()


def test_a_home_that_has_gone_takes_no_note(home: Home) -> None:
    shutil.rmtree(home.folder)
    with pytest.raises(HomeError):
        home.set_note("a", 1)
    assert not home.folder.exists()
