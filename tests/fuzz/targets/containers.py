"""Files that hold others or are read by another library's reader: zip archives, Excel workbooks, Arrow IPC."""

import io
import random
import zipfile
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from kline_core.bars.readers import tables
from kline_core.bars.row_checks import check_rows
from kline_core.errors import InputError
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Taken, Target, check, check_line
from tests.fuzz.targets.bar_files import GUIDED, check_reasons, check_sound, parquet_files, texts

_MAX_BYTES = 16 * 2**20
_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, NotImplementedError, RuntimeError)


def archives(folder: Path) -> list[bytes]:
    """Archives with several files, folders, names that lead out, one within another, and none."""
    some = texts(folder)
    names = ["A.csv", "qfq/600519.csv", "../x.csv", "note.pdf", "数据.csv"]
    found = [_zipped(dict(zip(names, some, strict=True))), _zipped({"A.csv": some[2]}), _zipped({})]
    return [*found, _zipped({"a.zip": found[0], "b.csv.gz": b"\x1f\x8b\x08"}), found[0][:-30]]


def _zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 2, 0, 0, 0)), data, method)
    return out.getvalue()


def mutate_archive(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    """A member is mutated and packed again, or the bytes are: most changes of these break a checksum alone."""
    if draw.random() < 0.5:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                files = {name: archive.read(name) for name in archive.namelist()}
        except _DAMAGE:
            return mutate_bytes(draw, data, kept)
        if files:
            name = draw.choice(sorted(files))
            files[name] = mutate_bytes(draw, files[name], list(files.values()))
            return _zipped(files, draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return mutate_bytes(draw, data, kept)


def workbooks(folder: Path) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    bars = pd.DataFrame({"symbol": ["A", "B"], "date": pd.to_datetime(["2020-01-02", "2020-01-03"])})
    bars = bars.assign(**{name: [1.0, 2.0] for name in ("open", "high", "low", "close", "volume")})
    codes = bars.assign(symbol=[600519, 1], date=["2020-01-02", 43833])
    found = []
    for number, sheets in enumerate(
        ({"bars": bars}, {"A": bars, "notes": bars[["date"]], "B": codes}, {"x": bars[:0]})
    ):
        path = folder / f"{number}.xlsx"
        with pd.ExcelWriter(path, engine="openpyxl") as writer:
            for name, frame in sheets.items():
                frame.to_excel(writer, sheet_name=name, index=False)
        found.append(path.read_bytes())
    return found


def ipc_files(folder: Path) -> list[bytes]:
    """Feather files and streams of what the Parquet files hold, packed and not, with dictionaries."""
    found = []
    for at, data in enumerate(parquet_files(folder)[:14]):
        table = pq.read_table(pa.BufferReader(data))
        out = pa.BufferOutputStream()
        if at % 2:
            feather.write_feather(table, out, compression=("uncompressed", "lz4", "zstd")[at % 3])
        else:
            options = pa.ipc.IpcWriteOptions(compression=(None, "lz4", "zstd")[at % 3])
            with pa.ipc.new_stream(out, table.schema, options=options) as writer:
                writer.write_table(table, 2)
        found.append(out.getvalue().to_pybytes())
    return found


def take_zip(case: bytes, work: Path) -> Taken:
    return _taken(work / "a.zip", case)


def take_xlsx(case: bytes, work: Path) -> Taken:
    return _taken(work / "a.xlsx", case)


def take_ipc(case: bytes, work: Path) -> Taken:
    return _taken(work / "a.feather", case)


def _taken(file: Path, case: bytes) -> Taken:
    """Every table is rows, all of them accounted for, or refused in one line; refused as a whole if all are."""
    file.write_bytes(case)
    refused: InputError | None = None
    count = rejected = 0
    for path, read in tables(file, _MAX_BYTES):
        check(str(path).startswith(str(file)), f"a table outside the file: {path}")
        if read is None:
            continue
        try:
            raw = read()
            checked = check_rows(raw.frame, str(path))
        except InputError as error:
            check_line(str(error))
            refused = error
            continue
        count += 1
        check(len(checked.bars) + len(checked.rejected) == len(raw.frame), "rows are lost or doubled")
        check_sound(checked.bars)
        check_reasons(pd.concat([raw.malformed, checked.rejected]))
        rejected += len(raw.malformed) + len(checked.rejected)
    if refused is not None and not count:
        raise refused
    return Taken(rejected)


ZIP = Target(GUIDED, archives, take_zip, mutate_archive)
XLSX = Target(GUIDED, workbooks, take_xlsx, mutate_archive)
IPC = Target(GUIDED, ipc_files, take_ipc, mutate_bytes)
