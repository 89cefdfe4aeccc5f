"""Names of files as symbols: what is certain is taken, and what is none is refused."""

from pathlib import Path

import pytest

from kline_core.bars.convention import PLAIN, Convention
from tests.support.vendor_files import ingested

HEADER = "date,open,high,low,close,volume"
ROW = "2024-01-02,10,11,9,10,100"
VANTAGE = "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient"


@pytest.mark.parametrize(
    ("stem", "symbol"),
    [
        *(("IBM", "IBM"), ("BRK.B", "BRK.B"), ("BF-B", "BF-B"), ("^GSPC", "^GSPC"), ("EURUSD=X", "EURUSD=X")),
        *(
            ("0700.HK", "0700.HK"),
            ("7203.T", "7203.T"),
            ("M&M.NS", "M&M.NS"),
            ("BTC-USD", "BTC-USD"),
            ("wig20", "wig20"),
        ),
        *(("sh600519", "600519.SH"), ("600519", "600519.SH"), ("600519.XSHG", "600519.SH"), ("SH#600519", "600519.SH")),
        *(("sh600519_daily", "600519.SH"), ("2020-2024 SZ.000001", "000001.SZ"), ("600519.SS 1d", "600519.SH")),
        *(("yahoo_MSFT", "MSFT"), ("alphavantage_AAPL", "AAPL"), ("BRK-B Yahoo", "BRK-B"), ("stooq_^SPX", "^SPX")),
        *(("DATA", "DATA"), ("EOD", "EOD"), ("7203", "7203"), ("S00000", "S00000")),
    ],
)
def test_names_that_are_symbols(stem: str, symbol: str) -> None:
    assert PLAIN.symbol_of_name(stem) == symbol


@pytest.mark.slow
@pytest.mark.parametrize(
    "stem",
    [
        *("IBM_2020_2024", "daily_adjusted_IBM", "HistoricalData_1612345678901", "my prices", "600519_daily"),
        *(
            "data",
            "Prices",
            "quotes2",
            "ohlcv",
            "daily",
            "2024",
            "20240102",
            "bars-2024",
            "prices_1d",
            "sh600519 sz000001",
            # In capitals a symbol may be told from other words.
            "yahoo_all",
            "yahoo_MSFT_2020",
        ),
    ],
)
def test_names_that_are_none(tmp_path: Path, stem: str) -> None:
    assert PLAIN.symbol_of_name(stem) == ""
    report, bars = ingested(tmp_path, {f"{stem}.csv": f"{HEADER}\n{ROW}\n"})
    assert len(bars) == 0
    assert f"its name {stem!r} is no symbol; name the file after its symbol" in report.errors[0]
    assert "--columns symbol=NAME" in report.errors[0]
    # Not where a column tells it.
    assert len(ingested(tmp_path, {f"{stem}.csv": f"symbol,{HEADER}\nIBM,{ROW}\n"})[1]) == 1


@pytest.mark.parametrize(
    ("stem", "symbol"),
    [
        ("600519_20200101_20241231", "600519.SH"),
        ("000001_202401", ""),
        ("moutai", ""),
        ("AAPL", "AAPL"),
        ("399001", "399001"),
    ],
)
def test_chinese_layouts_know_codes_of_the_mainland(stem: str, symbol: str) -> None:
    assert Convention(chinese=True).symbol_of_name(stem) == symbol


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "header", "row", "symbol"),
    [
        ("daily_adjusted_IBM.csv", VANTAGE, "2024-01-02,10,11,9,10,10,100,0,1", "IBM"),
        ("daily_adjusted_IBM (1).csv", VANTAGE, "2024-01-02,10,11,9,10,10,100,0,1", "IBM"),
        ("daily_BRK.B.csv", "timestamp,open,high,low,close,volume", ROW, "BRK.B"),
        ("ibm_us_d.csv", HEADER, ROW, "IBM"),
        ("700_hk_d.csv", HEADER, ROW, "0700.HK"),
        ("pkn_d.csv", "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen", ROW, "pkn"),
        ("IBM (2).csv", HEADER, ROW, "IBM"),
    ],
)
def test_names_that_vendors_give_their_files(tmp_path: Path, name: str, header: str, row: str, symbol: str) -> None:
    report, bars = ingested(tmp_path, {name: f"{header}\n{row}\n"})
    assert report.errors == []
    assert bars["symbol"].tolist() == [symbol]
