"""Small files in the layouts of vendors, and what an ingest makes of them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from kline_core.bars.increments import LOST_ROW
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport, NothingUsableError
from kline_core.store.home import Home


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write files, text as UTF-8, below a folder."""
    paths = []
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        paths.append(path)
    return paths


def assert_accounted(report: IngestReport) -> None:
    """Every row is stored or rejected, in every file and over all; what is said stands on one line."""
    assert report.read == report.stored_new + report.updated + report.unchanged + report.rejected
    assert report.rejected == len(report.rejections)
    for file in report.files:
        assert file.read == file.new + file.updated + file.unchanged + file.rejected
        assert file.rejected == (report.rejections["source"] == file.path).sum()
        assert file.error is None or "\n" not in file.error
    json.dumps(report.to_dict(), allow_nan=False)


def ingested(tmp_path: Path, files: Mapping[str, str | bytes]) -> tuple[IngestReport, pd.DataFrame]:
    """Report and stored bars, in order of symbol and date, of files ingested together into a new home."""
    number = sum(1 for _ in tmp_path.iterdir())
    paths = write_files(tmp_path / f"in{number}", files)
    home = Home(tmp_path / f"home{number}", create=True)
    try:
        report = ingest(paths, home)
    except NothingUsableError as error:
        report = error.report
    assert_accounted(report)
    bars = home.read("bars").to_pandas().sort_values(["symbol", "date"], ignore_index=True)
    return report, bars.assign(date=bars["date"].astype(str))


def check_bad_input(tmp_path: Path, name: str, good: str, encoding: str = "utf-8", *, year: str = "2024") -> None:
    """Damage in a file of a layout: a counted rejection with row and value, or an error of the file on one line.

    Args:
        tmp_path: Folder for homes and files.
        name: Name of the file.
        good: Its text, with a header and five rows or more, all sound, whose dates are of the year.
        encoding: That of the vendor.
        year: Its digits.
    """
    lines = good.splitlines()
    count = len(ingested(tmp_path, {name: good.encode(encoding)})[1])
    assert count >= 5

    def outcome(data: bytes) -> IngestReport:
        return ingested(tmp_path, {name: data})[0]

    def changed(line: int, change: Callable[[str], str]) -> IngestReport:
        text = "\n".join([*lines[:line], change(lines[line]), *lines[line + 1 :]])
        return outcome(text.encode(encoding))

    row = len(lines) - 2
    digits = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩" if encoding == "utf-8" else "０１２３４５６７８９")
    header = next(at for at, line in enumerate(lines) if year not in line or not any(map(str.isdigit, line)))
    header = max(at for at, line in enumerate(lines[: len(lines) - count]) if at >= header or at == 0)
    assert "is empty" in outcome(b"").errors[0]
    assert "holds no rows" in outcome("\n".join(lines[: header + 1]).encode(encoding)).errors[0]

    def check_one(report: IngestReport, say: str) -> None:
        # Where only a previous close tells payments, it tells none behind a row that cannot be read.
        hidden = report.rejections["reason"] == LOST_ROW
        assert (report.stored_new, hidden.sum()) in ((count - 1, 0), (0, count - 1)), say
        assert report.rejections.loc[~hidden, "row"].tolist() == [row + 1], say

    check_one(changed(row, lambda line: line[: len(line) // 2]), "torn")
    for say, change in (
        ("two digits", lambda line: line.replace(year, year[2:], 1)),
        ("no such day", lambda line: _dated(line, year, "0230")),
        ("not a leap year", lambda line: _dated(line, year, "0229", "2023")),
        ("other digits", lambda line: line.translate(digits)),
        ("numbers of other digits", lambda line: line[: len(line) // 3] + line[len(line) // 3 :].translate(digits)),
    ):
        report = changed(row, change)
        if report.errors:
            # Digits that the encoding of the vendor does not have, or that make a file's name no code.
            assert "\n" not in report.errors[0], say
            continue
        check_one(report, say)
    sign = max(",\t", key=lines[header].count)
    double = [line + sign + line.split(sign)[0] for line in lines[: header + 1]]
    same = outcome("\n".join([*double, *lines[header + 1 :]]).encode(encoding))
    assert same.stored_new == 0
    assert "\n" not in same.errors[0]
    mixed = outcome("\n".join(lines[:row]).encode(encoding) + b"\n\xff\xfe\xfa\n" + lines[row].encode(encoding))
    assert mixed.errors or mixed.rejected == 1
    wrong = outcome(good.encode("utf-16-be"))
    assert wrong.errors


def _dated(line: str, year: str, day: str, other: str | None = None) -> str:
    at = line.index(year)
    sign = line[at + 4] if not line[at + 4].isdigit() else ""
    end = at + 8 + 2 * len(sign)
    return f"{line[:at]}{other or year}{sign}{day[:2]}{sign}{day[2:]}{line[end:]}"
