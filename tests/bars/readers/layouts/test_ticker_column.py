"""The plain layout with a column `ticker`."""

from pathlib import Path

import pytest

from tests.support.vendor_samples import Sample, bad, error_of, taken_text

HEADER = "Date,Ticker,Open,High,Low,Close,Volume"
test_bad_input = bad(Sample("prices.csv", HEADER, lambda day: f"{day},ABC,10.0,11.0,9.0,10.5,1200"))


@pytest.mark.slow
def test_the_column_goes_before_the_name_of_the_file(tmp_path: Path) -> None:
    text = f"{HEADER}\n2024-01-02,ABC,10,11,9,10.5,1200\n2024-01-02,BRK.B,10,11,9,10.5,1200\n"
    report, bars = taken_text(tmp_path, "prices.csv", text)
    assert report.files[0].layout == "plain, with a column ticker"
    assert bars["symbol"].tolist() == ["ABC", "BRK.B"]


def test_two_columns_of_symbols_are_refused(tmp_path: Path) -> None:
    text = f"symbol,{HEADER}\nABC,2024-01-02,ABC,10,11,9,10.5,1200\n"
    assert "column ticker is there twice, or another one says the same" in error_of(tmp_path, "prices.csv", text)
