"""Yahoo's CSV of old, and yfinance with `auto_adjust=False`."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.real_data import needs_real_data, real_data
from tests.support.vendor_samples import Sample, bad, prices, taken, taken_text

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"
SAMPLE = Sample("ABC.csv", HEADER, lambda day: f"{day},10.0,11.0,9.0,10.5,9.45,1200")
test_bad_input = bad(SAMPLE)
test_bad_input_with_a_zone = bad(
    Sample("ABC.csv", HEADER, SAMPLE.line, lambda day: f"{date.isoformat(day)} 00:00:00-05:00")
)
test_bad_input_below_each_other = bad(
    Sample("all.csv", f"Date,Ticker,{HEADER[5:]}", lambda day: f"{day},ABC,10.0,11.0,9.0,10.5,9.45,1200")
)


@pytest.mark.slow
def test_the_adjusted_close_tells_the_dividend_and_null_is_no_bar(tmp_path: Path) -> None:
    rows = [
        "2024-01-02,10,11,9,10.000000,9.700000,100",
        "2024-01-03,null,null,null,null,null,null",
        "2024-01-04,10,11,9,10.300000,10.300000,100",
        "2024-01-05,10,11,9,10.200000,10.200000,100",
    ]
    report, bars = taken_text(tmp_path, "PTR.csv", "\n".join([HEADER, *rows]))
    assert report.rejections[["row", "reason", "value"]].to_numpy().tolist() == [[3, "open is missing", ""]]
    assert report.files[0].layout == "Yahoo"
    assert bars["adj_factor"].tolist() == pytest.approx([1, 1 / 0.97, 1 / 0.97])
    assert bars["close"].tolist() == [10.0, 10.3, 10.2]
    adjusted = bars["close"] * bars["adj_factor"]
    assert (adjusted / adjusted[0]).tolist() == pytest.approx([1, 10.3 / 9.7, 10.2 / 9.7])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Adj Close", "adjclose", "adj_close"])
def test_spellings_of_the_adjusted_close(tmp_path: Path, name: str) -> None:
    text = "\n".join([HEADER.replace("Adj Close", name), *SAMPLE.lines()])
    report, bars = taken_text(tmp_path, "ABC.csv", text)
    assert report.files[0].layout == "Yahoo"
    assert prices(bars) == [[10.0, 11.0, 9.0, 10.5, 1200.0]] * 3
    assert bars["adj_factor"].tolist() == [1.0] * 3


def test_the_table_of_its_page_is_read_as_it_was_copied(tmp_path: Path) -> None:
    text = 'Date,Open,High,Low,Close*,Adj Close**,Volume\n"Mar 22, 2024",10.00,11.00,9.00,10.50,10.40,"1,200,000"\n'
    report, bars = taken_text(tmp_path, "ABC.csv", text)
    assert report.files[0].layout == "Yahoo"
    assert prices(bars) == [[10.0, 11.0, 9.0, 10.5, 1200000.0]]


@pytest.mark.slow
def test_prices_in_single_precision_make_no_dividends(tmp_path: Path) -> None:
    # Adjusted by one constant and rounded to float32, as Yahoo has it.
    close = np.round(np.random.default_rng(0).uniform(5, 500, 400), 2).astype(np.float32)
    days = pd.bdate_range("2020-01-01", periods=400).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"Date": days, **dict.fromkeys(["Open", "High", "Low", "Close"], close.astype(float))})
    frame = frame.assign(**{"Adj Close": (close * np.float32(0.8734)).astype(float), "Volume": 5})
    for decimals in (6, 17):
        bars = taken_text(tmp_path, "ABC.csv", frame.to_csv(index=False, float_format=f"%.{decimals}f"))[1]
        assert set(bars["adj_factor"]) == {1.0}, decimals


@needs_real_data
def test_a_real_file_gives_yahoos_own_adjusted_returns(tmp_path: Path) -> None:
    path = real_data() / "raw" / "yahoo_MSFT.csv"
    (tmp_path / "MSFT.csv").write_bytes(path.read_bytes())
    report, bars = taken(tmp_path, tmp_path / "MSFT.csv")
    frame = pd.read_csv(path)
    assert (report.read, report.stored_new) == (len(frame), len(frame))
    np.testing.assert_array_equal(bars["close"], frame["Close"])
    ours, theirs = bars["close"] * bars["adj_factor"], frame["Adj Close"]
    difference = np.abs((ours / ours[0]) / (theirs / theirs[0]) - 1).max()
    returns = np.abs(ours.pct_change() - theirs.pct_change()).max()
    changes = int((np.abs(np.diff(bars["adj_factor"])) > 0).sum())
    print(f"\nYahoo MSFT: {changes} ex-dates, largest relative difference {difference:.2e}, of a return {returns:.2e}")
    # The rounding of both columns, and of the dividends themselves.
    assert difference < 5e-6
    assert changes == 20
