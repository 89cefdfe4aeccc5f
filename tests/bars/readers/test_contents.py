import gzip
import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars.readers.contents import FileTooLargeError, read_contents
from kline_core.errors import InputError
from tests.support.examples import examples
from tests.support.packed import zstd


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    two = gzip.compress(b"123") + gzip.compress(b"45")
    for data in (b"12345", two, zstd(b"123") + zstd(b"45"), gzip.compress(zstd(b"12345"))):
        # What it is called says nothing.
        for name in ("a.csv", "a.CSV.GZ", "a.csv.zst"):
            (tmp_path / name).write_bytes(data)
            assert read_contents(tmp_path / name, 80) == b"12345"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd, lambda data: zstd(gzip.compress(data))])
def test_more_than_the_bound_is_refused_with_what_to_do(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    for size in (10_000, 100_000):
        (tmp_path / "a.csv").write_bytes(pack(b"\n" * size))
        with pytest.raises(FileTooLargeError, match=r"a.csv: holds more than 9999 bytes, unpacked; .*--max-file-bytes"):
            read_contents(tmp_path / "a.csv", 9999)
    (tmp_path / "a.csv").write_bytes(pack(b"\n" * 9999))
    assert len(read_contents(tmp_path / "a.csv", 9999)) == 9999


@pytest.mark.slow
def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    layer = gzip.compress(bytes(10**8), 9)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(layer * 20, 9))
    tracemalloc.start()
    try:
        with pytest.raises(FileTooLargeError):
            read_contents(tmp_path / "a.csv.gz", 2**23)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_contents_that_are_packed_again_and_again_are_refused(tmp_path: Path) -> None:
    data = b"12345"
    for _ in range(4):
        data = gzip.compress(data)
    (tmp_path / "a.csv.gz").write_bytes(data)
    with pytest.raises(InputError, match="is packed more than 3 times over; unpack it first"):
        read_contents(tmp_path / "a.csv.gz")


def test_what_is_no_regular_file_is_refused_by_name_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    monkeypatch.chdir(tmp_path)  # the path of a socket may be short only
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.csv")
        (tmp_path / "zero.csv").symlink_to("/dev/zero")
        (tmp_path / "folder.csv").mkdir()
        for name, kind in (("pipe", "pipe"), ("socket", "socket"), ("zero", "device"), ("folder", "folder")):
            with pytest.raises(InputError, match=f"{name}.csv: is a {kind}, no regular file; copy its contents"):
                read_contents(tmp_path / f"{name}.csv")


def test_damage_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    whole, other = gzip.compress(os.urandom(5000)), zstd(os.urandom(5000))
    damaged = [whole[:-9], whole[:2000] + b"x" + whole[2001:], whole + b"junk", whole[:9]]
    for data in (*damaged, other[:-9], other + b"junk", other[:5]):
        (tmp_path / "a.csv.gz").write_bytes(data)
        with pytest.raises(InputError, match=r"a\.csv\.gz: cannot be read: .*; deliver it again, whole"):
            read_contents(tmp_path / "a.csv.gz")
    with pytest.raises(
        InputError, match=r"nowhere\.csv: cannot be read: No such file or directory; name one that is there"
    ):
        read_contents(tmp_path / "nowhere.csv")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(InputError, match=r"loop\.csv: cannot be read: a link .* leads back to itself; name the file"):
        read_contents(tmp_path / "loop.csv")


@pytest.mark.slow
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", gzip.compress(b"a" * 99), zstd(b"a" * 99)]), st.binary())
def test_whatever_comes_is_contents_or_one_line(tmp_path: Path, begin: bytes, rest: bytes) -> None:
    for data in (begin + rest, begin[: len(rest)] + rest + begin[len(rest) :]):
        (tmp_path / "a.csv").write_bytes(data)
        try:
            assert len(read_contents(tmp_path / "a.csv", 10_000)) <= 10_000
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017  either is right
