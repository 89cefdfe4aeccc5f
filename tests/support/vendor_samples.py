"""Files of a vendor from a few made-up bars, and what every layout must do with bad ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport, NothingUsableError
from kline_core.store.home import Home

DAYS = [date(2024, 2, day) for day in (27, 28, 29)]
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


@dataclass(frozen=True)
class Sample:
    """A small file: its name, its header, and the line of a day."""

    name: str
    header: str
    line: Callable[[str], str]
    day: Callable[[date], str] = date.isoformat
    sign: str = ","

    def text(self, *lines: str) -> str:
        return "\n".join([self.header, *lines]) + "\n"

    def lines(self) -> list[str]:
        return [self.line(self.day(day)) for day in DAYS]


def taken(folder: Path, *files: Path) -> tuple[IngestReport, pd.DataFrame]:
    """The report on files, and the bars of a new home that took them."""
    homes = len(list(folder.glob("home*")))
    home = Home(folder / f"home{homes}", create=True)
    try:
        report = ingest(list(files), home)
    except NothingUsableError as error:
        report = error.report
    assert report.read == report.stored_new + report.updated + report.unchanged + report.rejected
    assert report.rejected == len(report.rejections)
    assert all("\n" not in error for error in report.errors)
    bars = stored(home)
    assert len(bars) == report.stored_new
    return report, bars


def stored(home: Home) -> pd.DataFrame:
    """The bars of a home, in order."""
    bars = home.read("bars").to_pandas().sort_values(["symbol", "date"], ignore_index=True)
    return bars.assign(date=pd.to_datetime(bars["date"]))


def taken_text(folder: Path, name: str, text: str | bytes) -> tuple[IngestReport, pd.DataFrame]:
    path = folder / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return taken(folder, path)


def error_of(folder: Path, name: str, text: str | bytes) -> str:
    report, _ = taken_text(folder, name, text)
    assert report.stored_new == 0
    return report.errors[0]


def prices(bars: pd.DataFrame) -> list[list[Any]]:
    return bars[["open", "high", "low", "close", "volume"]].to_numpy().tolist()


def check_bad_input(folder: Path, sample: Sample) -> None:
    """Every kind of bad file is a rejection that is counted, or an error in one line that names the file."""
    good = sample.lines()
    bars = taken_text(folder, sample.name, sample.text(*good))[1]
    assert bars["date"].dt.date.tolist() == DAYS

    def rejected(*lines: str) -> IngestReport:
        report, left = taken_text(folder, sample.name, sample.text(*lines))
        assert (report.read, report.rejected, len(left)) == (len(lines), 1, len(lines) - 1), report.rejections
        assert report.rejections["source"].tolist() == [str(folder / "in" / sample.name)]
        return report

    for text in ("", sample.text()):
        assert error_of(folder, sample.name, text).startswith(str(folder / "in" / sample.name))
    last = good[-1]
    assert "cells of the header" in rejected(*good[:2], last[: last.index(sample.sign) + 2]).rejections["reason"][0]
    for encoding in ("utf-16", "utf-8-sig"):
        again = taken_text(folder, sample.name, sample.text(*good).encode(encoding))[1]
        pd.testing.assert_frame_equal(again, bars)
    broken = sample.text(*good).encode().replace(last.encode(), last.encode()[:-1] + b"\xff\xfe")
    assert taken_text(folder, sample.name, broken)[0].stored_new in (0, 2, 3)
    if "\n" not in sample.header:
        twice = replace(sample, header=_with_cell(sample, sample.header, _name(sample)))
        doubled = [_with_cell(sample, line, "1") for line in good]
        assert "is there twice" in error_of(folder, sample.name, twice.text(*doubled))
    shown = sample.day(DAYS[0].replace(day=26))
    foreign = sample.line(shown).replace(shown, shown.translate(ARABIC))
    assert rejected(*good, foreign).rejections["reason"][0].startswith("date is")
    digits = sample.line(shown).replace(shown, "@").translate(ARABIC).replace("@", shown)
    assert "is no " in rejected(*good, digits).rejections["reason"][0]
    leap = sample.line(sample.day(date(2024, 2, 29)).replace("2024", "2023"))
    assert rejected(*good, leap).rejections["reason"][0].startswith("date is")
    short = sample.line(sample.day(date(2024, 2, 26)).replace("2024", "24"))
    assert rejected(*good, short).rejections["reason"][0].startswith("date ")


def _with_cell(sample: Sample, line: str, cell: str) -> str:
    quote = '"' if sample.sign.startswith('"') else ""
    return f"{line.removesuffix(quote)}{sample.sign}{cell}{quote}"


def _name(sample: Sample) -> str:
    """Name of a column that is read."""
    names = [name.strip('"') for name in sample.header.split(sample.sign)]
    return next(name for name in names if name.strip("<>$").lower() in ("open", "otwarcie"))


def bad(sample: Sample) -> Any:
    """A test of `check_bad_input`, which makes dozens of homes."""

    @pytest.mark.slow
    def test(tmp_path: Path) -> None:
        check_bad_input(tmp_path, sample)

    return test
