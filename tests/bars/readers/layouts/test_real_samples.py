"""Samples of real vendors: run where KLINE_TEST_DATA names the folder that holds them, below `raw`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport
from kline_core.store.home import Home
from tests.support.real_data import needs_real_data, real_data
from tests.support.vendor_files import assert_accounted

pytestmark = needs_real_data
SAMPLES = {
    "alphavantage_AAPL.csv": ("Alpha Vantage", ["AAPL"], 5402, 0),
    "akshare_relaid_601318.csv": ("AkShare (Eastmoney)", ["601318.SH"], 1273, 0),
    "baostock_sample_600519_300rows.csv": ("baostock", ["600519.SH"], 300, 0),
    "baostock_sh.600031.csv": ("baostock", ["600031.SH"], 1273, 0),
    # The last row has no factor.
    "fooltrader163_300027.csv": ("fooltrader", ["300027.SZ"], 1850, 1),
    # Forward-adjusted prices of 2006 and 2008 that are not above 0.
    "tdx_export_SH#601006_gbk.txt": ("TDX text", ["601006.SH"], 3633, 31),
    # Days of the first years whose open or close lies outside low to high.
    "tdx_sh000001.day": ("TDX day", ["000001.SH"], 8439, 16),
    "tushare_daily_sse50_subset.csv": ("Tushare daily", None, 4760, 0),
    "wind_300127.SZ.csv": ("Wind ASHAREEODPRICES", ["300127.SZ"], 1537, 0),
    "yahoo_MSFT.csv": ("Yahoo", ["MSFT"], 1258, 0),
}


def folder() -> Path:
    return real_data()


def taken(tmp_path: Path, name: str) -> tuple[IngestReport, pd.DataFrame]:
    home = Home(tmp_path / name, create=True)
    report = ingest([folder() / "raw" / name], home)
    assert_accounted(report)
    bars = home.read("bars").to_pandas().sort_values(["symbol", "date"], ignore_index=True)
    return report, bars.assign(date=bars["date"].astype(str))


def returns(bars: pd.DataFrame) -> pd.Series:
    adjusted = bars["close"] * bars["adj_factor"]
    return adjusted / adjusted.groupby(bars["symbol"]).shift()


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_is_stored_or_rejected_and_units_are_right(tmp_path: Path, name: str) -> None:
    layout, symbols, rows, rejected = SAMPLES[name]
    report, bars = taken(tmp_path, name)
    assert (report.files[0].layout, report.stored_new, report.rejected) == (layout, rows, rejected)
    found = bars["symbol"].unique().tolist()
    assert found == (symbols or found)
    if symbols is None:
        assert all(len(symbol) == 9 and symbol[6] == "." for symbol in found)
    if bars["amount"].notna().all() and "tdx" not in name:
        # The mean price of a day lies near its close; that of an index, or of adjusted prices, does not.
        traded = bars[bars["volume"] > 0]
        mean = traded["amount"] / traded["volume"] / traded["close"]
        assert mean.between(0.9, 1.1).all()


@pytest.mark.parametrize(
    ("name", "close", "before", "tolerance"),
    [
        ("baostock_sample_600519_300rows.csv", "close", "preclose", 1e-12),
        ("baostock_sh.600031.csv", "close", "preclose", 1e-12),
        ("tushare_daily_sse50_subset.csv", "close", "pre_close", 1e-12),
        # Factors with six decimals.
        ("wind_300127.SZ.csv", "S_DQ_CLOSE", "S_DQ_PRECLOSE", 1e-6),
        # Factors with three decimals, previous closes with two.
        ("fooltrader163_300027.csv", "close", "preClose", 1e-3),
    ],
)
def test_adjusted_returns_are_those_that_the_exchange_published(
    tmp_path: Path, name: str, close: str, before: str, tolerance: float
) -> None:
    bars = taken(tmp_path, name)[1]
    source = pd.read_csv(folder() / "raw" / name, encoding="utf-8", encoding_errors="replace")
    day = next(column for column in ("date", "trade_date", "TRADE_DT", "timestamp") if column in source.columns)
    source["day"] = pd.to_datetime(source[day].astype(str)).dt.strftime("%Y-%m-%d")
    symbol = next((column for column in ("ts_code",) if column in source.columns), None)
    source["who"] = bars["symbol"].iloc[0] if symbol is None else source[symbol]
    both = bars.assign(got=returns(bars)).merge(source, left_on=["symbol", "date"], right_on=["who", "day"])
    assert len(both) == len(bars)
    close_name = close if close in both.columns else f"{close}_x"
    want = both[close_name] / both[before]
    known = both["got"].notna()
    np.testing.assert_allclose(both["got"][known], want[known], rtol=tolerance)


def test_adjusted_returns_of_wind_are_its_own_within_their_rounding(tmp_path: Path) -> None:
    name = "wind_300127.SZ.csv"
    bars = taken(tmp_path, name)[1]
    source = pd.read_csv(folder() / "raw" / name, encoding_errors="replace").sort_values("TRADE_DT")
    theirs = source["S_DQ_ADJCLOSE"].to_numpy()
    got = (bars["close"] * bars["adj_factor"]).to_numpy()
    np.testing.assert_allclose(got, theirs, atol=0.0051, rtol=0)


def test_vendors_agree_on_the_symbols_that_several_cover(tmp_path: Path) -> None:
    names = ("baostock_sh.600031.csv", "tushare_daily_sse50_subset.csv", "akshare_relaid_601318.csv")
    found = [taken(tmp_path, name)[1] for name in names]
    table = pq.read_table(folder() / "ashare_csi300_raw.parquet").to_pandas()
    found.append(table.assign(date=table["date"].astype(str).str[:10], adj_factor=np.nan))
    for at, one in enumerate(found):
        for other in found[at + 1 :]:
            both = one.merge(other, on=["symbol", "date"])
            for column in ("open", "high", "low", "close"):
                assert (both[f"{column}_x"] == both[f"{column}_y"]).all()
            # AkShare's volumes are whole lots, Tushare's amounts have three decimals of a thousand yuan.
            assert ((both["volume_x"] - both["volume_y"]).abs() <= 50).all()
            assert ((both["amount_x"] - both["amount_y"]).abs() <= 0.51).all()
