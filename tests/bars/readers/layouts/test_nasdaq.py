"""Nasdaq.com."""

from pathlib import Path

import pytest

from tests.support.vendor_samples import Sample, bad, prices, taken_text

HEADER = "Date,Close/Last,Volume,Open,High,Low"
SAMPLE = Sample(
    "ABC.csv", HEADER, lambda day: f"{day},$10.5,1200,$10.00,$11.00,$9.00", lambda day: day.strftime("%m/%d/%Y")
)
test_bad_input = bad(SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("header", [HEADER, "Date, Close/Last, Volume, Open, High, Low"])
def test_dollars_and_thousands(tmp_path: Path, header: str) -> None:
    line = '03/04/2024,"$1,010.50","1,234,567","$1,000.00","$1,100.00",$900.00'
    report, bars = taken_text(tmp_path, "ABC.csv", f"{header}\n{line}\n")
    assert (report.files[0].layout, bars["date"].dt.month.tolist()) == ("Nasdaq.com", [3])
    assert prices(bars) == [[1000, 1100, 900, 1010.5, 1_234_567]]
    assert "not for dividends" in report.files[0].notes[0]


def test_an_index_has_no_volume(tmp_path: Path) -> None:
    bars = taken_text(tmp_path, "SPX.csv", f"{HEADER}\n03/04/2024,10.5,N/A,10,11,9\n")[1]
    assert bars["volume"].isna().all()
