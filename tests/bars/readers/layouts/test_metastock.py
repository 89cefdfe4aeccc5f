"""Metastock ASCII."""

from datetime import date
from pathlib import Path

import pytest

from tests.support.vendor_samples import Sample, bad, error_of, prices, taken_text


def day_of(day: date) -> str:
    return day.isoformat().replace("-", "")


SAMPLE = Sample(
    "all.txt",
    "<TICKER>,<DTYYYYMMDD>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
    lambda day: f"ABC,{day},10.0,11,9,10.5,1200",
    day_of,
)
test_bad_input = bad(SAMPLE)


@pytest.mark.parametrize(
    "header",
    [
        SAMPLE.header,
        "<ticker>,<date>,<open>,<high>,<low>,<close>,<vol>",
        "<TICKER>,<PER>,<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
    ],
)
def test_names_in_brackets(tmp_path: Path, header: str) -> None:
    lines = SAMPLE.lines()
    if "<PER>" in header:
        lines = [f"ABC,D,{line.split(',')[1]},000000,10.0,11,9,10.5,1200,0" for line in lines]
    report, bars = taken_text(tmp_path, "all.txt", "\n".join([header, *lines]))
    assert report.files[0].layout == "Metastock ASCII"
    assert bars["symbol"].tolist() == ["ABC"] * 3
    assert prices(bars) == [[10, 11, 9, 10.5, 1200]] * 3


def test_minutes_are_refused(tmp_path: Path) -> None:
    header = "<TICKER>,<PER>,<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
    text = f"{header}\nABC,1,20240102,093000,10,11,9,10.5,1200,0\n"
    assert "period is not that of a daily bar" in error_of(tmp_path, "all.txt", text)
