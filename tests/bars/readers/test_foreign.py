"""Files that are no tables: each says what it is and what to deliver, and none is opened by a program of its kind."""

import bz2
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kline_core.bars.readers import read_file
from kline_core.bars.readers.foreign import foreign_kind
from kline_core.errors import InputError
from tests.support.packed import zipped


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, kind)
    return out.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table bars (symbol text)")
    data = connection.serialize()
    connection.close()
    return data


def tape() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        file.addfile(tarfile.TarInfo("600519.csv"), io.BytesIO())
    return out.getvalue()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit",)


PAGE = b"\xef\xbb\xbf\r\n<!DOCTYPE html><html><title>Login</title>"
FOREIGN = {
    "a web page and no table, which says: Login": [PAGE],
    "a web page": [b"<html>\n", b" <HTML lang='x'>", b"<!-- x -->", b"<table border=1>"],
    "XML": [b"<?xml version='1.0'?><Workbook/>"],
    "JSON": [
        json.dumps({"Information": "our standard API rate limit is 25 requests per day"}).encode(),
        b"[]",
        b"{}",
        b'[\n  {"date": 1}]',
        b"[[1]]",
        b"[1, 2]",
        b"{\n",
        json.dumps([{"a": 1}], indent=1).encode(),
    ],
    "a PDF": [b"%PDF-1.7\n"],
    "a picture": [picture(kind) for kind in ("PNG", "JPEG", "GIF", "WEBP")],
    "an SQLite database": [database()],
    "a DuckDB database": [b"\x01" * 8 + b"DUCK" + b"\0" * 99],
    "an HDF5 file": [b"\x89HDF\r\n\x1a\n" + b"\0" * 9],
    "a pickle, which can run any program": [pickle.dumps(Bomb(), version) for version in (2, 3, 4, 5)],
    "a NumPy array": [array()],
    "packed in a way that is not read": [
        lzma.compress(b"x"),
        bz2.compress(b"x"),
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\0",
    ],
    "a tar archive": [tape()],
    "an old or encrypted Office file (.xls)": [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600],
    "Feather of version 1": [b"FEA1" + b"\0" * 9],
    "an ORC or Avro file": [b"ORC\x08\x03", b"Obj\x01\x04"],
}


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, all_ in FOREIGN.items() for data in all_])
@pytest.mark.parametrize("name", ["600519.csv", "600519.parquet", "600519.zip"])
def test_what_it_is_and_what_to_deliver(tmp_path: Path, kind: str, data: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(zipped({"600519.csv": data}) if name.endswith("zip") else data)
    with pytest.raises(InputError) as caught:
        read_file(path)
    assert f": is {kind}" in str(caught.value)
    assert "; " in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "header",
    [
        "date,open,high,low,close,volume",
        "<TICKER>,<PER>,<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "<DATE>;<OPEN>",
        "{close},date",
        "[close],date",
        "$close,date",
        "ORCL,BM,ORC",
        "PK,BZ,GIF,Rar",
        '"Date","Open"',
        "-日期,开盘",
        "",
        " ",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
def test_headers_are_headers_whatever_they_look_like(header: str, encoding: str) -> None:
    assert foreign_kind(header.encode(encoding)) is None


@pytest.mark.slow
def test_binary_days_are_no_other_kind() -> None:
    days = np.arange("1990-01-01", "2040-01-01", dtype="datetime64[D]").astype(str)
    for day in days:
        assert foreign_kind(int(day.replace("-", "")).to_bytes(4, "little") + bytes(28)) is None
