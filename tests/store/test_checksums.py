"""Data files that changed without a commit are told from what was written, wherever they are read."""

import hashlib
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kline_core as kl
from kline_core import _cache
from kline_core.bars.bars_cache import BarsKey
from kline_core.errors import HomeError
from kline_core.maintenance.upkeep import vacuum
from kline_core.store import checksums
from kline_core.store.home import Home
from tests.support.bench import Bench
from tests.support.damage import flip
from tests.support.examples import examples
from tests.support.homes import SMALL, market
from tests.support.reads import reads_of_files
from tests.support.tables import bar_rows

DAMAGED = r"cannot read table bars of home .*: its file {} is not what was written.*the bars are damaged: restore"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", create=True)


def only_file(home: Home, table: str = "bars") -> Path:
    (name,) = home.files(table)
    assert home.folder is not None
    return home.folder / table / name


@pytest.mark.slow
def test_every_write_gives_its_files_a_checksum_that_other_programs_can_check(home: Home) -> None:
    home.append("bars", bar_rows("A", 3))
    home.upsert("bars", bar_rows("A", 4, close=11.0), ["symbol", "date"])
    home.replace("bars", bar_rows("A", 2), ["A"])
    home.append("bars", bar_rows("B", 2))
    home.delete("bars", ["B"])
    home.append("bars", bar_rows("C", 2))
    home.compact("bars", 2**20)
    have = checksums.recorded(home.storage("bars"))
    assert home.folder is not None
    for name in home.files("bars"):
        assert have[name] == hashlib.sha256((home.folder / "bars" / name).read_bytes()).hexdigest()
    assert home.unchecked("bars") == home.unchecked("factors") == []
    lists = sorted(str(path) for path in (home.folder / "bars" / "_checksums").iterdir())
    command = ["sha256sum", "--check", *lists]
    assert subprocess.run(command, cwd=home.folder / "bars", capture_output=True).returncode == 0


@pytest.mark.slow
@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_whichever_bytes_change_the_file_is_named(home: Home, share: float) -> None:
    if home.version("bars") == 0:
        home.append("bars", bar_rows("A", 30))
    path = only_file(home)
    before = path.read_bytes()
    flip(path, int(share * (len(before) - 8)))
    with pytest.raises(HomeError, match=DAMAGED.format(path.name)) as caught:
        home.read("bars", ["close"])
    assert "\n" not in str(caught.value)
    path.write_bytes(before)
    assert home.read("bars").num_rows == 30


def test_writes_that_would_carry_the_damage_on_are_refused(home: Home) -> None:
    home.append("bars", bar_rows("A", 30))
    home.append("bars", bar_rows("B", 1))
    path = next(home.folder / "bars" / name for name in home.files("bars", 1))  # type: ignore[operator]
    flip(path)
    version = home.version("bars")
    for write in (
        lambda: home.upsert("bars", bar_rows("A", 1, close=11.0), ["symbol", "date"]),
        lambda: home.replace("bars", bar_rows("A", 2), ["A"]),
        lambda: home.delete("bars", ["B"]),
        lambda: home.compact("bars", 2**20),
    ):
        with pytest.raises(HomeError, match=f"its file {path.name} is not what was written"):
            write()
    assert home.version("bars") == version
    # What is added does not touch it.
    home.append("bars", bar_rows("C", 1))


def test_files_without_a_checksum_are_read_as_before_until_the_next_write(home: Home) -> None:
    home.append("bars", bar_rows("A", 3))
    assert home.folder is not None
    shutil.rmtree(home.folder / "bars" / "_checksums")
    assert home.read("bars").num_rows == 3
    assert home.unchecked("bars") == sorted(home.files("bars"))
    (note,) = (note for note in kl.verify(home).notes if "checksum" in note)
    assert note.startswith(f"1 files of bars have no checksum, such as {only_file(home).name}")
    first = only_file(home)
    home.append("bars", bar_rows("B", 3))
    assert home.unchecked("bars") == []
    flip(first)
    with pytest.raises(HomeError, match=first.name):
        home.read("bars")


def test_a_checksum_that_a_crash_cut_off_is_none(home: Home) -> None:
    home.append("bars", bar_rows("A", 3))
    assert home.folder is not None
    (mark,) = (home.folder / "bars" / "_checksums").glob("*.parquet.*")
    mark.write_bytes(b"")
    assert home.unchecked("bars") == []
    flip(only_file(home))
    with pytest.raises(HomeError, match="is not what was written"):
        home.read("bars")


def test_added_rows_are_checked_too(home: Home) -> None:
    old = home.append("bars", bar_rows("A", 3))
    files = home.files("bars", old)
    new = home.append("bars", bar_rows("B", 30))
    (name,) = home.files("bars").keys() - files.keys()
    flip(home.folder / "bars" / name)  # type: ignore[operator]
    with pytest.raises(HomeError, match=DAMAGED.format(name)):
        home.appended("bars", ["symbol"], files.keys(), new)


@contextmanager
def unwritable(home: Home, table: str = "bars") -> Iterator[None]:
    """No checksum can be written, whoever tries: a file lies where their folder would."""
    assert home.folder is not None
    place = home.folder / table / checksums.FOLDER
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        place.rename(place.with_name("aside"))
    place.write_text("")
    yield
    place.unlink()
    if place.with_name("aside").exists():
        place.with_name("aside").rename(place)


@pytest.mark.slow
def test_a_checksum_that_cannot_be_written_takes_no_result_away(
    home: Home, small_weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A write returns its version and a command its report; the next write makes the checksums."""

    def warnings() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        caplog.clear()
        return found

    bars = market(2, 40).drop(columns="suspended")
    with unwritable(home):
        report = kl.ingest(home, bars)
        assert (report.stored_new, report.version) == (80, 1)
        (said,) = warnings()
        assert re.fullmatch(
            "table bars .* holds what was written, as version 1, but the checksums of its files could not be written: "
            f".*; see that {home.uri}/bars/_checksums can be written, the next write to the table then makes them",
            said,
        )
        restated = kl.ingest(home, bars.assign(volume=bars["volume"] + 1))
        assert (restated.updated, restated.restated) == (80, ["S00000", "S00001"])
        assert kl.ingest(home, market(1, 3, prefix="T").drop(columns="suspended")).changed
        assert home.compact("bars", 2**20) == 4
        assert len(warnings()) == 3
        assert len(home.unchecked("bars")) == 1
    with unwritable(home, "patterns"):
        made = kl.update_patterns(home, settings=SMALL, encoder=small_weights, device="cpu")
        assert made.added == made.total > 0
        assert warnings()[-1].startswith("table patterns of home")
    assert kl.ingest(home, market(1, 3, prefix="U").drop(columns="suspended")).changed
    assert home.unchecked("bars") == []


@pytest.mark.slow
def test_a_command_whose_checksums_cannot_be_written_shows_its_report_and_a_warning(home: Home, tmp_path: Path) -> None:
    market(1, 3).to_csv(tmp_path / "bars.csv", index=False)
    command = [sys.executable, "-m", "kline_core.cli", "--home", home.uri, "ingest", str(tmp_path / "bars.csv")]
    with unwritable(home):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("3 rows read = 3 new + ")
    assert "but the checksums of its files could not be written: " in done.stderr


def test_checksums_go_with_their_files(home: Home) -> None:
    home.append("bars", bar_rows("A", 3))
    home.replace("bars", bar_rows("A", 2), ["A"])
    vacuum(home, now=datetime.now(UTC) + timedelta(days=400))
    assert checksums.recorded(home.storage("bars")).keys() == home.files("bars").keys()


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_damaged_bars_are_called_so_by_every_command_and_a_copy_heals_them(
    tmp_path, small_weights, in_process, monkeypatch
):
    bench = Bench.of(tmp_path / "home", market(2, 40), weights=small_weights)
    bench.run(in_process, samples=5)
    path = only_file(bench.home)
    shutil.copy(path, tmp_path / "copy")
    bars = bench.home.read("bars")
    patterns, values = bench.home.read("patterns"), bench.rows("factors")
    flip(path)
    named = f"its file {path.name} is not what was written"
    for command in (
        lambda: kl.update_patterns(bench.home, settings=bench.settings.patterns, encoder=small_weights, device="cpu"),
        lambda: kl.ingest(bench.home, bars.slice(0, 3).to_pandas().drop(columns="suspended")),
        lambda: BarsKey.newest(bench.home).load(),
        lambda: bench.run(in_process, samples=6),
    ):
        # A process that holds the bars goes on with them; each of these is a new one.
        monkeypatch.setattr(_cache, "_caches", {})
        with pytest.raises(HomeError, match=named):
            command()
    report = kl.verify(bench.home, settings=bench.settings, encoder=small_weights)
    (finding,) = (finding for finding in report.findings if finding.table == "bars")
    assert named in str(finding)
    assert bench.home.read("patterns").equals(patterns)
    shutil.copy(tmp_path / "copy", path)
    assert bench.run(in_process, samples=5).count("done") == 0
    assert bench.rows("factors") == values
    assert kl.verify(bench.home, settings=bench.settings, encoder=small_weights).ok


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_damaged_patterns_are_made_again_by_a_rebuild(tmp_path, small_weights):
    bench = Bench.of(tmp_path / "home", market(2, 40), weights=small_weights)
    before = bench.home.read("patterns")
    flip(only_file(bench.home, "patterns"))
    with pytest.raises(HomeError, match=r"table patterns .* is not what was written.*`kline index --rebuild`"):
        bench.home.read("patterns")
    kl.update_patterns(bench.home, settings=bench.settings.patterns, encoder=small_weights, device="cpu", rebuild=True)
    after = bench.home.read("patterns")
    order = [("known_on", "ascending"), ("symbol", "ascending"), ("end", "ascending")]
    assert after.sort_by(order).equals(before.sort_by(order))


@pytest.mark.slow
def test_rows_are_those_that_an_unchecked_read_gives(home: Home) -> None:
    for number in range(3):
        home.append("bars", pa.concat_tables([bar_rows(f"S{number}", 5), bar_rows(f"T{number}", 5)]))
    home.upsert("bars", bar_rows("S1", 7, close=11.0), ["symbol", "date"])
    rows = home.read("bars", ["close", "symbol"], symbols=["S1", "T2"])
    assert rows.column_names == ["close", "symbol"]
    assert sorted(rows["close"].to_pylist()) == [10.0] * 5 + [11.0] * 7
    assert home.read("bars", [], symbols=["S1"]).num_columns == 0
    assert np.all(home.read("bars", symbols=["none"]).num_rows == 0)


def test_symbols_come_a_file_at_a_time_and_no_more_files_are_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.append("bars", pa.concat_tables([bar_rows("A", 1), bar_rows("B", 1)]))
    home.append("bars", pa.concat_tables([bar_rows(f"C{number}", 400) for number in range(9)]))
    version = home.append("bars", bar_rows("A", 2))
    read = reads_of_files(monkeypatch)
    found = home.symbols_by_file(version)
    assert not read
    assert (next(found), next(found)) in [({"A"}, {"A", "B"}), ({"A", "B"}, {"A"})]
    assert sum(read.values()) == 2
    assert len(next(found)) == 9
    assert next(found, None) is None
    assert home.symbols() == home.symbols(version) == ["A", "B", *(f"C{number}" for number in range(9))]


def test_a_damaged_file_whose_symbols_are_asked_for_is_named(home: Home) -> None:
    first = home.append("bars", bar_rows("A", 300))
    (large,) = home.files("bars", first)
    version = home.append("bars", bar_rows("B", 1))
    flip(home.folder / "bars" / large)  # type: ignore[operator]
    found = home.symbols_by_file(version)
    assert next(found) == {"B"}
    with pytest.raises(HomeError, match=DAMAGED.format(large)):
        next(found)
    with pytest.raises(HomeError, match=DAMAGED.format(large)):
        home.symbols()
