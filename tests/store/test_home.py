import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from kline_core.errors import HomeError, InputError
from kline_core.store.home import Home, TableChangedError
from kline_core.store.schemas import table_schema
from tests.support.tables import DAY, KEYS, bar_rows, match_rows


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", create=True)


def test_a_new_home_has_an_empty_bars_table_and_opens_again(home: Home) -> None:
    assert home.version("bars") == 0
    assert home.version("patterns") is None
    again = Home(home.uri)
    assert again.read("bars").schema == table_schema("bars")
    assert again.folder is not None
    assert Home(home.uri, create=True).version("bars") == 0
    assert pickle.loads(pickle.dumps(home)).uri == home.uri


@pytest.mark.parametrize("table", ["bars", "patterns", "factors", "matches"])
def test_every_table_reads_as_empty_before_its_first_row(home: Home, table: str) -> None:
    assert home.read(table).num_rows == 0
    assert home.read(table, columns=["symbol"]).column_names == ["symbol"]


def test_a_missing_home_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"no home at .*nowhere; make one with `kline ingest`"):
        Home(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_folder_is_no_home_yet(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="empty folder"):
        Home(tmp_path)
    assert Home(tmp_path, create=True).version("bars") == 0


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for create in (False, True):
        with pytest.raises(HomeError, match=r"no bars table.* empty folder"):
            Home(tmp_path, create=create)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_home_that_lost_its_bars_log_is_half_made(home: Home) -> None:
    home.append("bars", bar_rows("A", 2))
    log = Path(home.uri) / "bars" / "_delta_log"
    for entry in log.iterdir():
        entry.unlink()
    log.rmdir()
    for create in (False, True):
        with pytest.raises(HomeError, match="no bars table"):
            Home(home.uri, create=create)


def test_a_home_whose_making_was_cut_short_is_finished(tmp_path: Path) -> None:
    (tmp_path / "home" / "bars" / "_delta_log").mkdir(parents=True)
    with pytest.raises(HomeError, match="half-made"):
        Home(tmp_path / "home")
    assert Home(tmp_path / "home", create=True).version("bars") == 0


def test_a_damaged_log_is_named(home: Home) -> None:
    (Path(home.uri) / "bars" / "_delta_log" / f"{0:020}.json").write_text("garbage")
    with pytest.raises(HomeError, match=r"cannot read table bars of home .*restore the home") as caught:
        Home(home.uri)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_gone_is_named(home: Home) -> None:
    home.append("bars", bar_rows("A", 2))
    for entry in (Path(home.uri) / "bars").glob("*.parquet"):
        entry.unlink()
    with pytest.raises(HomeError, match="cannot read table bars"):
        home.read("bars")


@pytest.mark.parametrize("below", ["/proc/kline", "file/home"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="name a folder that can be written"):
        Home(tmp_path / below, create=True)


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("s3://AKIA123:hunter22@bucket/home", "s3://bucket/home"),
        ("s3://AKIA123:hunt/er22@bucket/home", "s3://bucket/home"),
        ("az://container/home?sv=1&sig=hunter22", "az://container/home"),
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str, bare: str, create: bool) -> None:
    with pytest.raises(HomeError, match="carries credentials") as raised:
        Home(url, create=create)
    assert f"name it {bare}, and set the variables of the store, such as AWS_ACCESS_KEY_ID" in str(raised.value)
    assert raised.value.home == bare
    assert "er22" not in str(raised.value)
    assert "AKIA123" not in str(raised.value)


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for create in (False, True):
        with pytest.raises(HomeError, match="is a file"):
            Home(tmp_path / "file", create=create)


def test_an_unwritable_table_is_refused_at_the_first_write(home: Home) -> None:
    (Path(home.uri) / "factors").write_text("in the way")
    with pytest.raises(HomeError, match="table factors"):
        home.append("factors", table_schema("factors").empty_table())


def test_reading_picks_columns_symbols_rows_and_versions(home: Home) -> None:
    first = home.append("bars", bar_rows("A", 3))
    second = home.append("bars", bar_rows("B", 3))
    assert (first, second, home.version("bars")) == (1, 2, 2)
    assert home.read("bars", columns=["date"], symbols=["B"]).to_pydict() == {
        "date": (DAY + np.arange(3)).tolist(),
    }
    assert home.read("bars", symbols=[]).num_rows == 0
    assert set(home.read("bars", version=1)["symbol"].to_pylist()) == {"A"}
    assert home.read("bars", version=0).num_rows == 0
    for version in (3, -1):
        with pytest.raises(HomeError, match=f"no version {version}; the newest is 2"):
            home.read("bars", version=version)


def test_missing_nullable_columns_are_nulls_and_others_are_refused(home: Home) -> None:
    home.append("bars", bar_rows("A", 1))
    assert home.read("bars")["volume"].to_pylist() == [None]
    with pytest.raises(ValueError, match=r"missing columns \['close'\]"):
        home.append("bars", bar_rows("A", 1).drop_columns(["close"]))
    with pytest.raises(ValueError, match=r"unknown columns \['colour'\]"):
        home.append("bars", bar_rows("A", 1).append_column("colour", pa.array(["red"])))


def test_upsert_updates_adds_and_removes_in_one_commit(home: Home) -> None:
    home.append("matches", match_rows([0, 1, 2], run="old"))
    rows = match_rows([0, 1, 3, 4], run="new").append_column("deleted", pa.array([False, True, False, True]))
    assert home.upsert("matches", rows, KEYS) == 2
    found = sorted(home.read("matches", ["rank", "run_id"]).to_pylist(), key=lambda row: row["rank"])
    assert [(row["rank"], row["run_id"]) for row in found] == [(0, "new"), (2, "old"), (3, "new")]


def test_upsert_twice_changes_no_row(home: Home) -> None:
    for _ in range(2):
        home.upsert("matches", match_rows([0, 1]), KEYS)
        assert sorted(home.read("matches")["rank"].to_pylist()) == [0, 1]


def test_filters_work_on_a_table_written_by_append_and_upsert(home: Home) -> None:
    home.append("matches", match_rows([0], symbol="A"))
    home.upsert("matches", match_rows([0], symbol="B"), KEYS)
    home.upsert("matches", match_rows([1], symbol="B"), KEYS)
    assert home.read("matches", symbols=["B"]).num_rows == 2
    assert home.read("matches", fingerprint="f").num_rows == 3
    assert home.read("matches", symbols=["A"], fingerprint="g").num_rows == 0


def test_matches_of_other_horizons_share_the_table(home: Home) -> None:
    home.append("matches", match_rows([0], horizon=1))
    home.upsert("matches", match_rows([1], horizon=7), KEYS)
    home.append("matches", match_rows([2], horizon=7))
    found = sorted(home.read("matches", ["rank", "r1", "r7"]).to_pylist(), key=lambda row: row["rank"])
    assert [(row["r1"] is None, row["r7"] is None) for row in found] == [(False, True), (True, False), (True, False)]


def test_replace_and_delete_touch_only_the_named_symbols(home: Home) -> None:
    home.append("bars", pa.concat_tables([bar_rows("A", 3), bar_rows("B", 3)]))
    home.replace("bars", bar_rows("A", 1, close=7.0), ["A"])
    assert home.read("bars", ["close"], symbols=["A"])["close"].to_pylist() == [7.0]
    assert home.read("bars", symbols=["B"]).num_rows == 3
    home.delete("bars", ["B", "C"])
    assert home.read("bars")["symbol"].to_pylist() == ["A"]
    version = home.version("bars")
    with pytest.raises(HomeError, match="cannot write"):
        home.replace("bars", bar_rows("B", 1), ["A"])
    with pytest.raises(InputError, match="symbol is"):
        home.delete("bars", ["A'; --"])
    assert home.version("bars") == version


def test_a_description_stays_with_its_table(home: Home) -> None:
    assert home.description("patterns") == {}
    assert home.create("patterns", {"window_bars": 20}, horizons=[1, 3]) == 0
    assert home.description("patterns") == {"window_bars": 20}
    assert {"r1", "r3"} <= set(home.read("patterns").column_names)
    with pytest.raises(HomeError, match="already has a table patterns"):
        home.create("patterns", {})
    home.create("patterns", {"window_bars": 30}, replace=True)
    assert home.description("patterns") == {"window_bars": 30}
    assert "r20" in home.read("patterns").column_names
    assert "r3" in home.read("patterns", version=0).column_names


def test_metadata_is_kept_with_the_commit(home: Home) -> None:
    home.append("bars", bar_rows("A", 1), {"run": "x", "rows": 1})
    newest, made = home.history("bars")
    assert (newest["version"], newest["metadata"]) == (1, {"run": "x", "rows": 1})
    assert made["metadata"] == {}
    assert home.history("factors") == []


def test_a_reader_keeps_its_version_while_another_writes(home: Home) -> None:
    home.append("bars", bar_rows("A", 2))
    home.replace("bars", bar_rows("A", 1), ["A"])
    assert home.read("bars", version=1).num_rows == 2
    assert home.read("bars").num_rows == 1


def test_vectors_come_back_bit_for_bit(home: Home) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype("<f4")
    rows = pa.table(
        {
            "symbol": ["A"] * 5,
            "end": pa.array(DAY + np.arange(5)),
            "known_on": pa.array(DAY + np.arange(5)),
            **{f"r{h}": pa.array([0.0] * 5, pa.float32()) for h in (1, 5, 10, 20)},
            "barrier": pa.array([0] * 5, pa.int8()),
            "content": pa.array(np.arange(5)),
            "vector": [row.tobytes() for row in vectors],
        }
    )
    home.append("patterns", rows)
    found = home.read("patterns").sort_by("end")["vector"].to_pylist()
    np.testing.assert_array_equal(np.frombuffer(b"".join(found), "<f4").reshape(5, 8), vectors)


@pytest.mark.parametrize("table", ["", "bar", "../x"])
def test_only_the_four_tables_exist(home: Home, table: str) -> None:
    with pytest.raises(ValueError, match="no table is called"):
        home.read(table)
    with pytest.raises(ValueError, match="no table is called"):
        table_schema(table)


@pytest.mark.parametrize("name", ["x[1]", "p%20q", "back\\slash", "star*"])
def test_paths_that_delta_would_misread_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HomeError, match="in its path"):
        Home(tmp_path / name, create=True)


@pytest.mark.long
@pytest.mark.slow
def test_old_versions_stay_readable_however_many_follow(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    log = tmp_path / "home" / "bars" / "_delta_log"
    for day in range(1, 112):
        home.append("bars", bar_rows(f"S{day}", 1), {"number": day})
        for file in log.iterdir():
            # As if the commits were two months old.
            os.utime(file, (1, 1))
    assert home.read("bars", version=3).num_rows == 3
    assert len(home.history("bars")) == 112


def test_a_table_made_anew_has_another_identity(tmp_path: Path) -> None:
    first = Home(tmp_path / "home", create=True).identity("bars")
    assert Home(tmp_path / "home").identity("bars") == first
    shutil.rmtree(tmp_path / "home")
    assert Home(tmp_path / "home", create=True).identity("bars") != first
    assert Home(tmp_path / "home").identity("patterns") is None


@pytest.mark.parametrize(
    "use",
    [
        lambda home: home.append("bars", bar_rows("A", 1)),
        lambda home: home.append("matches", match_rows([1])),
        lambda home: home.upsert("matches", match_rows([1]), KEYS),
        lambda home: home.upsert("bars", bar_rows("A", 1), ["symbol", "date"]),
        lambda home: home.replace("bars", bar_rows("A", 1), ["A"]),
        lambda home: home.delete("bars", ["A"]),
        lambda home: home.create("patterns", {}),
        lambda home: home.create("patterns", {}, replace=True),
        lambda home: home.compact("bars", 1),
        lambda home: home.read("bars"),
        lambda home: home.read("bars", version=0),
        lambda home: home.read("factors"),
        lambda home: home.files("factors"),
        lambda home: home.check_there(),
    ],
)
def test_a_home_that_has_gone_is_told_and_not_made_again(home: Home, use: Callable[[Home], object]) -> None:
    shutil.rmtree(home.uri)
    with pytest.raises(HomeError, match=rf"^the home at {home.uri} is gone: .* with `kline ingest`, and start again$"):
        use(home)
    assert not Path(home.uri).exists()


def test_tables_without_bars_are_no_home(home: Home) -> None:
    home.append("matches", match_rows([1]))
    shutil.rmtree(home.folder / "bars")
    with pytest.raises(HomeError, match="is gone"):
        home.append("matches", match_rows([2]))
    assert home.read("matches").num_rows == 1


def test_a_version_names_its_files_with_their_sizes(home: Home) -> None:
    home.append("bars", bar_rows("A", 1))
    home.append("bars", bar_rows("B", 1))
    folder = Path(home.uri) / "bars"
    assert home.files("bars") == {file.name: file.stat().st_size for file in folder.glob("*.parquet")}
    assert home.files("bars", 1).keys() < home.files("bars").keys()
    assert home.files("bars", 0) == {}
    with pytest.raises(HomeError, match="has no table factors"):
        home.files("factors")


def test_the_storage_of_a_table_is_its_folder_whatever_its_path(tmp_path: Path) -> None:
    home = Home(tmp_path / "a home", create=True)
    home.append("bars", bar_rows("A", 1))
    (name,) = home.files("bars")
    storage = home.storage("bars")
    assert storage.get_file_info(name).size == home.files("bars")[name]
    storage.delete_file(name)
    assert not list((tmp_path / "a home" / "bars").glob("*.parquet"))


@pytest.mark.slow
def test_a_compaction_changes_no_row_and_is_no_change_for_who_expects_a_version(home: Home) -> None:
    for symbol in "ABC":
        home.append("bars", bar_rows(symbol, 2))
    version = home.version("bars")
    assert version == 3
    before = home.read("bars").sort_by("symbol")
    assert home.compact("bars", 2**20) == 4
    assert len(home.files("bars")) == 1
    assert home.read("bars").sort_by("symbol").equals(before)
    assert home.compact("bars", 2**20) == 4
    assert home.delete("bars", ["A"], expected_version=version) == 5
    with pytest.raises(TableChangedError):
        home.delete("bars", ["B"], expected_version=version)


def test_the_identity_of_an_older_version_is_that_of_the_table_it_belonged_to(home: Home) -> None:
    home.create("patterns", {"made": 1})
    first = home.identity("patterns")
    home.create("patterns", {"made": 2}, replace=True)
    assert home.identity("patterns", 0) == first != home.identity("patterns", 1) == home.identity("patterns")
    with pytest.raises(HomeError, match="has no version 2"):
        home.identity("patterns", 2)
