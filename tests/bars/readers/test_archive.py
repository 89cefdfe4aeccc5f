"""Zip archives: each file in one is a file of its own, and nothing of it is written or takes more than the bound."""

import gzip
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.readers import archive, read_file, tables
from kline_core.errors import InputError
from kline_core.store.home import Home
from tests.support.examples import examples
from tests.support.packed import zipped, zstd
from tests.support.vendor_files import assert_accounted

ROWS = b"date,open,high,low,close,volume\n2020-01-02,10,11,9,10,5\n2020-01-03,10,11,9,10,5\n"


def refusal(path: Path, data: bytes, max_bytes: int = 10**6) -> str:
    path.write_bytes(data)

    def read_all() -> None:
        for _, read in tables(path, max_bytes):
            if read is not None:
                read()

    with pytest.raises(InputError) as caught:
        read_all()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["delivery.zip", "delivery.CSV", "delivery.csv.zip"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_of_one_file_is_that_file_whatever_it_is_called(tmp_path: Path, name: str, method: int) -> None:
    (tmp_path / name).write_bytes(zipped({"600519.csv": ROWS}, method))
    assert read_file(tmp_path / name).frame["symbol"].tolist() == ["600519.SH"] * 2


@pytest.mark.slow
def test_every_file_of_an_archive_stands_in_the_report(tmp_path: Path) -> None:
    path = tmp_path / "in" / "delivery.zip"
    path.parent.mkdir()
    members = {
        "600519.csv": ROWS,
        "deep/down/000001.csv.gz": gzip.compress(ROWS),
        "deep\\600000.csv.zst": zstd(ROWS),
        "read me.doc": b"x",
        "__MACOSX/._600519": b"x",
        "bad.csv": b"x",
        "600036.csv": ROWS.replace(b",11,", b",1,"),
        "deep/": b"",
    }
    path.write_bytes(zipped(members))
    (path.parent / "000002.csv").write_bytes(ROWS)
    report = ingest([path.parent], Home(tmp_path / "home", create=True))
    assert_accounted(report)
    found = {file.path.removeprefix(f"{path.parent}/"): (file.read, file.new, file.rejected) for file in report.files}
    assert found == {
        "000002.csv": (2, 2, 0),
        "delivery.zip/600519.csv": (2, 2, 0),
        "delivery.zip/deep/down/000001.csv.gz": (2, 2, 0),
        "delivery.zip/deep/600000.csv.zst": (2, 2, 0),
        "delivery.zip/bad.csv": (0, 0, 0),
        "delivery.zip/600036.csv": (2, 0, 2),
    }
    assert report.skipped == [f"{path}/read me.doc", f"{path}/__MACOSX/._600519"]
    assert len(report.errors) == 2
    assert sorted(path.parent.iterdir()) == [path.parent / "000002.csv", path]


@pytest.mark.slow
def test_files_of_the_same_name_are_several(tmp_path: Path) -> None:
    # The same length, so that the list of members stays as it is.
    (tmp_path / "a.zip").write_bytes(zipped({"600519.csv": ROWS, "600520.csv": ROWS}).replace(b"600520", b"600519"))
    report = ingest([tmp_path / "a.zip"], Home(tmp_path / "home", create=True))
    assert_accounted(report)
    assert [file.new for file in report.files] == [2, 0]
    assert report.files[1].path.endswith("600519.csv (2)")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["../600519.csv", "/etc/600519.csv", "a/../../600519.csv", "..\\600519.csv", "C:\\600519.csv"]
)
def test_names_that_lead_out_of_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    assert "its name leads out of the archive" in refusal(tmp_path / "a.zip", zipped({name: ROWS}))
    home = Home(tmp_path / "home", create=True)
    report = ingest([tmp_path / "a.zip", *ok(tmp_path)], home)
    assert [file.path.startswith(str(tmp_path)) for file in report.files] == [True, True]
    assert not list(tmp_path.parent.glob("*.csv"))


def ok(folder: Path) -> list[Path]:
    (folder / "600000.csv").write_bytes(ROWS)
    return [folder / "600000.csv"]


def test_names_in_the_encoding_of_a_chinese_windows(tmp_path: Path) -> None:
    name = "平安 600519.csv"
    data = bytearray(zipped({"x" * len(name.encode("gbk")): ROWS}))
    (tmp_path / "a.zip").write_bytes(bytes(data).replace(b"x" * len(name.encode("gbk")), name.encode("gbk")))
    ((path, _),) = tables(tmp_path / "a.zip")
    assert path == tmp_path / "a.zip" / name


def test_what_is_encrypted_or_packed_otherwise_says_so(tmp_path: Path) -> None:
    data = bytearray(zipped({"600519.csv": ROWS}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + place] |= 1
    assert "is encrypted; unpack it with its password" in refusal(tmp_path / "a.zip", bytes(data))
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        assert "another method than deflate" in refusal(tmp_path / "a.zip", zipped({"600519.csv": ROWS}, method))
    inner = zipped({"b.zip": zipped({"600519.csv": ROWS})})
    assert "is an archive within an archive" in refusal(tmp_path / "a.zip", inner)
    assert "holds no file that may be bars" in refusal(tmp_path / "a.zip", zipped({"a.doc": b"x"}))
    assert "holds no file that may be bars" in refusal(tmp_path / "a.zip", zipped({}))


def test_damage_is_of_the_file_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    data = zipped({"600519.csv": ROWS, "600000.csv": ROWS}, zipfile.ZIP_STORED)
    assert "cannot be read: File is not a zip file; deliver it again" in refusal(path, data[:-30])
    path.write_bytes(data.replace(b"2020-01-03", b"2020-01-09", 1))
    first, second = tables(path)
    with pytest.raises(InputError, match=r"a.zip/600519.csv: cannot be read: Bad CRC-32"):
        first[1]()
    assert len(second[1]().frame) == 2


@pytest.mark.slow
def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    tracemalloc.start()
    try:
        # Together they hold too much, and each alone does not.
        many = zipped({f"{number}.csv": bytes(10**6) for number in range(20)})
        tracemalloc.reset_peak()
        assert "holds more than 16000000 bytes" in refusal(path, many, 16 * 10**6)
        # An entry that claims to hold little gives no more than that.
        small = zipped({"600519.csv": ROWS + b"\n" * 10**6}).replace(
            struct.pack("<L", len(ROWS) + 10**6), struct.pack("<L", len(ROWS))
        )
        assert "Bad CRC-32" in refusal(path, small)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    # Packed once more within.
    nested = zipped({"600519.csv.gz": gzip.compress(bytes(10**8))})
    assert "holds more than 1000000 bytes" in refusal(path, nested)


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MOST_MEMBERS", 9)
    data = zipped({f"{number}.csv": b"" for number in range(10)})
    assert "holds more than 9 files; unpack it into a folder" in refusal(tmp_path / "a.zip", data)


WHOLE = zipped({"600519.csv": ROWS, "a.xlsx": b"x", "b/": b""})


@pytest.mark.slow
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(WHOLE)))
def test_whatever_changes_is_bars_or_one_line(tmp_path: Path, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(WHOLE)
    for at, byte in changes:
        data[at] = byte
    (tmp_path / "a.zip").write_bytes(bytes(data) if cut > len(data) // 2 else bytes(data[: max(cut, 4)]))
    home = Home(tmp_path / "home", create=True)
    try:
        report = ingest([tmp_path / "a.zip"], home, max_file_bytes=10**6)
    except NothingUsableError as error:
        report = error.report
    assert_accounted(report)
    assert all("\n" not in error and "Traceback" not in error for error in report.errors)
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "home"}


def test_zip64_is_an_archive_too(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, file.open("600519.csv", "w", force_zip64=True) as stream:
        stream.write(ROWS)
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    assert len(read_file(tmp_path / "a.zip").frame) == 2
