"""Homes in an object store: one that loses commits is refused, and one that is away for a while is waited for."""

import threading

import pytest

from kline_core.errors import HomeError
from kline_core.store import table as table_module
from kline_core.store import writing
from kline_core.store.conditional import refuses_to_overwrite
from kline_core.store.delta import UnreachableError
from kline_core.store.home import Home, TableChangedError
from tests.support.object_store import object_store
from tests.support.tables import KEYS, bar_rows, match_rows

URL = "s3://bucket/home"


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(writing, "_CONDITIONAL", set())
    monkeypatch.setattr(table_module, "_WHOLE_LOGS", {})
    with object_store(monkeypatch) as store:
        yield store


@pytest.mark.slow
def test_a_home_in_an_object_store_is_a_home_like_any_other(store):
    home = Home(URL, create=True)
    home.append("bars", bar_rows("A", 3))
    home.upsert("bars", bar_rows("A", 4, close=11.0), ["symbol", "date"])
    home.append("bars", bar_rows("B", 3))
    home.compact("bars", 2**20)
    assert home.read("bars").num_rows == 7
    assert home.read("bars", version=1).num_rows == 3
    assert home.unchecked("bars") == []
    with pytest.raises(TableChangedError):
        home.append("bars", bar_rows("C", 1), expected_version=0)
    assert not [name for name in store.names() if "_probe" in name]
    assert home.pattern_tables() == []
    other = f"patterns-{'0' * 16}"
    home.create(other, {})
    assert home.pattern_tables() == [other]
    home.drop(other)
    assert home.pattern_tables() == []
    assert not [name for name in store.names() if other in name]
    for name in ("patterns-0123456789abcdef", "patterns"):
        home.create(name, {})
    assert home.pattern_tables() == ["patterns", "patterns-0123456789abcdef"]


@pytest.mark.slow
def test_a_file_or_a_log_that_changed_in_an_object_store_is_named(store):
    home = Home(URL, create=True)
    home.append("bars", bar_rows("A", 3))
    (name,) = home.files("bars")
    with home.storage("bars").open_output_stream(name, buffer_size=100) as stream:
        stream.write(b"other")
    with pytest.raises(HomeError, match=f"its file {name} is not what was written"):
        home.read("bars")
    store.empty(f"bucket/home/bars/_delta_log/{1:020}.json")
    with pytest.raises(HomeError, match=r"_delta_log/0*1.json is empty; .*remove that file .* which leaves version 0"):
        home.read("bars")


@pytest.mark.slow
def test_a_store_that_overwrites_is_told_from_one_that_does_not(store):
    assert refuses_to_overwrite(URL)
    store.fault("conditional", 0)
    assert not refuses_to_overwrite(URL)
    assert store.names() == []


@pytest.mark.slow
def test_a_store_that_would_lose_commits_is_refused_before_anything_is_written(store):
    store.fault("conditional", 0)
    with pytest.raises(HomeError, match=r"object store of home s3://bucket/home overwrites .*ignores If-None-Match"):
        Home(URL, create=True)
    assert store.names() == []
    store.fault("conditional", 1)
    Home(URL, create=True).append("bars", bar_rows("A", 3))
    writing._CONDITIONAL.clear()
    store.fault("conditional", 0)
    home = Home(URL)
    assert home.read("bars").num_rows == 3
    for write in (lambda: home.append("bars", bar_rows("B", 1)), lambda: home.create("patterns", {})):
        with pytest.raises(HomeError, match="overwrites where it is told not to"):
            write()
    assert home.version("bars") == 1


@pytest.mark.slow
def test_a_store_that_cannot_be_reached_is_said_to_be_that(store, monkeypatch):
    home = Home(URL, create=True)
    store.fault("refused", 10_000)
    with pytest.raises(
        UnreachableError, match=r"home s3://bucket/home cannot be reached, to read .*run again"
    ) as caught:
        home.read("bars")
    assert "restore" not in str(caught.value)
    monkeypatch.setattr(writing, "_AWAY_SECONDS", 0.0)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        home.upsert("matches", match_rows([0]), KEYS)


@pytest.mark.slow
def test_what_was_computed_while_the_store_was_away_is_stored_when_it_is_back(store, monkeypatch):
    home = Home(URL, create=True)
    home.append("matches", match_rows([0]))
    monkeypatch.setattr(writing, "_AWAY_PAUSES", (0.1, 0.2))
    # More than Delta's own tries of one request.
    store.fault("refused", 15)
    home.upsert("matches", match_rows([0, 1], run="later"), KEYS)
    rows = home.read("matches", ["rank", "run_id"]).to_pylist()
    assert sorted((row["rank"], row["run_id"]) for row in rows) == [(0, "later"), (1, "later")]


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_writers_at_the_same_time_lose_no_commit():
    homes = [Home(URL, create=True) for _ in range(3)]

    def write(number):
        for day in range(3):
            homes[number].upsert("matches", match_rows([number * 3 + day]), KEYS)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(homes[0].read("matches")["rank"].to_pylist()) == list(range(9))
