from pathlib import Path

import pytest

from tests.support.vendor_files import check_bad_input, ingested

HEADER = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,isST"
ROWS = (
    "2024-01-02,sh.600999,20,20.6,19.8,20.4,20.1,703600,14353440,3,1.2,1,1,0",
    "2024-01-03,sh.600999,20.4,22.1,20.3,22,20.4,703600,15479200,3,1.2,1,1,0",
    "2024-01-04,sh.600999,22,22,22,22,22,,,3,,0,0,0",
    "2024-01-05,sh.600999,20.1,20.8,20,20.5,20,703600,14423800,3,1.2,1,1,0",
    "2024-01-08,sh.600999,20.5,20.7,20.1,20.6,20.5,703600,14494160,3,1.2,1,1,0",
)


def file(flag: str = "3") -> str:
    return "\n".join([HEADER, *(row.replace(",3,", f",{flag},", 1) for row in ROWS)]) + "\n"


@pytest.mark.slow
def test_the_previous_close_tells_the_factor_and_a_status_the_suspension(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"any.csv": file()})
    assert (report.files[0].layout, report.rejected) == ("baostock", 0)
    assert bars["symbol"].unique().tolist() == ["600999.SH"]
    assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.0, 1.1, 1.1]
    assert bars["suspended"].tolist() == [False, False, True, False, False]
    assert (bars["volume"].iloc[0], bars["amount"].iloc[0]) == (703600.0, 14353440.0)


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "says"), [("1", "backward adjusted"), ("2", "forward adjusted")])
def test_adjusted_prices_are_named_and_their_previous_close_says_nothing(tmp_path: Path, flag: str, says: str) -> None:
    report, bars = ingested(tmp_path, {"any.csv": file(flag)})
    assert report.files[0].notes[0].startswith(f"its prices are {says}")
    assert bars["adj_factor"].isna().all()


def test_prices_of_two_kinds_in_one_file_are_refused(tmp_path: Path) -> None:
    report, _ = ingested(tmp_path, {"any.csv": file() + file("1").partition("\n")[2]})
    assert "holds prices that are backward adjusted and raw; deliver them as a file each" in report.errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("left", ["adjustflag", "tradestatus", "pctChg", "isST"])
def test_whoever_asks_may_have_left_the_previous_close_out(tmp_path: Path, left: str) -> None:
    names = HEADER.split(",")
    kept = [at for at, name in enumerate(names) if name in (*names[:6], "volume", "amount", left)]
    text = "\n".join(",".join(line.split(",")[at] for at in kept) for line in (HEADER, *ROWS))
    report, bars = ingested(tmp_path, {"any.csv": text})
    assert (report.files[0].layout, report.rejected) == ("baostock", 0)
    assert bars["symbol"].unique().tolist() == ["600999.SH"]
    assert bars["adj_factor"].isna().all()
    assert "preclose" in report.files[0].notes[0]


@pytest.mark.slow
def test_raw_and_adjusted_files_beside_each_other_are_one_history(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"a.csv": file(), "b.csv": file("1")})
    assert (report.read, report.stored_new, report.joined) == (5, 5, 5)
    # The adjusted prices are those of the raw ones here: nothing was paid out by them.
    assert bars["adj_factor"].tolist() == [1.0] * 5


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    check_bad_input(tmp_path, "a.csv", file())
