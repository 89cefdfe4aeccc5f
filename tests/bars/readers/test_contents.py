import gzip
import os
import socket
from pathlib import Path

import pytest

from kline_core.bars.readers.contents import read_contents
from kline_core.errors import InputError


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    for name, data in (("a.csv", b"12345"), ("a.CSV.GZ", gzip.compress(b"123") + gzip.compress(b"45"))):
        (tmp_path / name).write_bytes(data)
        assert read_contents(tmp_path / name, 50) == b"12345"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_more_than_the_bound_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    data = b"\n" * 100_000
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(InputError, match=f"{name}: holds more than 9999 bytes, unpacked; .*--max-file-bytes"):
        read_contents(tmp_path / name, 9999)


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
    whole = gzip.compress(os.urandom(5000))
    for data in (whole[:-9], whole[:2000] + b"x" + whole[2001:], whole + b"junk", b"no gzip"):
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
