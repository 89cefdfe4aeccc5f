from pathlib import Path

import pytest

from tests.support.vendor_files import check_bad_input, ingested

DUMP = (
    ",OBJECT_ID,S_INFO_WINDCODE,TRADE_DT,S_DQ_PRECLOSE,S_DQ_OPEN,S_DQ_HIGH,S_DQ_LOW,S_DQ_CLOSE,S_DQ_VOLUME,S_DQ_AMOUNT,"
    "S_DQ_ADJFACTOR,S_DQ_TRADESTATUS\n"
    "7,{A},300999.SZ,20240105,20,20.1,20.8,20,20.5,15520.97,38020.6639,1.1,??\n"
    "3,{B},300999.SZ,20240102,20.1,20,20.6,19.8,20.4,15520.97,38020.6639,1.0,??\n"
    "9,{C},300999.SZ,20240103,20.4,20.4,22.1,20.3,22,15520.97,38020.6639,1.0,??\n"
    "1,{D},300999.SZ,20240104,22,22,22,22,22,0,0,1.0,??\n"
    "2,{E},300999.SZ,20240108,20.5,20.5,20.7,20.1,20.6,15520.97,38020.6639,1.1,??\n"
)
TERMINAL = (
    "代码,简称,日期,前收盘价(元),开盘价(元),最高价(元),最低价(元),收盘价(元),成交量(股),成交金额(元)\n"
    "600999.SH,某某,2024-01-02,20.1,20,20.6,19.8,20.4,703600,14353440\n"
    "600999.SH,某某,2024-01-03,20.4,20.4,22.1,20.3,22,703600,15479200\n"
    "600999.SH,某某,2024-01-04,22,,,,22,0,0\n"
    "600999.SH,某某,2024-01-05,20,20.1,20.8,20,20.5,703600,14423800\n"
    "600999.SH,某某,2024-01-08,20.5,20.5,20.7,20.1,20.6,703600,14494160\n"
)


@pytest.mark.slow
def test_a_dump_in_any_order_has_lots_thousands_and_factors(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"any.csv": DUMP})
    assert (report.rejected, report.files[0].layout) == (0, "Wind ASHAREEODPRICES")
    assert bars["symbol"].unique().tolist() == ["300999.SZ"]
    assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.0, 1.1, 1.1]
    assert bars["suspended"].tolist() == [False, False, True, False, False]
    assert (bars["volume"].iloc[0], bars["amount"].iloc[0]) == (1552097.0, 38020663.9)


@pytest.mark.slow
def test_an_export_of_the_terminal_names_its_units(tmp_path: Path) -> None:
    trailer = "\n数据来源：Wind\n"
    for data in (TERMINAL.encode(), (TERMINAL + trailer).encode("gbk"), ("\ufeff" + TERMINAL + trailer).encode()):
        report, bars = ingested(tmp_path, {"any.csv": data})
        assert (report.rejected, report.files[0].layout) == (0, "Wind terminal")
        assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.0, 1.1, 1.1]
        assert bars["suspended"].tolist() == [False, False, True, False, False]
        assert bars["volume"].iloc[0] == 703600.0


@pytest.mark.slow
@pytest.mark.parametrize(("shares", "times"), [("手", 100), ("万股", 1e4)])
@pytest.mark.parametrize(("money", "by"), [("千元", 1e3), ("万元", 1e4), ("百万", 1e6), ("亿元", 1e8)])
def test_whoever_exports_chooses_the_units(tmp_path: Path, shares: str, times: float, money: str, by: float) -> None:
    text = TERMINAL.replace("成交量(股)", f"成交量({shares})").replace("成交金额(元)", f"成交额({money})")
    if shares == "手":
        text = text.replace("(", "（").replace(")", "）")
    report, bars = ingested(tmp_path, {"any.csv": text})
    assert report.files[0].layout == "Wind terminal"
    assert bars.loc[0, ["volume", "amount"]].tolist() == [703600 * times, 14353440 * by]


@pytest.mark.slow
def test_thousands_of_an_export_are_divided(tmp_path: Path) -> None:
    text = TERMINAL.replace(",703600,14353440", ',"703,600","14,353,440.00"')
    assert ingested(tmp_path, {"any.csv": text})[1].loc[0, ["volume", "amount"]].tolist() == [703600, 14353440]


def test_an_amount_in_an_unknown_unit_is_not_read(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"any.csv": TERMINAL.replace("成交金额(元)", "成交金额(港元)")})
    assert "成交金额(港元)" in report.files[0].ignored_columns
    assert bars["amount"].isna().all()


def test_other_units_are_none_of_this_layout(tmp_path: Path) -> None:
    report, _ = ingested(tmp_path, {"any.csv": TERMINAL.replace("成交量(股)", "成交量(份)")})
    assert "column 成交量(股) is missing" in report.errors[0]


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    check_bad_input(tmp_path, "a.csv", DUMP)
    check_bad_input(tmp_path, "a.csv", TERMINAL, "gbk")
