from pathlib import Path

import numpy as np
import pytest

from kline_core.bars.increments import NO_OVERLAP
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport, NothingUsableError
from kline_core.store.home import Home
from tests.support.vendor_files import check_bad_input, ingested, write_files

# Two yuan are paid out on the 5th, and from the 9th on each share is two.
RAW = {
    "2024-01-02": (20.00, 20.40, 20.60, 19.80),
    "2024-01-03": (20.40, 21.00, 21.10, 20.30),
    "2024-01-04": (21.00, 22.00, 22.20, 20.90),
    "2024-01-05": (20.10, 20.50, 20.80, 20.00),
    "2024-01-08": (20.50, 20.60, 20.70, 20.10),
    "2024-01-09": (10.20, 10.50, 10.60, 10.10),
    "2024-01-10": (10.50, 10.45, 10.70, 10.40),
}
CODED = "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率"
FACTORS = [1.0, 1.0, 1.0, 1.1, 1.1, 2.2, 2.2]


def hist(code: str | None = "1", adjust: str = "") -> str:
    rows = [CODED if code is not None else CODED.replace("股票代码,", "")]
    for (day, prices), factor in zip(RAW.items(), FACTORS, strict=True):
        if adjust == "factor":
            prices = tuple(price * factor for price in prices)
        elif adjust == "sum":
            # What was paid out is added, as Eastmoney does it.
            shares = 2 if factor > 2 else 1
            prices = tuple(price * shares + (2 if factor > 1 else 0) for price in prices)
        numbers = ",".join(f"{price:.2f}" for price in prices)
        rows.append(f"{day},{'' if code is None else code + ','}{numbers},7036,34835236.0,1.0,0.1,0.02,0.5")
    return "\ufeff" + "\n".join(rows) + "\n"


def sina(header: str = "date,open,high,low,close,volume,amount,outstanding_share,turnover") -> str:
    rows = [f"{d},{o},{h},{lo},{c},703600,34835236,1e9,0.01" for d, (o, c, h, lo) in RAW.items()]
    return "\n".join([header, *rows]) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "symbol"),
    [
        ("any.csv", "1", "000001.SZ"),
        # Codes that became numbers with decimals, or were kept from it.
        ("any.csv", "1.0", "000001.SZ"),
        ("any.csv", "'000001", "000001.SZ"),
        ("any.csv", " 600519 ", "600519.SH"),
        ("000001.csv", None, "000001.SZ"),
        ("600519_daily.csv", None, "600519.SH"),
        ("平安银行000001.csv", None, "000001.SZ"),
        ("any.csv", "600519", "600519.SH"),
        ("any.csv", "510300", "510300.SH"),
    ],
)
def test_codes_stand_in_a_column_or_in_the_name_of_the_file(
    tmp_path: Path, name: str, code: str | None, symbol: str
) -> None:
    report, bars = ingested(tmp_path, {name: hist(code)})
    assert bars["symbol"].unique().tolist() == [symbol]
    assert bars["volume"].unique().tolist() == [703600.0]
    assert bars.loc[0, ["open", "high", "low", "close"]].tolist() == [20.0, 20.6, 19.8, 20.4]
    assert report.unadjusted == [symbol]
    assert "hfq" in report.files[0].notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["symbol", "code"])
def test_frames_of_several_codes_in_one_file(tmp_path: Path, name: str) -> None:
    codes = (f"{name}", *["sh600519"] * len(RAW))
    text = "\n".join(f"{code},{line}" for code, line in zip(codes, sina().splitlines(), strict=True))
    report, bars = ingested(tmp_path, {"all.csv": text})
    assert (report.files[0].layout, bars["symbol"].unique().tolist()) == ("AkShare (Sina)", ["600519.SH"])


def test_a_code_of_hong_kong_is_none_of_the_mainland(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"00700.csv": hist(None)})
    assert len(bars) == 0
    assert "its name '00700' is no symbol" in report.errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("adjust", ["factor", "sum"])
@pytest.mark.parametrize(
    "name", ["000001_hfq.csv", "hfq/000001.csv", "000001后复权.csv", "000001_qfq.csv", "qfq/000001.csv"]
)
def test_adjusted_prices_beside_raw_ones_tell_the_factor(tmp_path: Path, adjust: str, name: str) -> None:
    report, bars = ingested(tmp_path, {"000001.csv": hist(), name: hist(adjust=adjust)})
    assert (report.read, report.stored_new, report.joined) == (7, 7, 7)
    np.testing.assert_allclose(bars["adj_factor"], FACTORS, rtol=1e-12)
    assert bars["close"].tolist() == [prices[1] for prices in RAW.values()]
    assert not report.errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        *(
            ("data_qfq/000001.csv", "forward"),
            ("qfq/2024/000001.csv", "forward"),
            ("QFQ-2024/01/000001.csv", "forward"),
        ),
        *(("后复权/沪市/000001.csv", "backward"), ("hfq/raw/000001.csv", ""), ("qfq/a/b/c/000001.csv", "")),
        *(("hfqs/000001.csv", ""), ("data_hfq.zip/qfq/000001.csv", "forward")),
    ],
)
def test_a_folder_around_tells_the_adjustment(tmp_path: Path, name: str, says: str) -> None:
    report, _ = ingested(tmp_path, {name: hist(adjust="factor")})
    notes = [note for note in report.files[0].notes if "adjusted" in note and "its prices are" in note]
    assert [note.split()[3] for note in notes] == ([says] if says else [])


@pytest.mark.slow
def test_adjusted_prices_alone_are_named_as_what_they_are(tmp_path: Path) -> None:
    for name, says in (("000001_hfq.csv", "backward adjusted"), ("000001_qfq.csv", "forward adjusted")):
        report, bars = ingested(tmp_path, {name: hist(adjust="factor")})
        assert bars["symbol"].unique().tolist() == ["000001.SZ"]
        assert [note.split(":")[0].split(" and")[0] for note in report.files[0].notes] == [f"its prices are {says}"]
        assert report.unadjusted == ["000001.SZ"]


def test_days_that_only_one_of_two_files_has_are_rejected(tmp_path: Path) -> None:
    raw, adjusted = hist().splitlines(), hist(adjust="factor").splitlines()
    files = {"000001.csv": "\n".join(raw[:-1]), "000001_hfq.csv": "\n".join([adjusted[0], *adjusted[2:]])}
    report, bars = ingested(tmp_path, files)
    assert bars["date"].tolist() == list(RAW)[1:-1]
    assert (report.read, report.stored_new, report.rejected, report.joined) == (7, 5, 2, 5)
    assert report.rejections[["row", "value"]].to_numpy().tolist() == [[2, "2024-01-02"], [7, "2024-01-10"]]


@pytest.mark.slow
@pytest.mark.parametrize("cut", range(1, 7))
def test_what_comes_in_parts_is_as_what_comes_at_once(tmp_path: Path, cut: int) -> None:

    home = Home(tmp_path / "home", create=True)
    for number, rows in enumerate((slice(1, cut + 1), slice(cut, 8))):
        files = {}
        for name, text in (("000001.csv", hist()), ("000001_hfq.csv", hist(adjust="factor"))):
            lines = text.splitlines()
            files[name] = "\n".join([lines[0], *lines[rows]])
        ingest(write_files(tmp_path / f"in{number}", files), home)
    bars = home.read("bars").to_pandas().sort_values("date")
    at_once = ingested(tmp_path, {"000001.csv": hist(), "000001_hfq.csv": hist(adjust="factor")})[1]
    assert bars["adj_factor"].tolist() == at_once["adj_factor"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("inverse", [False, True])
def test_factors_of_sina_hold_from_their_day_on(tmp_path: Path, inverse: bool) -> None:
    steps = {"2024-01-09": 2.2, "2024-01-05": 1.1, "1900-01-01": 1.0}
    rows = [f"{day},{2.2 / factor if inverse else factor}" for day, factor in steps.items()]
    name = "qfq_factor" if inverse else "hfq_factor"
    report, bars = ingested(
        tmp_path, {"sz000001.csv": sina(), "sz000001_factor.csv": "\n".join([f"date,{name}", *rows])}
    )
    changes = bars["adj_factor"] / bars["adj_factor"].iloc[0]
    np.testing.assert_allclose(changes, FACTORS, rtol=1e-12)
    assert (report.read, report.rejected, report.joined) == (7, 0, 3)
    assert bars["volume"].unique().tolist() == [703600.0]


@pytest.mark.slow
def test_forward_factors_of_sina_are_on_a_base_that_moves(tmp_path: Path) -> None:
    """All of them change with each payment, so that a later delivery must hold a stored day."""

    home = Home(tmp_path / "home", create=True)

    def deliver(steps: dict[str, float], first: int, last: int) -> IngestReport:
        header, *rows = sina().splitlines()
        text = "\n".join([header, *rows[first:last]])
        factors = "\n".join(["date,qfq_factor", *(f"{day},{factor}" for day, factor in steps.items())])
        place = tmp_path / f"in{first}{last}"
        return ingest(write_files(place, {"sz000001.csv": text, "sz000001_factor.csv": factors}), home)

    deliver({"2024-01-05": 1.0, "1900-01-01": 1.1}, 0, 5)
    later = {"2024-01-09": 1.0, "2024-01-05": 2.0, "1900-01-01": 2.2}
    with pytest.raises(NothingUsableError) as error:
        deliver(later, 5, 7)
    assert error.value.report.rejections["reason"].tolist() == [NO_OVERLAP] * 2
    assert deliver(later, 4, 7).stored_new == 2
    bars = home.read("bars").to_pandas().sort_values("date")
    np.testing.assert_allclose(bars["adj_factor"], FACTORS, rtol=1e-12)


@pytest.mark.slow
def test_the_amount_of_tencent_counts_lots(tmp_path: Path) -> None:
    rows = [f"{d},{o},{c},{h},{lo},7036" for d, (o, c, h, lo) in RAW.items()]
    text = "\n".join(["date,open,close,high,low,amount", *rows])
    report, bars = ingested(tmp_path, {"sz000001.csv": text})
    assert report.files[0].layout == "AkShare (Tencent)"
    assert bars["volume"].unique().tolist() == [703600.0]
    assert bars["amount"].isna().all()
    other = text.replace("open,close,high,low", "open,high,low,close")
    report, bars = ingested(tmp_path, {"sz000001.csv": other})
    assert len(bars) == 0
    assert "column volume is missing" in report.errors[0]


def test_columns_of_an_index_are_plain(tmp_path: Path) -> None:
    rows = [f"{d},{o},{h},{lo},{c},703600" for d, (o, c, h, lo) in RAW.items()]
    report, bars = ingested(tmp_path, {"sh000001.csv": "\n".join(["date,open,high,low,close,volume", *rows])})
    assert (report.files[0].layout, bars["symbol"].unique().tolist()) == ("plain", ["000001.SH"])


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    check_bad_input(tmp_path, "a.csv", hist().lstrip("\ufeff"))
    check_bad_input(tmp_path, "sh600000.csv", sina())
