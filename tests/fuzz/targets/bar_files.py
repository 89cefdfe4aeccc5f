"""Files of bars: CSV, packed CSV and Parquet, by the reader and the row checks, and by a whole ingest."""

import gzip
import random
import shutil
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.readers import read_file
from kline_core.bars.row_checks import CheckedRows, check_rows, reject_duplicates
from kline_core.store.home import Home
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Taken, Target, check, check_line
from tests.naive import is_sound_bar

MAX_BYTES = 64 * 2**20
_TEXT = (
    b"symbol,date,open,high,low,close,volume,amount,adj_factor\n"
    b"AAPL,2020-01-02,10,11,9,10.5,1000,1e4,1\nAAPL,20200103,10.5,10.5,10.5,10.5,0,,1.5\n"
    b"MSFT,2020/1/2,1e-3,2e3,.001,5,,,1\n"
)
GUIDED = ("/bars/", "kline_core/dates.py", "kline_core/symbols.py")


def texts(_folder: Path) -> list[bytes]:
    quoted = b'\xef\xbb\xbfDate,"SYMBOL",Open,High,Low,Close,Volume,note\r\n2020-01-02,"A",1,2,1,2,3,"x, ""y"""\r\n\r\n'
    bare = b"date,open,high,low,close,volume\n2020-01-02,1,2,1,2,3\n2020-01-02,1,2,1,2,3\n2020-01-03,1,2,1,2\n"
    return [_TEXT, quoted, bare, _TEXT.replace(b"1e4", b"nan"), _TEXT + b"AAPL,2020-01-02,9,9,9,9,9,9,1\n"]


def packed(folder: Path) -> list[bytes]:
    return [gzip.compress(text, mtime=0) for text in texts(folder)] + [
        gzip.compress(_TEXT)[:40],
        gzip.compress(b"\n" * 10**6),
    ]


def mutate_packed(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    """The packed text is mutated and packed again, or the bytes are: most changes of these break the checksum alone."""
    if draw.random() < 0.5:
        try:
            inner = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            inner = _TEXT
        return gzip.compress(mutate_bytes(draw, inner, [_TEXT]), draw.choice((0, 1, 9)), mtime=0)
    return mutate_bytes(draw, data, kept)


def parquet_files(folder: Path) -> list[bytes]:
    """Small files with every type that a column may have, and some that it may not, in all compressions."""
    folder.mkdir(exist_ok=True)
    days = pd.Series(pd.to_datetime(["2020-01-02", "2020-01-03", "2020-01-06"]))
    frame = pd.DataFrame({"symbol": ["A", "A", "B"], "date": days, **{name: [1.0, 2, 3] for name in _numbers()}})
    plain = pa.Table.from_pandas(frame, preserve_index=False)
    kinds = {
        "date": [pa.date32(), pa.date64(), pa.timestamp("ns"), pa.timestamp("us", "Asia/Shanghai"), pa.timestamp("s")],
        "volume": [pa.int64(), pa.uint8(), pa.float32(), pa.float16(), pa.decimal128(9, 2), pa.string(), pa.bool_()],
        "symbol": [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary(), pa.string_view()],
    }
    tables = [plain, plain.slice(0, 0), plain.append_column("note", pa.array([[1], None, [2, 3]]))]
    for name, types in kinds.items():
        at = plain.column_names.index(name)
        tables += [plain.set_column(at, name, plain[name].cast(kind)) for kind in types]
    found = []
    for at, table in enumerate(tables):
        out = pa.BufferOutputStream()
        pq.write_table(
            table,
            out,
            compression=("none", "snappy", "gzip", "zstd", "lz4", "brotli")[at % 6],
            use_dictionary=at % 2 == 0,
            data_page_version=("1.0", "2.0")[at % 2],
            write_page_index=at % 3 == 0,
        )
        found.append(out.getvalue().to_pybytes())
    for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        out = pa.BufferOutputStream()
        pq.write_table(plain, out, use_dictionary=False, column_encoding={"symbol": encoding})
        found.append(out.getvalue().to_pybytes())
    return found


def _numbers() -> tuple[str, ...]:
    return ("open", "high", "low", "close", "volume")


def take_text(case: bytes, work: Path) -> Taken:
    """Checks, beside the rows, that the quick way and the way line by line give the same of every line."""
    taken, checked = _taken(work / "A.csv", case)
    if b'"' not in case:
        _check_count(case, len(checked.bars) + taken.rejected)
    # A line that is none at the end makes the reader look at every line.
    slow, again = _taken(work / "A.csv", case.rstrip(b"\r\n") + b'\n"')
    check(slow.rejected == taken.rejected + 1, f"line by line {slow.rejected} rows are rejected, not {taken.rejected}")
    pd.testing.assert_frame_equal(again.bars, checked.bars)
    return taken


def _check_count(case: bytes, counted: int) -> None:
    """Every line below the names of the columns is accounted for; above them are titles, and no bars."""
    lines = [line.strip(b"\r") for line in case.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    for at, names in enumerate(lines):
        rows = [line for line in lines[at + 1 :] if line not in (b"", b"," * names.count(b","))]
        if counted == len(rows):
            return
        if sum(map(_is_number, names.split(b","))) >= 4:
            break
    check(False, f"{counted} rows are accounted for, of {lines[1:6]!r}")


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def take_packed(case: bytes, work: Path) -> Taken:
    return _taken(work / "A.csv.gz", case)[0]


def take_parquet(case: bytes, work: Path) -> Taken:
    taken, checked = _taken(work / "bars.parquet", case)
    rows = pq.read_metadata(pa.BufferReader(case)).num_rows
    check(rows == len(checked.bars) + taken.rejected, f"{rows} rows, of which {len(checked.bars)} and {taken.rejected}")
    return taken


def _taken(file: Path, case: bytes) -> tuple[Taken, CheckedRows]:
    file.write_bytes(case)
    raw = read_file(file, MAX_BYTES)
    checked = check_rows(raw.frame, str(file))
    read = len(raw.frame) + len(raw.malformed)
    check(len(checked.bars) + len(checked.rejected) + len(raw.malformed) == read, "rows are lost or doubled")
    check_sound(checked.bars)
    rejected = pd.concat([raw.malformed, checked.rejected])
    check_reasons(rejected)
    if len(checked.bars) < 2:
        return Taken(len(rejected)), checked
    kept, doubled = reject_duplicates(checked.bars, np.full(len(checked.bars), str(file), dtype=object))
    check(len(kept) + len(doubled) == len(checked.bars), "doubled rows are lost")
    check(not kept.duplicated(["symbol", "date"]).any() or bool(kept["adj_factor"].isna().any()), "two bars of one day")
    return Taken(len(rejected)), checked


def check_sound(bars: pd.DataFrame) -> None:
    """Raise `WrongError` for a bar that breaks a promise; of many, the first and last ones are looked at."""
    for row in pd.concat([bars.head(100), bars.iloc[100:].tail(100)]).itertuples():
        sound = is_sound_bar(row.symbol, row.open, row.high, row.low, row.close, row.volume)
        check(sound and 1800 <= row.date.year <= 2199, f"a bar is not sound: {row}")
        check(np.isnan(row.adj_factor) or 1e-12 <= row.adj_factor <= 1e12, f"a factor is not sound: {row}")


def check_reasons(rejected: pd.DataFrame) -> None:
    """Raise `WrongError` for a reason that is no line, or a cell that no file takes."""
    for row in rejected.head(100).itertuples():
        check_line(row.reason)
        for text in (row.symbol, row.value):
            check(isinstance(text, str), f"a cell is shown as {text!r:.100}")


def take_whole(case: bytes, work: Path) -> Taken:
    """A whole ingest, twice: the second changes nothing."""
    home, files = work / "home", work / "files"
    for folder in (home, files):
        shutil.rmtree(folder, ignore_errors=True)
    files.mkdir()
    (files / "A.csv").write_bytes(case)
    (files / "B.csv").write_bytes(_TEXT)
    shutil.copytree(_empty_home(work), home)
    store = Home(home)
    try:
        report = ingest([files], store, max_file_bytes=MAX_BYTES)
    except NothingUsableError as error:
        check(store.row_count("bars") == 0, "rows are stored of what cannot be used")
        check_line(str(error))
        raise
    for file in report.files:
        check(file.read == file.new + file.updated + file.unchanged + file.rejected, f"rows are lost: {file}")
        if file.error is not None:
            check_line(file.error)
    check(len(report.rejections) == sum(file.rejected for file in report.files), "rejections are lost")
    check_reasons(report.rejections)
    stored = store.read("bars").to_pandas()
    check(len(stored) == sum(file.new for file in report.files), "what is stored is not what is reported")
    check(not stored.duplicated(["symbol", "date"]).any(), "two bars of one day")
    check_sound(stored.assign(date=pd.to_datetime(stored["date"])).astype({"adj_factor": float}))
    check(not ingest([files], store, max_file_bytes=MAX_BYTES).changed, "the same files change something")
    return Taken(len(report.rejections))


@cache
def _empty_home(work: Path) -> Path:
    place = work / "empty"
    if not place.exists():
        Home(place, create=True)
    return place


CSV = Target(GUIDED, texts, take_text, mutate_bytes)
GZ = Target(GUIDED, packed, take_packed, mutate_packed)
PARQUET = Target(GUIDED, parquet_files, take_parquet, mutate_bytes)
INGEST = Target(GUIDED, texts, take_whole, mutate_bytes)
