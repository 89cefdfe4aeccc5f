"""Reading of a delivery: what comes of it does not depend on which thread was first, and large files are read alone."""

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars import reading, rows_to_check
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.reading import read_all
from kline_core.store.home import Home
from tests.support.packed import zipped

HEADER = "date,open,high,low,close,volume\n"


def rows(count: int, fault: bool = False) -> str:
    lines = [f"2020-01-{day:02},10,11,9,{'x' if fault and day % 2 else 10},5\n" for day in range(1, count + 1)]
    return HEADER + "".join(lines)


def delivery(folder: Path) -> list[Path]:
    folder.mkdir()
    for number in range(12):
        (folder / f"S{number:02}.csv").write_text(rows(4, fault=number % 3 == 0))
    (folder / "T.csv").write_text("x")
    (folder / "Z.zip").write_bytes(zipped({"U.csv": rows(2).encode(), "V.csv": b"x", "w.doc": b""}))
    return sorted(folder.iterdir())


def summary(files: list[Path], max_bytes: int = 10**6) -> tuple[object, ...]:
    found = read_all({str(file): file for file in files}, max_bytes)
    parts = [(part.source, part.read, len(part.bars), part.rejected.to_dict("records")) for part in found.parts]
    return found.names, parts, found.errors, found.skipped


@pytest.mark.slow
def test_the_order_is_that_of_the_delivery_whoever_was_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = delivery(tmp_path / "in")
    monkeypatch.setattr(reading, "CORE_COUNT", 1)
    alone = summary(files)
    monkeypatch.setattr(reading, "CORE_COUNT", 4)
    real, names, later = reading.tables, set(), threading.Event()

    def uneven(path: Path, *others: object) -> object:
        names.add(threading.current_thread().name)
        if path == files[0]:
            assert later.wait(60), "another thread reads on"
        found = list(real(path, *others))
        if path != files[0]:
            later.set()
        return found

    monkeypatch.setattr(reading, "tables", uneven)
    assert summary(files) == alone
    assert len(names) > 1
    assert alone[0][-2:] == [f"{files[-1]}/U.csv", f"{files[-1]}/V.csv"]


def test_progress_is_told_file_by_file(tmp_path: Path) -> None:
    files, told = delivery(tmp_path / "in"), []
    read_all({str(file): file for file in files}, 10**6, progress=lambda *counts: told.append(counts))
    assert told == [(number, len(files)) for number in range(1, len(files) + 1)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: zipped({"LARGE.csv": data})])
def test_a_large_file_is_read_alone_and_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack) -> None:
    monkeypatch.setattr(reading, "CORE_COUNT", 4)
    monkeypatch.setattr(reading, "SMALL_BYTES", 100)
    for number in range(3):
        (tmp_path / f"S{number}.csv").write_text(rows(1))
        (tmp_path / f"L{number}.csv").write_bytes(pack(rows(9).encode()))
    files = sorted(tmp_path.glob("*.csv"))
    main, real, large = threading.current_thread(), rows_to_check.check_rows, []

    def seen(frame: pd.DataFrame, *others: object) -> object:
        if len(frame) == 9:
            large.append(threading.current_thread() is main)
        return real(frame, *others)

    monkeypatch.setattr(rows_to_check, "check_rows", seen)
    found = read_all({str(file): file for file in files}, 10**6)
    assert [part.read for part in found.parts] == [9, 9, 9, 1, 1, 1]
    assert large == [True] * 3
    refused = read_all({str(file): file for file in files}, 200)
    assert [part.read for part in refused.parts] == [1, 1, 1]
    assert all("holds more than 200 bytes" in error for error in refused.errors.values())


def test_a_stop_leaves_no_file_to_be_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = delivery(tmp_path / "in")
    monkeypatch.setattr(reading, "CORE_COUNT", 2)
    monkeypatch.setattr(reading, "_GROUP_BYTES", 0)
    real, read = reading.tables, []

    stopped = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(False, cancel_futures=cancel_futures)
            stopped.set()
            super().shutdown(wait)

    def held(path: Path, *others: object) -> object:
        read.append(path)
        if path != files[0]:
            assert stopped.wait(60), "it was stopped"
        return real(path, *others)

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(reading, "tables", held)
    with pytest.raises(KeyboardInterrupt):
        read_all({str(file): file for file in files}, 10**6, progress=stop)
    assert len(read) < len(files)


def test_memory_that_runs_out_is_the_error_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    (tmp_path / "A.csv").write_text(rows(2))
    monkeypatch.setattr(rows_to_check, "check_rows", broken)
    with pytest.raises(NothingUsableError, match=r"A\.csv: cannot be read: MemoryError: ; write it anew"):
        ingest([tmp_path / "A.csv"], Home(tmp_path / "home", create=True))


DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9)]
SOUND = [f"{day},10,11,9,10.5,500" for day in DAYS]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A small file: mostly sound rows, and what vendors make of some of them."""
    rows = list(SOUND[: draw(st.integers(1, 6))])
    for _ in range(draw(st.integers(0, 2))):
        at, row = draw(st.integers(0, len(rows) - 1)), draw(st.sampled_from(ODD))
        rows[at] = row if draw(st.booleans()) else f"{DAYS[at]}{row[10:]}"
    header, symbol = draw(st.sampled_from([(HEADER, ""), (f"symbol,{HEADER}", draw(st.sampled_from(SYMBOLS)))]))
    if symbol:
        rows = [f"{symbol},{row}" for row in rows]
    lines = [*draw(st.sampled_from([[], ["a title"]])), header.strip(), *rows]
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


ODD = [
    "2024-01-10,10,11,9,10.5,500",
    "2024/01/10,10,11,9,10.5,500",
    "20240110,10,11,9,10.5,500",
    "2024-02-30,10,11,9,10.5,500",
    "2024-01-10,10,8,9,10.5,500",
    "2024-01-10,10,11,9,,500",
    "2024-01-10,0,0,0,10.5,0",
    "2024-01-10,10,11,9,11.0000001,1e-39",
    "2024-01-10,10,11,9,nan,500",
    "2024-01-10,10,11,9, 10.5 ,500",
    '2024-01-10,10,11,9,"10.5",500',
    '2024-01-10,10,11,9,"10.5,500',
    "2024-01-10,10,11,9,1e13,inf",
    "2024-01-10,10,11",
    "",
]
SYMBOLS = ["AAPL", "600519", "sh600519", "a b", "", "700.HK"]


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from(["AAPL", "600519", "000001", "MSFT", "x y"]), texts()), min_size=2, max_size=5)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_read_together_are_as_read_alone(tmp_path: Path, files: list[tuple[str, str]]) -> None:
    folder = Path(mkdtemp(dir=tmp_path))
    paths = []
    for number, (name, text) in enumerate(files):
        (folder / str(number)).mkdir()
        paths.append(folder / str(number) / f"{name}.csv")
        paths[-1].write_text(text)
    with patch.object(reading, "CORE_COUNT", 1):
        together = read_all({str(path): path for path in paths}, 10**6)
        alone = [read_all({str(path): path}, 10**6) for path in paths]
    assert together.errors == {name: error for found in alone for name, error in found.errors.items()}
    parts = [part for found in alone for part in found.parts]
    assert [part.source for part in together.parts] == [part.source for part in parts]
    for one, other in zip(together.parts, parts, strict=True):
        pd.testing.assert_frame_equal(one.bars, other.bars)
        pd.testing.assert_frame_equal(one.rejected, other.rejected)
        assert replace(one, rows=other.rows, rejected=other.rejected) == other
