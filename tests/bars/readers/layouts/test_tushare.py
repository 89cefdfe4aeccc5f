from pathlib import Path

import pytest

from tests.support.vendor_files import check_bad_input, ingested

HEADER = "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount"
# Newest first; two yuan are paid out on the 5th.
CLOSES = {"20240102": (20.0, 19.8), "20240103": (21.0, 20.0), "20240104": (22.0, 21.0), "20240105": (20.5, 20.0)}
CLOSES["20240108"] = (20.6, 20.5)


def daily(symbol: str = "600999.SH", days: tuple[str, ...] = tuple(CLOSES)) -> str:
    rows = []
    for day in sorted(days, reverse=True):
        close, before = CLOSES[day]
        rows.append(
            f"{symbol},{day},{close},{close + 0.1:.2f},{close - 0.1:.2f},{close},{before},0,0,1719786.77,1136.789"
        )
    return "\n".join([HEADER, *rows]) + "\n"


def factors(symbol: str = "600999.SH", days: tuple[str, ...] = tuple(CLOSES)) -> str:
    rows = [f"{symbol},{day},{5.5 if day >= '20240105' else 5.0}" for day in sorted(days, reverse=True)]
    return "\n".join(["ts_code,trade_date,adj_factor", *rows]) + "\n"


@pytest.mark.slow
def test_lots_and_thousands_become_shares_and_yuan_and_the_previous_close_a_factor(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"t.csv": daily()})
    assert (report.rejected, report.files[0].layout) == (0, "Tushare daily")
    assert bars["symbol"].unique().tolist() == ["600999.SH"]
    assert bars["date"].tolist() == ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"]
    assert bars["volume"].unique().tolist() == [171978677.0]
    assert bars["amount"].unique().tolist() == [1136789.0]
    assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.0, 1.1, 1.1]


@pytest.mark.slow
def test_factors_of_the_same_delivery_go_before_the_previous_close(tmp_path: Path) -> None:
    days = (*CLOSES, "20240109")
    report, bars = ingested(tmp_path, {"t.csv": daily(), "f.csv": factors(days=days)})
    assert bars["adj_factor"].tolist() == [5.0, 5.0, 5.0, 5.5, 5.5]
    assert (report.read, report.stored_new, report.joined) == (6, 5, 5)
    assert report.rejections[["row", "value"]].to_numpy().tolist() == [[2, "2024-01-09"]]
    assert report.rejections["reason"].iloc[0].startswith("no raw bar of its symbol and date is in the delivery")
    assert not report.errors[1:]


def test_factors_alone_are_refused_with_what_to_deliver(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"f.csv": factors()})
    assert len(bars) == 0
    assert (report.read, report.rejected, report.joined) == (5, 5, 0)
    assert "deliver prices and what adjusts them together" in report.errors[0]


@pytest.mark.slow
def test_a_bar_without_a_factor_beside_others_with_one_is_rejected(tmp_path: Path) -> None:
    some = tuple(CLOSES)[:3]
    report, bars = ingested(tmp_path, {"t.csv": daily(), "f.csv": factors(days=some)})
    assert bars["adj_factor"].tolist() == [5.0] * 3
    assert report.rejections["row"].tolist() == [2, 3]
    assert report.rejections["reason"].str.startswith("adj_factor is missing: a delivered file adjusts").all()


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["0", "-1", "x", "", "inf"])
def test_a_factor_that_is_none_is_named(tmp_path: Path, bad: str) -> None:
    text = factors().replace("20240104,5.0", f"20240104,{bad}")
    report, bars = ingested(tmp_path, {"t.csv": daily(), "f.csv": text})
    assert len(bars) == 4
    rows = report.rejections.sort_values("row")[["row", "value"]].to_numpy().tolist()
    assert rows == [[4, bad], [4, "2024-01-04"]] or rows == [[4, "2024-01-04"], [4, bad]]


@pytest.mark.slow
def test_factors_that_contradict_each_other_join_nothing(tmp_path: Path) -> None:
    other = factors().replace("20240104,5.0", "20240104,5.1")
    report, bars = ingested(tmp_path, {"t.csv": daily(), "f.csv": factors(), "g.csv": other})
    assert bars["date"].tolist() == ["2024-01-02", "2024-01-03", "2024-01-05", "2024-01-08"]
    reasons = report.rejections["reason"].str.partition(":")[0].value_counts().to_dict()
    assert reasons == {
        "symbol and date are given more than once, with the same contents": 4,
        "symbol and date are given more than once, with different contents": 2,
        "adj_factor is missing": 1,
    }
    assert report.joined == 4


@pytest.mark.slow
def test_the_code_may_stand_in_the_name_alone(tmp_path: Path) -> None:
    text = "\n".join(line.partition(",")[2] for line in daily().splitlines())
    report, bars = ingested(tmp_path, {"600999.SH.csv": text})
    assert (report.files[0].layout, bars["symbol"].unique().tolist()) == ("Tushare daily", ["600999.SH"])
    assert bars["volume"].unique().tolist() == [171978677.0]
    assert "its name 'prices' is no symbol" in ingested(tmp_path, {"prices.csv": text})[0].errors[0]


def test_days_that_became_numbers_with_decimals(tmp_path: Path) -> None:
    bars = ingested(tmp_path, {"t.csv": daily().replace("SH,20240102,", "SH,20240102.0,")})[1]
    assert bars["date"].tolist()[0] == "2024-01-02"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "header", "end"),
    [
        (
            "get_hist_data",
            "date,open,high,close,low,volume,price_change,p_change,ma5,ma10,ma20,v_ma5,v_ma10,v_ma20,turnover",
            ",0.1,0.5,10,10,10,7036,7036,7036,0.2",
        ),
        ("get_k_data", ",date,open,close,high,low,volume,code", ",600999"),
    ],
)
def test_the_first_interface_counts_lots(tmp_path: Path, layout: str, header: str, end: str) -> None:
    at = "0," if header.startswith(",") else ""
    high_low = "10.6,9.8" if layout == "get_k_data" else ""
    cells = f"10.0,10.4,{high_low}" if high_low else "10.0,10.6,10.4,9.8"
    report, bars = ingested(tmp_path, {"600999.csv": f"{header}\n{at}2024-01-02,{cells},7036.0{end}\n"})
    assert report.files[0].layout == f"Tushare {layout}"
    assert bars.loc[0, ["symbol", "open", "high", "low", "close", "volume"]].tolist() == [
        "600999.SH",
        10.0,
        10.6,
        9.8,
        10.4,
        703600.0,
    ]
    assert layout in report.files[0].notes[0]


def test_bad_input(tmp_path: Path) -> None:
    check_bad_input(tmp_path, "t.csv", daily())
