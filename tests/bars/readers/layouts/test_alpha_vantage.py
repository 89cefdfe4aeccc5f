"""Alpha Vantage, and what it answers instead of bars."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.real_data import needs_real_data, real_data
from tests.support.vendor_samples import Sample, bad, error_of, prices, taken, taken_text

HEADER = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"
SAMPLE = Sample("ABC.csv", HEADER, lambda day: f"{day},10.0,11.0,9.0,10.5,10.5,1200,0.0000,1.0")
test_bad_input = bad(SAMPLE)
test_bad_input_unadjusted = bad(
    Sample("ABC.csv", "timestamp,open,high,low,close,volume", lambda day: f"{day},10.0,11.0,9.0,10.5,1200")
)


@pytest.mark.slow
def test_splits_and_dividends_come_from_the_adjusted_close(tmp_path: Path) -> None:
    # A dividend of 0.4 on the 3rd, and 4 for 1 on the 5th, newest first.
    rows = [
        "2024-01-05,2.5,2.7,2.4,2.60,2.60,400,0.0,4.0",
        "2024-01-04,10,11,9,10.40,2.60,100,0.0,1.0",
        "2024-01-03,9,10,8,10.00,2.50,100,0.4,1.0",
        f"2024-01-02,10,11,9,10.40,{2.6 / 1.04},100,0.0,1.0",
    ]
    report, bars = taken_text(tmp_path, "ABC.csv", "\n".join([HEADER, *rows]))
    assert (report.files[0].layout, report.files[0].notes) == ("Alpha Vantage", ())
    assert bars["close"].tolist() == [10.4, 10.0, 10.4, 2.6]
    assert bars["adj_factor"].tolist() == pytest.approx([1, 1.04, 1.04, 4.16])


def test_without_an_adjusted_close_the_report_says_what_to_fetch(tmp_path: Path) -> None:
    text = "timestamp,open,high,low,close,volume\n2024-01-05,10,11,9,10.5,1200\n"
    report, bars = taken_text(tmp_path, "ABC.csv", text)
    assert "fetch TIME_SERIES_DAILY_ADJUSTED" in report.files[0].notes[0]
    assert report.unadjusted == ["ABC"]
    assert prices(bars) == [[10, 11, 9, 10.5, 1200]]


@pytest.mark.slow
def test_files_of_the_python_client(tmp_path: Path) -> None:
    header = "date,1. open,2. high,3. low,4. close,5. adjusted close,6. volume,7. dividend amount,8. split coefficient"
    report, bars = taken_text(tmp_path, "ABC.csv", f"{header}\n2024-01-05,10,11,9,10.5,10.5,1200.0,0.0,1.0\n")
    assert (prices(bars), report.unadjusted) == ([[10, 11, 9, 10.5, 1200]], [])
    header = "date,1. open,2. high,3. low,4. close,5. volume"
    report, bars = taken_text(tmp_path, "ABC.csv", f"{header}\n2024-01-05,10,11,9,10.5,1200.0\n")
    assert (prices(bars), report.unadjusted) == ([[10, 11, 9, 10.5, 1200]], ["ABC"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '{\n    "Information": "The rate limit is 25 requests a day."\n}',
            "says: The rate limit is 25 requests a day.;",
        ),
        (
            '{"Error Message": "Invalid API call."}',
            "is JSON and no table, which says: Invalid API call.; fetch it again",
        ),
        ('{"Note": "Thank you!\\nPlease wait"}', "says: Thank you! Please wait;"),
        ('{"chart": {"result": null, "error": {"code": "x", "description": "No data found"}}}', "is JSON and no table"),
        ("[1, 2", "is JSON and no table; fetch it again, as CSV"),
        (
            "<!DOCTYPE html>\n<html><head><title>Not\n found</title>",
            "is a web page and no table, which says: Not found;",
        ),
        (
            "Exceeded the daily hits limit\n",
            "is one line of text and no table, which says: Exceeded the daily hits limit;",
        ),
    ],
)
def test_an_answer_that_is_no_table_is_quoted(tmp_path: Path, text: str, says: str) -> None:
    assert says in error_of(tmp_path, "BF.B.csv", text)


@needs_real_data
def test_a_real_file_gives_the_vendors_own_adjusted_returns(tmp_path: Path) -> None:
    path = real_data() / "raw" / "alphavantage_AAPL.csv"
    (tmp_path / "AAPL.csv").write_bytes(path.read_bytes())
    report, bars = taken(tmp_path, tmp_path / "AAPL.csv")
    frame = pd.read_csv(path)
    assert (report.read, report.stored_new) == (len(frame), len(frame))
    ours, theirs = bars["close"] * bars["adj_factor"], frame["adjusted_close"]
    difference = np.abs((ours / ours[0]) / (theirs / theirs[0]) - 1).max()
    splits = frame[frame["split_coefficient"] != 1]
    print(f"\nAlpha Vantage AAPL: largest relative difference {difference:.2e}; {len(splits)} splits")
    assert difference < 1e-9
    steps = bars["adj_factor"] / bars["adj_factor"].shift()
    told = frame["split_coefficient"] * (1 + frame["dividend_amount"] / frame["close"])
    assert np.abs(steps[1:] / told[1:] - 1).max() < 1e-6
