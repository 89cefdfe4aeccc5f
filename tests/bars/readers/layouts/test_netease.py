from pathlib import Path

import pytest

from tests.support.vendor_files import check_bad_input, ingested

HEADER = "日期,股票代码,名称,收盘价,最高价,最低价,开盘价,前收盘,涨跌额,涨跌幅,换手率,成交量,成交金额"


def quotes(code: str = "600999", name: str = "某某银行") -> str:
    start = f",'{code},{name},"
    rows = [
        f"2024-01-09{start}20.2,20.7,20.1,20.6,20.6,-0.4,-1.9,0.1,703600,14212720.0",
        f"2024-01-08{start}20.6,20.7,20.1,20.5,20.5,0.1,0.5,0.1,703600,14494160.0",
        f"2024-01-05{start}20.5,20.8,20.0,20.1,20.0,0.5,2.5,0.1,703600,14423800.0",
        f"2024-01-04{start}0.0,0.0,0.0,0.0,22.0,None,None,0.0,0,0.0",
        f"2024-01-03{start}22.0,22.1,20.3,20.4,20.4,1.6,7.8,0.1,703600,15479200.0",
        f"2024-01-02{start}20.4,20.6,19.8,20.0,20.1,0.3,1.5,0.1,703600,14353440.0",
    ]
    return "\n".join([HEADER, *rows]) + "\n"


def test_quotes_with_an_apostrophe_and_days_without_prices(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"0600999.csv": quotes().encode("gbk")})
    assert (report.rejected, report.files[0].layout) == (0, "NetEase 163")
    assert bars["symbol"].unique().tolist() == ["600999.SH"]
    assert bars["close"].tolist() == [20.4, 22.0, 22.0, 20.5, 20.6, 20.2]
    assert bars["suspended"].tolist() == [False, False, True, False, False, False]
    assert report.mended == {"suspended days written without prices, which stand at the previous close": 1}
    assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.0, 1.1, 1.1, 1.1]
    assert (bars["volume"].iloc[0], bars["amount"].iloc[0]) == (703600.0, 14353440.0)


@pytest.mark.slow
def test_an_index_is_told_by_its_name(tmp_path: Path) -> None:
    for code, name, symbol in (
        ("000001", "上证指数", "000001.SH"),
        ("000001", "平安银行", "000001.SZ"),
        ("399001", "深证成指", "399001.SZ"),
        ("399106", "深证综合", "399106.SZ"),
        ("000300", "沪深300", "000300.SH"),
        ("000905", "中证500", "000905.SH"),
        ("000016", "上证50", "000016.SH"),
        ("000688", "科创50", "000688.SH"),
        ("000300", "某某科技", "000300.SZ"),
    ):
        bars = ingested(tmp_path, {"any.csv": quotes(code, name).encode("gbk")})[1]
        assert bars["symbol"].unique().tolist() == [symbol]


@pytest.mark.slow
def test_files_of_fooltrader_have_a_factor(tmp_path: Path) -> None:
    text = (
        "timestamp,code,name,low,open,close,high,volume,turnover,securityId,preClose,change,changePct,factor\n"
        "2024-01-02,300999,某某,19.8,20,20.4,20.6,703600,14353440,stock_sz_300999,20.1,0.3,1.5,1\n"
        "2024-01-03,300999,某某,20.3,20.4,22,22.1,703600,15479200,stock_sz_300999,20.4,1.6,7.8,1\n"
        "2024-01-04,300999,某某,20.0,20.1,20.5,20.8,703600,14423800,stock_sz_300999,20,0.5,2.5,1.1\n"
        "2024-01-05,300999,某某,20.1,20.5,20.6,20.7,703600,14494160,stock_sz_300999,20.5,0.1,0.5,1.1\n"
        "2024-01-08,300999,某某,20.1,20.5,20.6,20.7,703600,14494160,stock_sz_300999,20.6,0.1,0.5,\n"
    )
    report, bars = ingested(tmp_path, {"any.csv": text})
    assert (bars["symbol"].iloc[0], report.files[0].layout) == ("300999.SZ", "fooltrader")
    assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.1, 1.1]
    assert report.rejections[["row", "reason"]].to_numpy().tolist() == [[6, "adj_factor is missing"]]
    check_bad_input(tmp_path, "a.csv", text.replace("0.5,\n", "0.5,1.1\n"))


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    check_bad_input(tmp_path, "a.csv", quotes(), "gbk")
