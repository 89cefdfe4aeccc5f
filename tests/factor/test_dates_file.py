import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kline_core.errors import InputError
from kline_core.factor.dates_file import read_dates


def read(path: Path, data: bytes) -> dict[str, list[str]]:
    path.write_bytes(data)
    return {symbol: days.astype(str).tolist() for symbol, days in read_dates(path).items()}


@pytest.mark.parametrize(
    "text",
    [
        "symbol,date\nA,2020-01-03\nA,2020-01-02\nBRK.B,20200102\n",
        "\ufeffsymbol,date\r\nA,2020-01-03\r\n\r\nA,2020-01-02\r\nBRK.B,2020/1/2",
        "Date , SYMBOL\n2020-01-03,A\n2020-01-03,A\n2020-01-02, A \n2020-01-02,BRK.B\n\n\n",
        'symbol,"date",note\n"A","2020-01-03","x, y"\nA,2020-01-02,\nBRK.B,2020-01-02,"a ""b"""\n,,\n',
    ],
)
def test_every_way_to_write_the_same_samples(tmp_path: Path, text: str) -> None:
    wanted = {"A": ["2020-01-02", "2020-01-03"], "BRK.B": ["2020-01-02"]}
    assert read(tmp_path / "dates.csv", text.encode()) == wanted
    lines = text.encode().splitlines(keepends=True)
    packed = gzip.compress(lines[0]) + gzip.compress(b"".join(lines[1:]))
    assert read(tmp_path / "dates.CSV.gz", packed) == wanted
    assert read_dates(tmp_path / "dates.csv")["A"].dtype == np.dtype("datetime64[D]")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "symbol,date\nA,2020-01-02\nA,B,2020-01-03\n",
            "row 3: the row has not the 2 cells of the header: 'A,B,2020",
        ),
        ("symbol,date\nA,2020-01-02,x\nB,2020-01-02,x\n", "row 2: the row has not the 2 cells"),
        ("symbol,date,note\n\nA,2020-01-02\n", "row 3: the row has not the 3 cells"),
        ('symbol,date\nA,"2020-01-02\nB,2020-01-02\n', "row 2: the row has a quote or a CR out of place"),
        ("A,2020-01-02\n", "column symbol is missing; its first line is 'A,2020-01-02', and must name"),
        ("symbol;date\nA;2020-01-02\n", "column symbol is missing; its first line is 'symbol;date'"),
        ("symbol,day\nA,2020-01-02\n", "column date is missing"),
        ("symbol,date,Symbol\nA,2020-01-02,B\n", "column symbol is there more than once"),
        ("symbol,date\n", "names no sample"),
        ("", "is empty"),
        ("symbol,date\rA,2020-01-02\r", "lines end in CR alone"),
        ("symbol,date\nA,\n", "row 2: date is ''"),
        ("symbol,date\n,2020-01-02\n", "row 2: symbol is ''"),
        ("symbol,date\n\n\n../x,2020-01-02\n", r"row 4: symbol is '\.\./x'"),
        ("symbol,date\nA,2020-01-02 09:30\n", "row 2: date is"),
    ],
)
def test_what_could_be_misread_is_refused_by_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path / "dates.csv", text.encode())
    assert "\n" not in str(caught.value)


def test_symbols_are_taken_as_they_are_written(tmp_path: Path) -> None:
    written = ["SH#600519", "sh600519", "1", "NaN", "RDS/A"]
    lines = ["symbol,date", *(f"{symbol},2020-01-02" for symbol in written)]
    found = read(tmp_path / "dates.csv", "\n".join(lines).encode())
    assert found == {symbol: ["2020-01-02"] for symbol in written}


def test_archives_and_other_encodings_are_refused_in_a_sentence(tmp_path: Path) -> None:
    text = b"symbol,date\nA,2020-01-02\n"
    packed = gzip.compress(text)
    with zipfile.ZipFile(tmp_path / "dates.zip", "w") as archive:
        archive.writestr("a.csv", text)
    for name, data, says in (
        ("dates.zip", (tmp_path / "dates.zip").read_bytes(), "is packed with zip; give the CSV unpacked"),
        ("dates.csv.gz", packed[:-5], "cannot be read: .*; deliver it again"),
        ("dates.csv.gz", packed + b"x", "cannot be read: .*; deliver it again"),
        ("dates.csv", text.decode().encode("utf-16"), "line 1 is not UTF-8"),
        ("dates.csv", text + "股,2020-01-02\n".encode("gbk"), "line 3 is not UTF-8"),
    ):
        with pytest.raises(InputError, match=says):
            read(tmp_path / name, data)
    (tmp_path / "dates").mkdir()
    with pytest.raises(InputError, match="dates: is a folder"):
        read_dates(tmp_path / "dates")
    (tmp_path / "dates.csv").write_bytes(text + b"\n" * 100)
    with pytest.raises(InputError, match="holds more than 99 bytes"):
        read_dates(tmp_path / "dates.csv", 99)
