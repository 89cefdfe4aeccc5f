"""The plain layout with its symbols and days under other names."""

from pathlib import Path

import pytest

from tests.support.vendor_samples import Sample, bad, error_of, prices, taken_text

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


@pytest.mark.slow
@pytest.mark.parametrize("symbol", ["code", "stock_code", "instrument", "asset", "ticker", "symbol"])
@pytest.mark.parametrize("day", ["date", "datetime", "Date/Time", "day", "time", "index", "Unnamed: 0", ""])
def test_names_of_symbols_and_days(tmp_path: Path, symbol: str, day: str) -> None:
    text = f"{day},{symbol},Open,High,Low,Close,Volume\n2024-01-02,sh600519,10,11,9,10.5,1200\n"
    report, bars = taken_text(tmp_path, "prices.csv", text)
    assert report.files[0].layout.startswith("plain")
    assert bars["symbol"].tolist() == ["600519.SH"]
    assert prices(bars) == [[10, 11, 9, 10.5, 1200]]


@pytest.mark.slow
@pytest.mark.parametrize("day", ["datetime", "time", ""])
def test_days_of_the_only_symbol(tmp_path: Path, day: str) -> None:
    text = f"{day},open,high,low,close,volume\n2024-01-02,10,11,9,10.5,1200\n"
    assert taken_text(tmp_path, "IBM.csv", text)[1]["symbol"].tolist() == ["IBM"]


def test_the_usual_names_go_before_others(tmp_path: Path) -> None:
    text = "code,symbol,datetime,date,open,high,low,close,volume\n1,IBM,0,2024-01-02,10,11,9,10.5,1200\n"
    report, bars = taken_text(tmp_path, "prices.csv", text)
    assert report.files[0].layout == "plain"
    assert bars["symbol"].tolist() == ["IBM"]


@pytest.mark.parametrize("name", ["ts_code", "stock"])
def test_names_that_may_be_of_other_units_or_of_companies_are_asked_back(tmp_path: Path, name: str) -> None:
    text = f"{name},date,open,high,low,close,volume\n600519.SH,2024-01-02,10,11,9,10.5,1200\n"
    assert f"its column {name} may hold symbols" in error_of(tmp_path, "prices.csv", text)
