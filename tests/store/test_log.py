"""Log files that a crash left empty or cut off are named, with what heals them."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kline_core as kl
from kline_core.errors import HomeError
from kline_core.store.checksums import version_file
from kline_core.store.home import Home
from tests.support.examples import examples
from tests.support.homes import SMALL, add_bars, make_home, market
from tests.support.tables import KEYS, bar_rows, match_rows

NEWEST = r"its log file _delta_log/{:020}.json {}.*; restore it from a copy; or remove that file.* version {}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", create=True)


def log_file(home: Home, table: str, version: int) -> Path:
    assert home.folder is not None
    return home.folder / table / "_delta_log" / f"{version:020}.json"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\0" * 200, b'{"commitInfo":{}', b"[]", b"null"])
def test_a_newest_log_file_that_is_not_whole_is_damage(home: Home, content: bytes) -> None:
    home.append("bars", bar_rows("A", 2))
    home.append("bars", bar_rows("B", 2))
    log_file(home, "bars", 2).write_bytes(content)
    for use in (
        lambda: Home(home.uri),
        lambda: home.read("bars"),
        lambda: home.version("bars"),
        lambda: home.append("bars", bar_rows("C", 2)),
        lambda: home.files("bars"),
    ):
        with pytest.raises(HomeError, match=NEWEST.format(2, "is (empty|not whole)", 1)) as caught:
            use()
        assert "\n" not in str(caught.value)
    log_file(home, "bars", 2).unlink()
    (home.folder / "bars" / version_file(2)).unlink()
    assert set(home.read("bars")["symbol"].to_pylist()) == {"A"}
    assert home.append("bars", bar_rows("B", 2)) == 2
    assert home.read("bars").num_rows == 4


@pytest.mark.parametrize("table", ["bars", "matches"])
def test_a_newest_log_file_that_is_gone_is_damage(home: Home, table: str) -> None:
    """Without it the table would be the one before, and nothing in the log would tell."""
    rows = bar_rows("A", 2) if table == "bars" else match_rows([0], horizon=1)
    for _ in range(2):
        newest = home.append(table, rows)
    path = log_file(home, table, newest)
    whole, before = path.read_bytes(), home.read(table).num_rows
    path.unlink()
    note = home.folder / table / version_file(newest)
    gone = rf"{newest:020}\.json is gone, though version {newest} was written.* leaves version {newest - 1} of {table}"
    for use in (lambda: Home(home.uri).version(table), lambda: home.append(table, rows)):
        with pytest.raises(HomeError, match=gone) as caught:
            use()
        assert str(note.relative_to(home.folder / table)) in str(caught.value)
    path.write_bytes(whole)
    assert home.read(table).num_rows == before
    path.unlink()
    note.unlink()
    assert home.append(table, rows) == newest
    assert home.read(table).num_rows == before


@pytest.mark.slow
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.99))
def test_wherever_it_was_cut_off(home: Home, share: float) -> None:
    if home.version("matches") is None:
        home.append("matches", match_rows([0], horizon=1))
        home.upsert("matches", match_rows([0, 1], horizon=7), KEYS)
    path = log_file(home, "matches", home.version("matches") or 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(HomeError, match=r"table matches .*_delta_log/.*run again what ran last"):
        home.read("matches")
    path.write_bytes(whole)
    assert home.read("matches").num_rows == 2


@pytest.mark.slow
def test_a_file_cut_off_between_two_lines_is_not_whole(home: Home) -> None:
    """Delta would read a commit without its files, and so a table that lost them."""
    home.append("bars", bar_rows("A", 2))
    for write in (
        lambda: home.append("bars", bar_rows("B", 2)),
        lambda: home.upsert("bars", bar_rows("A", 3), ["symbol", "date"]),
        lambda: home.replace("bars", bar_rows("A", 1), ["A"]),
        lambda: home.append("bars", bar_rows("C", 2)),
        lambda: home.compact("bars", 2**20),
        lambda: home.delete("bars", ["B"]),
    ):
        path = log_file(home, "bars", write())
        lines = path.read_text().splitlines()
        assert len(lines) > 1
        path.write_text("\n".join(lines[:-1]))
        with pytest.raises(HomeError, match=r"is not whole \(it should add and remove \d files\)"):
            home.read("bars")
        path.write_text("\n".join(lines))
        home.read("bars")


def test_an_empty_log_file_further_back_is_damage_too(home: Home) -> None:
    for symbol in "ABC":
        home.append("bars", bar_rows(symbol, 2))
    log_file(home, "bars", 2).write_bytes(b"")
    with pytest.raises(HomeError, match=rf"{2:020}.json is empty; restore the home from a copy, or ingest all"):
        home.read("bars")


def test_a_log_file_further_back_that_delta_cannot_read_is_named(home: Home) -> None:
    for symbol in "ABC":
        home.append("bars", bar_rows(symbol, 2))
    log_file(home, "bars", 2).write_text("{")
    with pytest.raises(HomeError, match=rf"{2:020}.json is not whole"):
        home.read("bars")


@pytest.mark.slow
def test_bars_that_vanished_with_their_log_file_take_no_pattern_along(tmp_path: Path, small_weights: Path) -> None:
    frame = market()
    last = frame["date"].max()
    home = make_home(tmp_path / "home", frame[frame["date"] < last])
    add_bars(home, frame[frame["date"] == last])

    def index() -> int:
        return kl.update_patterns(home, settings=SMALL, encoder=small_weights, device="cpu").total

    total, version = index(), home.version("patterns")
    log_file(home, "bars", 2).write_bytes(b"")
    with pytest.raises(HomeError, match=NEWEST.format(2, "is empty", 1)):
        index()
    assert home.version("patterns") == version
    log_file(home, "bars", 2).unlink()
    (home.folder / "bars" / version_file(2)).unlink()
    add_bars(home, frame[frame["date"] == last])
    assert index() == total
    assert home.version("patterns") == version
    assert kl.verify(home, encoder=small_weights).ok


def test_verify_finds_a_log_file_that_is_not_whole(home: Home) -> None:
    home.append("factors", home.read("factors"))
    log_file(home, "factors", 1).write_bytes(b"")
    report = kl.verify(home)
    assert [(finding.table, finding.kind) for finding in report.findings] == [("factors", "table that cannot be read")]


def test_commits_of_other_writers_need_no_counts(home: Home) -> None:
    home.append("bars", bar_rows("A", 2))
    path = log_file(home, "bars", 1)
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps(action) for action in actions if "commitInfo" not in action))
    assert home.read("bars").num_rows == 2


@pytest.mark.parametrize(
    "content",
    [
        b'{"commitInfo":[]}',
        b'{"commitInfo":{"operationMetrics":[1]}}',
        b'{"commitInfo":{"operationMetrics":{"num_added_files":null}}}',
        b'{"commitInfo":{"operationMetrics":{"num_added_files":1e999}}}',
        b"[" * 100_000,
    ],
)
def test_a_newest_log_file_with_other_json_is_damage(home: Home, content: bytes) -> None:
    add_bars(home, market(1, 3))
    log_file(home, "bars", 1).write_bytes(content)
    with pytest.raises(HomeError, match=NEWEST.format(1, "is not whole", 0)):
        home.read("bars")
