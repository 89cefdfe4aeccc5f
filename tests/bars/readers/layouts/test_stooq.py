"""Stooq's ASCII files and its download in Polish."""

from datetime import date
from pathlib import Path

import pytest

from kline_core.bars.readers.layouts.stooq import NOTE
from tests.support.vendor_samples import Sample, bad, error_of, prices, taken_text

HEADER = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
SAMPLE = Sample(
    "abc.us.txt",
    HEADER,
    lambda day: f"ABC.US,D,{day},000000,10,11,9,10.5,1200,0",
    lambda day: f"{date.isoformat(day).replace('-', '')}",
)
test_bad_input = bad(SAMPLE)
test_bad_input_in_polish = bad(
    Sample("cdr.txt", "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", lambda day: f"{day},10.0,11,9,10.5,1200")
)


@pytest.mark.slow
def test_a_ticker_loses_its_suffix(tmp_path: Path) -> None:
    report, bars = taken_text(tmp_path, "abc.us.txt", SAMPLE.text(*SAMPLE.lines()))
    assert (report.files[0].layout, report.files[0].notes) == ("Stooq", (NOTE,))
    assert bars["symbol"].tolist() == ["ABC"] * 3
    assert prices(bars) == [[10, 11, 9, 10.5, 1200]] * 3
    assert report.unadjusted == ["ABC"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ticker", "symbol"),
    [("VOD.UK", "VOD.L"), ("7203.JP", "7203.T"), ("BRK-B.US", "BRK-B"), ("SAP.DE", "SAP.DE"), ("0700.HK", "0700.HK")],
)
def test_suffixes_become_those_of_yahoo(tmp_path: Path, ticker: str, symbol: str) -> None:
    text = SAMPLE.text(*(line.replace("ABC.US", ticker) for line in SAMPLE.lines()))
    report, bars = taken_text(tmp_path, f"{ticker.lower()}.txt", text)
    assert bars["symbol"].unique().tolist() == [symbol]
    assert report.rejected == 0


@pytest.mark.slow
@pytest.mark.parametrize("period", ["5", "60", "W", "M", ""])
def test_bars_that_are_not_daily_are_refused_as_such(tmp_path: Path, period: str) -> None:
    lines = [line.replace(",D,", f",{period},") for line in SAMPLE.lines()]
    error = error_of(tmp_path, "abc.us.txt", SAMPLE.text(*lines))
    assert "the first is row 2: period is not that of a daily bar; ask for daily ones" in error
    report, bars = taken_text(tmp_path, "abc.us.txt", SAMPLE.text(SAMPLE.lines()[0], *lines[1:]))
    assert (report.rejected, len(bars)) == (2, 1)


@pytest.mark.slow
def test_the_download_is_plain_and_in_polish_named(tmp_path: Path) -> None:
    rows = "2024-01-02,10,11,9,10.5,1200\n"
    report, bars = taken_text(tmp_path, "abc.us.csv", f"Date,Open,High,Low,Close,Volume\n{rows}")
    assert (report.files[0].layout, bars["symbol"].tolist()) == ("plain", ["ABC"])
    report, bars = taken_text(tmp_path, "cdr.csv", f"Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n{rows}")
    assert (report.files[0].layout, prices(bars)) == ("Stooq, in Polish", [[10, 11, 9, 10.5, 1200]])
