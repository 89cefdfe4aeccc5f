import struct
from pathlib import Path

import pytest

from tests.support.vendor_files import check_bad_input, ingested

DAYS = {
    "2024/01/02": (20.00, 20.60, 19.80, 20.40),
    "2024/01/03": (20.40, 22.10, 20.30, 22.00),
    "2024/01/05": (20.10, 20.80, 20.00, 20.50),
    "2024/01/08": (20.50, 20.70, 20.10, 20.60),
    "2024/01/09": (20.60, 20.70, 20.10, 20.20),
}
TITLE = "600999 某某铁路 日线 不复权"


def export(title: str = TITLE, shift: float = 0.0, sign: str = ",") -> str:
    header = "      日期\t    开盘\t    最高\t    最低\t    收盘\t    成交量\t    成交额"
    rows = []
    for day, prices in DAYS.items():
        # TDX adjusts forward by subtracting from all days before what was paid out on the 5th.
        moved = [price - shift * (day < "2024/01/05") for price in prices]
        rows.append(sign.join([day, *(f"{price:.2f}" for price in moved), "614436357", "3525562368.00"]))
    return "\n".join([title, header, *rows, "数据来源:通达信"]) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "title", "symbol"),
    [
        ("SH#600999.txt", TITLE, "600999.SH"),
        ("any.txt", TITLE, "600999.SH"),
        ("600999.txt", TITLE, "600999.SH"),
        ("SH#000001.txt", "000001 上证指数 日线", "000001.SH"),
        ("SZ#000001.txt", "000001 平安银行 日线 不复权", "000001.SZ"),
        ("000300.txt", "000300 沪深300 日线", "000300.SH"),
        ("any.txt", "000001 上证指数 日线", "000001.SH"),
        ("399006.txt", "399006 创业板指 日线", "399006.SZ"),
    ],
)
@pytest.mark.parametrize("sign", [",", "\t"])
def test_the_title_gives_the_code_and_the_name_of_the_file_the_exchange(
    tmp_path: Path, name: str, title: str, symbol: str, sign: str
) -> None:
    report, bars = ingested(tmp_path, {name: export(title, sign=sign).encode("gbk")})
    assert (report.rejected, report.files[0].layout) == (0, "TDX text")
    assert bars["symbol"].unique().tolist() == [symbol]
    assert (bars["volume"].iloc[0], bars["amount"].iloc[0]) == (614436357.0, 3525562368.0)
    assert bars.loc[1, ["open", "high", "low", "close"]].tolist() == [20.4, 22.1, 20.3, 22.0]


def test_forward_adjusted_prices_are_named_and_those_that_are_none_rejected(tmp_path: Path) -> None:
    text = export("600999 某某铁路 日线 前复权", shift=20.2)
    report, bars = ingested(tmp_path, {"SH#600999.txt": text.encode("gbk")})
    assert report.files[0].notes[0].startswith("its prices are forward adjusted: every payment to come changes")
    assert report.rejections[["row", "reason", "value"]].to_numpy().tolist() == [[3, "open is not above 0", "-0.2"]]
    assert bars["date"].tolist() == ["2024-01-03", "2024-01-05", "2024-01-08", "2024-01-09"]
    assert report.unadjusted == ["600999.SH"]


@pytest.mark.slow
def test_raw_and_forward_adjusted_exports_are_one_history(tmp_path: Path) -> None:
    files = {
        "raw/SH#600999.txt": export().encode("gbk"),
        "adjusted/SH#600999.txt": export("600999 某某铁路 日线 前复权", shift=2.0).encode("gbk"),
    }
    report, bars = ingested(tmp_path, files)
    assert (report.read, report.stored_new, report.joined) == (5, 5, 5)
    assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.1, 1.1, 1.1]
    assert bars["close"].tolist() == [prices[3] for prices in DAYS.values()]


@pytest.mark.parametrize(
    ("name", "title", "says"),
    [
        ("a.txt", "600999 某某铁路 周线 前复权", "holds bars of 周线 by its title"),
        ("a.txt", "00700 腾讯控股 日线", "its title says '00700', which is no code of the mainland's exchanges"),
        ("SH#600998.txt", TITLE, "is named after symbol 600998.SH, and its title after 600999.SH"),
    ],
)
def test_titles_of_what_is_no_bar_of_the_mainland(tmp_path: Path, name: str, title: str, says: str) -> None:
    report, bars = ingested(tmp_path, {name: export(title).encode("gbk")})
    assert len(bars) == 0
    assert says in report.errors[0]


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    good = "\n".join(export(sign="\t").splitlines()[:-1])
    check_bad_input(tmp_path, "SH#600999.txt", good, "gbk")


def day_file(scale: int = 100, days: int = len(DAYS)) -> bytes:
    parts = []
    for day, prices in list(DAYS.items())[:days]:
        numbers = [round(price * scale) for price in prices]
        parts.append(struct.pack("<IIIIIfII", int(day.replace("/", "")), *numbers, 1.5e9, 703600, 0))
    return b"".join(parts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scale", "symbol", "volume"),
    [
        ("sh600999.day", 100, "600999.SH", 703600),
        ("SZ300999.DAY", 100, "300999.SZ", 703600),
        ("bj430047.day", 100, "430047.BJ", 703600),
        ("sh510300.day", 1000, "510300.SH", 703600),
        ("sz159915.day", 1000, "159915.SZ", 703600),
        ("sh900901.day", 1000, "900901.SH", 703600),
        ("sh000001.day", 100, "000001.SH", 70360000),
        ("sz399001.day", 100, "399001.SZ", 70360000),
        ("copy_of_sh000001.day", 100, "000001.SH", 70360000),
    ],
)
def test_units_of_a_day_file_follow_from_the_code(
    tmp_path: Path, name: str, scale: int, symbol: str, volume: float
) -> None:
    report, bars = ingested(tmp_path, {name: day_file(scale)})
    assert (report.rejected, report.files[0].layout) == (0, "TDX day")
    assert bars["symbol"].unique().tolist() == [symbol]
    assert bars["close"].tolist() == [prices[3] for prices in DAYS.values()]
    assert bars["volume"].unique().tolist() == [volume]
    assert bars["date"].tolist() == [day.replace("/", "-") for day in DAYS]


@pytest.mark.slow
def test_bad_day_files(tmp_path: Path) -> None:
    for name in ("000001.day", "sh204001.day", "any.day"):
        report, _ = ingested(tmp_path, {name: day_file()})
        assert "tells no share, fund or index whose units are known" in report.errors[0]
    report, _ = ingested(tmp_path, {"sh600999.day": b""})
    assert "holds no rows" in report.errors[0]
    report, _ = ingested(tmp_path, {"sh600999.day": b"date,open,high,low,close" * 40})
    assert "is no file of TDX" in report.errors[0]
    report, bars = ingested(tmp_path, {"sh600999.day": day_file()[:-7]})
    assert report.rejections[["row", "reason", "value"]].to_numpy().tolist() == [
        [5, "row is cut off", "25 of 32 bytes"]
    ]
    assert len(bars) == 4
    bad = struct.pack("<IIIIIfII", 20230229, 100, 100, 100, 100, 1.0, 1, 0)
    report, bars = ingested(tmp_path, {"sh600999.day": day_file() + bad})
    assert report.rejections[["row", "value"]].to_numpy().tolist() == [[6, "20230229"]]
    report, bars = ingested(tmp_path, {"sh600999.day": bytes(20)})
    assert report.rejected == 1
