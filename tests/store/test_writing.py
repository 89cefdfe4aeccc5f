"""Commits beside other writers, in homes that go away, and to stores that do not answer for a while."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import write_deltalake

from kline_core.errors import HomeError
from kline_core.store import writing
from kline_core.store.delta import UnreachableError
from kline_core.store.home import Home, TableChangedError
from kline_core.store.writing import TableWriter
from tests.support.tables import KEYS, bar_rows, match_rows


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", create=True)


def test_a_write_worked_out_from_an_older_version_is_refused(home: Home) -> None:
    assert home.append("bars", bar_rows("A", 1), expected_version=0) == 1
    for write in (
        lambda: home.append("bars", bar_rows("B", 1), expected_version=0),
        lambda: home.upsert("bars", bar_rows("B", 1), ["symbol", "date"], expected_version=0),
    ):
        with pytest.raises(TableChangedError, match="another writer"):
            write()
    assert home.version("bars") == 1


@pytest.mark.slow
def test_writers_at_the_same_time_lose_nothing_and_double_nothing(home: Home) -> None:
    def write(number: int) -> None:
        home.upsert("matches", match_rows([0, number]), KEYS)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 9)))
    assert sorted(home.read("matches")["rank"].to_pylist()) == list(range(9))


def test_a_home_that_goes_in_the_middle_of_a_commit_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.append("matches", match_rows([1]))

    def late(*arguments, **options):
        write_deltalake(*arguments, **options)
        shutil.rmtree(home.folder / "bars")

    monkeypatch.setattr("kline_core.store.home.write_deltalake", late)
    with pytest.raises(HomeError, match="is gone"):
        home.append("matches", match_rows([2]))


def away(times, counted):
    """A first step of a write that finds no store so many times."""

    def step(writer):
        counted.append(writer.table)
        if len(counted) <= times:
            raise UnreachableError("away")

    return step


def test_a_write_waits_for_a_store_that_is_away_with_growing_pauses(tmp_path, monkeypatch):
    home, counted, pauses = Home(tmp_path / "home", create=True), [], []
    monkeypatch.setattr(TableWriter, "_check_conditional", away(7, counted))
    monkeypatch.setattr(time, "sleep", pauses.append)
    home.upsert("bars", bar_rows("A", 3), ["symbol", "date"])
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert home.read("bars").num_rows == 3


def test_no_write_waits_for_ever_and_an_append_that_may_have_arrived_is_not_repeated(tmp_path, monkeypatch):
    home, counted = Home(tmp_path / "home", create=True), []
    monkeypatch.setattr(TableWriter, "_check_conditional", away(1_000, counted))
    with pytest.raises(UnreachableError):
        home.append("bars", bar_rows("A", 3))
    assert len(counted) == 1
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(writing, "_AWAY_SECONDS", 0.0)
    with pytest.raises(UnreachableError):
        home.append("bars", bar_rows("A", 3), expected_version=0)
    assert len(counted) == 2
