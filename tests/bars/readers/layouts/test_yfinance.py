"""yfinance: several lines of names, tickers side by side, frames with two levels of columns, `history()`."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.ingest import ingest
from kline_core.bars.readers.layouts.yfinance import ADJUSTED
from kline_core.store.home import Home
from tests.support.vendor_samples import DAYS, Sample, bad, error_of, prices, stored, taken, taken_text

FIELDS = ["Close", "High", "Low", "Open", "Volume"]
THREE = "Price,Close,High,Low,Open,Volume\nTicker,ABC,ABC,ABC,ABC,ABC\nDate,,,,,"
SAMPLE = Sample("ABC.csv", THREE, lambda day: f"{day},10.5,11.0,9.0,10.0,1200")
BAR = [10.0, 11.0, 9.0, 10.5, 1200.0]

test_bad_input_of_a_download = bad(SAMPLE)
test_bad_input_of_a_history = bad(
    Sample(
        "ABC.csv",
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
        lambda day: f"{day},10.0,11.0,9.0,10.5,1200,0.0,0.0",
        lambda day: f"{date.isoformat(day)} 00:00:00-05:00",
    )
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "header",
    [
        THREE,
        THREE.replace("\nDate,,,,,", ""),
        "Date,Close,High,Low,Open,Volume\n,ABC,ABC,ABC,ABC,ABC",
        ",Close,High,Low,Open,Volume\n,ABC,ABC,ABC,ABC,ABC\nDate,,,,,",
        "Ticker,ABC,ABC,ABC,ABC,ABC\nPrice,Close,High,Low,Open,Volume\nDate,,,,,",
        "Ticker,LOW,LOW,LOW,LOW,LOW\nPrice,Close,High,Low,Open,Volume\nDate,,,,,",
        "Price,Close,High,Low,Open,Volume\r\nTicker,OPEN,OPEN,OPEN,OPEN,OPEN\r\nDate,,,,,\r",
    ],
)
def test_one_ticker_with_several_lines_of_names(tmp_path: Path, header: str) -> None:
    symbol = next(name for name in ("ABC", "LOW", "OPEN") if f"{name},{name}" in header)
    report, bars = taken_text(tmp_path, f"{symbol}.csv", "\n".join([header, *SAMPLE.lines(), "x"]))
    assert report.rejections["row"].tolist() == [header.count("\n") + 5]
    assert prices(bars) == [BAR] * 3
    assert bars["symbol"].tolist() == [symbol] * 3
    assert bars["date"].dt.date.tolist() == DAYS
    assert (report.files[0].layout, report.files[0].notes) == ("yfinance download", (ADJUSTED,))
    assert report.unadjusted == [symbol]


def wide(fields: list[str], order: str) -> pd.DataFrame:
    """Three days of ABC, BRK-B and 0700.HK, of which BRK-B has no volume and 0700.HK no second day."""
    days = pd.DatetimeIndex(DAYS, name="Date")
    values = {"Close": 10.5, "High": 11.0, "Low": 9.0, "Open": 10.0, "Volume": 1200.0, "Adj Close": 10.5}
    columns = {(field, ticker): values[field] for ticker in ("BRK-B", "0700.HK", "ABC") for field in fields}
    frame = pd.DataFrame(columns, index=days, dtype=float).rename_axis(columns=["Price", "Ticker"])
    frame.loc[days[1], (slice(None), "0700.HK")] = np.nan
    frame = frame.drop(columns=[("Volume", "BRK-B")], errors="ignore")
    return frame if order == "column" else frame.swaplevel(axis=1).sort_index(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["column", "ticker"])
@pytest.mark.parametrize("form", ["csv", "plain.csv", "parquet", "feather", "frame"])
def test_several_tickers_side_by_side(tmp_path: Path, order: str, form: str) -> None:
    frame, path = wide(FIELDS, order), tmp_path / f"all.{form}"
    if form == "csv":
        frame.to_csv(path)
    elif form == "plain.csv":
        frame.reset_index().to_csv(path, index=False)
    elif form == "parquet":
        frame.to_parquet(path)
    elif form == "feather":
        flat = frame.reset_index()
        flat.set_axis([str(name) for name in flat.columns], axis=1).to_feather(path)
    if form == "frame":
        home = Home(tmp_path / "home", create=True)
        report = ingest([frame], home)
        bars = stored(home)
    else:
        report, bars = taken(tmp_path, path)
    assert report.files[0].layout == "yfinance download"
    assert (report.read, report.stored_new) == (8, 8)
    assert bars.groupby("symbol")["date"].apply(lambda days: days.dt.day.tolist()).to_dict() == {
        "0700.HK": [27, 29],
        "ABC": [27, 28, 29],
        "BRK-B": [27, 28, 29],
    }
    assert bars[bars["symbol"] == "BRK-B"]["volume"].isna().all()
    assert prices(bars[bars["symbol"] != "BRK-B"]) == [BAR] * 5


def test_a_bar_of_one_ticker_is_rejected_by_itself(tmp_path: Path) -> None:
    text = wide(FIELDS, "column").to_csv().replace("2024-02-28,10.5,", "2024-02-28,soon,").splitlines()
    report, bars = taken_text(tmp_path, "all.csv", "\n".join([*text, "2024-03-01,1"]))
    assert (report.read, len(bars)) == (9, 7)
    assert report.rejections[["row", "symbol", "value"]].to_numpy().tolist() == [
        [5, "BRK-B", "soon"],
        [7, "", "2024-03-01,1"],
    ]


def test_an_empty_line_of_the_only_ticker_is_a_rejected_row(tmp_path: Path) -> None:
    report, bars = taken_text(tmp_path, "ABC.csv", SAMPLE.text(*SAMPLE.lines(), "2024-03-01,,,,,"))
    assert report.rejections[["row", "reason"]].to_numpy().tolist() == [[7, "open is missing"]]
    assert len(bars) == 3


def test_with_an_adjusted_close_the_layout_is_that_of_yahoo(tmp_path: Path) -> None:
    frame = wide([*FIELDS, "Adj Close"], "column")
    frame.loc["2024-02-27", ("Adj Close", "ABC")] = 9.45
    frame.to_csv(tmp_path / "all.csv")
    report, bars = taken(tmp_path, tmp_path / "all.csv")
    assert (report.files[0].layout, report.files[0].notes, report.unadjusted) == ("Yahoo", (), [])
    factors = bars.groupby("symbol")["adj_factor"].apply(list).to_dict()
    assert factors["ABC"] == pytest.approx([1, 1 / 0.9, 1 / 0.9])
    assert factors["0700.HK"] == [1, 1]


def test_a_column_of_a_ticker_is_there_once(tmp_path: Path) -> None:
    header = "Price,Close,High,Low,Open,Volume,Open\nTicker,ABC,ABC,ABC,ABC,ABC,ABC\nDate,,,,,,"
    lines = [f"{line},10.0" for line in SAMPLE.lines()]
    assert "column open is there twice" in error_of(tmp_path, "ABC.csv", "\n".join([header, *lines]))


@pytest.mark.slow
def test_history_is_adjusted_and_says_so(tmp_path: Path) -> None:
    header = "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits"
    rows = [f"2024-01-0{day} 00:00:00-05:00,10,11,9,10.5,100,{paid},0.0" for day, paid in ((2, 0.0), (3, 0.5))]
    report, bars = taken_text(tmp_path, "AAPL.csv", "\n".join([header, *rows]))
    assert (report.files[0].layout, report.files[0].notes) == ("yfinance history", (ADJUSTED,))
    assert report.files[0].ignored_columns == ("Dividends", "Stock Splits")
    assert bars["adj_factor"].isna().all()
    assert bars["date"].dt.day.tolist() == [2, 3]
    rows = [
        f"2024-01-0{day} 00:00:00-05:00,10,11,9,10.5,{adj},100,{paid},0.0"
        for day, adj, paid in ((2, 10, 0), (3, 10.5, 0.5))
    ]
    report, bars = taken_text(tmp_path, "AAPL.csv", "\n".join([header.replace("Volume", "Adj Close,Volume"), *rows]))
    assert report.files[0].layout == "Yahoo"
    assert bars["adj_factor"].tolist() == pytest.approx([1, 1.05])


@pytest.mark.slow
def test_days_of_asia_are_those_of_the_exchange(tmp_path: Path) -> None:
    header = "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits"
    for name, ahead in (("7203.T", "+09:00"), ("BHP.AX", "+11:00"), ("600519.SS", "+08:00")):
        rows = [f"2024-01-0{day} 00:00:00{ahead},10,11,9,10.5,100,0.0,0.0" for day in (4, 5)]
        bars = taken_text(tmp_path, f"{name}.csv", "\n".join([header, *rows]))[1]
        assert bars["date"].dt.day.tolist() == [4, 5]


def test_bars_within_a_day_are_refused_as_such(tmp_path: Path) -> None:
    lines = [SAMPLE.line(f"2024-01-02 {hour}:30:00-05:00") for hour in (10, 11)]
    text = SAMPLE.text(*lines).replace("Date,", "Datetime,")
    assert "bars within a day are not taken" in error_of(tmp_path, "ABC.csv", text)


@pytest.mark.slow
def test_closes_side_by_side_are_no_bars(tmp_path: Path) -> None:
    close = wide(FIELDS, "column")["Close"]
    for text in (close.to_csv(), close.reset_index().to_csv(index=False), wide(["Close", "Volume"], "column").to_csv()):
        assert "a table of closes alone cannot be used" in error_of(tmp_path, "all.csv", text)


def test_a_field_that_no_ticker_has_is_missing(tmp_path: Path) -> None:
    error = error_of(tmp_path, "all.csv", wide(["Close", "High", "Low", "Open"], "column").to_csv())
    assert "column volume is missing; its columns are Date, Close, High, Low, Open, nearest" in error
