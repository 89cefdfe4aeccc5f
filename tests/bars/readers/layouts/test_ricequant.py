from pathlib import Path

import numpy as np
import pytest

from tests.support.vendor_files import check_bad_input, ingested

HEADER = "order_book_id,date,open,close,high,low,volume,total_turnover,num_trades,limit_up,limit_down,prev_close"
ROWS = (
    "2024-01-02,20,20.4,20.6,19.8,703600,14353440,999,22.11,18.09,20.1",
    "2024-01-03,20.4,22,22.1,20.3,703600,15479200,999,22.44,18.36,20.4",
    "2024-01-04,22,22,22,22,0,0,0,24.2,19.8,22",
    "2024-01-05,20.1,20.5,20.8,20,703600,14423800,999,22,18,20",
    "2024-01-08,20.5,20.6,20.7,20.1,703600,14494160,999,22.55,18.45,20.5",
)


def file() -> str:
    return "\n".join([HEADER, *(f"600999.XSHG,{row}" for row in ROWS)]) + "\n"


@pytest.mark.slow
def test_the_previous_close_tells_the_factor(tmp_path: Path) -> None:
    single = "\n".join([HEADER.partition(",")[2], *ROWS])
    for name, text in (
        ("any.csv", file()),
        ("600999.XSHG.csv", single),
        ("600999.csv", single.replace("date", "datetime")),
    ):
        report, bars = ingested(tmp_path, {name: text})
        assert (report.rejected, report.files[0].layout) == (0, "RiceQuant")
        assert bars["symbol"].unique().tolist() == ["600999.SH"]
        assert bars["adj_factor"].tolist() == [1.0, 1.0, 1.0, 1.1, 1.1]
        assert bars["suspended"].tolist() == [False, False, True, False, False]
        assert (bars["volume"].iloc[0], bars["amount"].iloc[0]) == (703600.0, 14353440.0)


@pytest.mark.slow
def test_without_it_prices_are_taken_as_raw_and_the_report_says_so(tmp_path: Path) -> None:
    text = "\n".join(line.rpartition(",")[0] for line in file().splitlines())
    report, bars = ingested(tmp_path, {"any.csv": text})
    assert np.isnan(bars["adj_factor"].to_numpy(dtype=float)).all()
    assert "adjust_type='none'" in report.files[0].notes[0]


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    check_bad_input(tmp_path, "a.csv", file())
