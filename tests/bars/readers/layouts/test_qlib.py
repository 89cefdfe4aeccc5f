"""Qlib: features saved as CSV, and its binary folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.increments import NO_OVERLAP
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.errors import InputError
from kline_core.store.home import Home
from tests.support.vendor_files import write_files
from tests.support.vendor_samples import DAYS, Sample, bad, error_of, prices, taken, taken_text

HEADER = "instrument,datetime,$open,$high,$low,$close,$volume,$factor"
SAMPLE = Sample("q.csv", HEADER, lambda day: f"SH600306,{day},5.0,5.5,4.5,5.25,2400,0.5")
test_bad_input = bad(SAMPLE)


def test_prices_and_volumes_become_those_of_the_exchange(tmp_path: Path) -> None:
    rows = ["SH600306,2024-02-27,5.0,5.5,4.5,5.25,2400,0.5", "SH600306,2024-02-28,10,11,9,10.5,1200,1.0"]
    report, bars = taken_text(tmp_path, "q.csv", "\n".join([HEADER, *rows]))
    assert (report.files[0].layout, report.unadjusted) == ("Qlib", [])
    assert bars["symbol"].tolist() == ["600306.SH"] * 2
    assert prices(bars) == [[10, 11, 9, 10.5, 1200]] * 2
    # Its base is that of this delivery, so that only its changes count.
    assert bars["adj_factor"].tolist() == [1.0, 2.0]


def features(closes: dict[str, float], factors: dict[str, float]) -> str:
    """Features of a symbol as Qlib writes them: raw closes times the factor, volumes of 1,200 shares divided by it."""
    rows = [
        ",".join(["SH600306", day, *(f"{np.float32(closes[day] * factor):.9g}" for _ in range(4)), f"{1200 / factor}"])
        + f",{np.float32(factor):.9g}"
        for day, factor in factors.items()
    ]
    return "\n".join([HEADER, *rows])


@pytest.mark.slow
def test_collections_on_another_base_are_chained_or_refused(tmp_path: Path) -> None:
    closes = {"2024-02-26": 10.0, "2024-02-27": 10.5, "2024-02-28": 9.0, "2024-02-29": 9.1}
    first = dict.fromkeys(list(closes)[:2], 0.31)
    second = {day: 0.7 if day < "2024-02-28" else 0.8 for day in closes}
    home = Home(tmp_path / "home", create=True)
    ingest(write_files(tmp_path / "a", {"q.csv": features(closes, first)}), home)
    later = {day: second[day] for day in list(closes)[2:]}
    with pytest.raises(NothingUsableError) as error:
        ingest(write_files(tmp_path / "b", {"q.csv": features(closes, later)}), home)
    assert error.value.report.rejections["reason"].unique().tolist() == [NO_OVERLAP]
    report = ingest(write_files(tmp_path / "c", {"q.csv": features(closes, second)}), home)
    assert (report.stored_new, report.rejected) == (2, 0)
    factor = home.read("bars").to_pandas().sort_values("date")["adj_factor"].to_numpy()
    np.testing.assert_allclose(factor, [1, 1, 0.8 / 0.7, 0.8 / 0.7], rtol=1e-6)


@pytest.mark.parametrize("kind", ["parquet", "frame"])
def test_a_frame_of_features_is_read_too(tmp_path: Path, kind: str) -> None:
    index = pd.MultiIndex.from_product(
        [["SH600306", "SZ000001"], pd.to_datetime(DAYS)], names=["instrument", "datetime"]
    )
    values = {"$open": 5.0, "$high": 5.5, "$low": 4.5, "$close": 5.25, "$volume": 2400.0, "$factor": 0.5}
    frame = pd.DataFrame(values, index=index).astype(np.float32)
    if kind == "parquet":
        frame.to_parquet(tmp_path / "q.parquet")
        report, bars = taken(tmp_path, tmp_path / "q.parquet")
        assert bars["symbol"].unique().tolist() == ["000001.SZ", "600306.SH"]
        assert prices(bars) == [[10, 11, 9, 10.5, 1200]] * 6
    else:
        report = ingest([frame], Home(tmp_path / "home", create=True))
    assert (report.read, report.stored_new) == (6, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "says"),
    [("", "adj_factor is missing"), ("0", "adj_factor is not above 0"), ("x", "adj_factor is no number")],
)
def test_without_a_factor_nothing_tells_the_price(tmp_path: Path, factor: str, says: str) -> None:
    line = SAMPLE.line("2024-02-26").replace(",0.5", f",{factor}")
    report, bars = taken_text(tmp_path, "q.csv", SAMPLE.text(*SAMPLE.lines(), line))
    assert report.rejections[["row", "reason", "value"]].to_numpy().tolist() == [[5, says, factor]]
    assert len(bars) == 3


def test_features_without_a_factor_are_refused(tmp_path: Path) -> None:
    lines = [line.removesuffix(",0.5") for line in SAMPLE.lines()]
    error = error_of(tmp_path, "q.csv", "\n".join([HEADER.removesuffix(",$factor"), *lines]))
    assert "column $factor is missing" in error
    assert "nearest to the layout Qlib" in error


def folder_of(place: Path, names: tuple[str, ...] = ("SH600306", "SZ000001")) -> Path:
    """A folder with five days, of which each instrument has the last four and no bar on the third."""
    folder = place / "cn_data"
    (folder / "calendars").mkdir(parents=True)
    (folder / "instruments").mkdir()
    days = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"]
    (folder / "calendars" / "day.txt").write_text("\n".join(days) + "\n")
    (folder / "instruments" / "all.txt").write_text("".join(f"{name}\t{days[1]}\t{days[-1]}\n" for name in names))
    values = {"open": 5.0, "high": 5.5, "low": 4.5, "close": 5.25, "volume": 2400.0, "factor": 0.5, "vwap": 5.0}
    for name in names:
        here = folder / "features" / name.lower()
        here.mkdir(parents=True)
        for field, value in values.items():
            data = [1.0, value, np.nan, value, value]
            np.array(data, dtype="<f4").tofile(here / f"{field}.day.bin")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True])
def test_a_binary_folder_is_one_source(tmp_path: Path, inside: bool) -> None:
    folder = folder_of(tmp_path / "in")
    report, bars = taken(tmp_path, folder.parent if inside else folder)
    assert [file.path for file in report.files] == [str(folder)]
    assert (report.files[0].layout, report.skipped, report.read, report.stored_new) == ("Qlib", [], 6, 6)
    assert bars["symbol"].tolist() == ["000001.SZ"] * 3 + ["600306.SH"] * 3
    assert bars["date"].dt.day.tolist() == [3, 5, 8] * 2
    assert prices(bars) == [[10, 11, 9, 10.5, 1200]] * 6
    assert bars["adj_factor"].tolist() == [1.0] * 6


@pytest.mark.slow
def test_tickers_have_their_names_from_the_list_of_instruments(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", ("AAPL", "BRK-B", "CON"))
    (folder / "features" / "con").rename(folder / "features" / "_qlib_con")
    (folder / "instruments" / "all.txt").unlink()
    assert taken(tmp_path, folder)[1]["symbol"].unique().tolist() == ["AAPL", "BRK-B", "CON"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "feature is missing"),
        (b"\0" * 7, "feature has 7 bytes, not four a number"),
        (
            np.array([3, 1, 1, 1], "<f4").tobytes(),
            "feature begins at 3 and has 3 days, which the calendar's 5 do not hold",
        ),
        (np.array([np.nan, 1], "<f4").tobytes(), "feature begins at nan"),
        (np.array([1.5, 1], "<f4").tobytes(), "feature begins at 1.5"),
        (np.array([-1, 1], "<f4").tobytes(), "feature begins at -1"),
    ],
)
def test_an_instrument_that_cannot_be_used_is_one_rejected_row(tmp_path: Path, data: bytes, says: str) -> None:
    folder = folder_of(tmp_path / "in")
    file = folder / "features" / "sz000001" / "close.day.bin"
    file.write_bytes(data)
    report, bars = taken(tmp_path, folder)
    assert report.rejections[["symbol", "value"]].to_numpy().tolist() == [["SZ000001", str(file)]]
    assert report.rejections["reason"][0].startswith(says)
    assert (report.read, len(bars)) == (4, 3)
    file.unlink()
    assert taken(tmp_path, folder)[0].rejections["reason"].tolist() == ["feature is missing"]


@pytest.mark.parametrize(
    ("calendar", "says"),
    [
        ("2024-01-02\nsoon\n", "day.txt: row 2: day is 'soon', which is no date"),
        ("2024-01-03\n2024-01-02\n", "day.txt: row 2: its days must be there, and in order"),
        ("", "day.txt: row 1: its days must be there"),
        (None, "is a Qlib folder without calendars/day.txt; bars within a day are not taken"),
    ],
)
def test_a_calendar_that_is_none(tmp_path: Path, calendar: str | None, says: str) -> None:
    folder = folder_of(tmp_path / "in")
    file = folder / "calendars" / "day.txt"
    if calendar is None:
        file.unlink()
    else:
        file.write_text(calendar)
    assert says in taken(tmp_path, folder)[0].errors[0]


def test_a_folder_of_features_is_bounded_and_may_be_empty(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in")
    home = Home(tmp_path / "home", create=True)
    with pytest.raises(InputError, match="holds more than 300 bytes, unpacked"):
        ingest([folder], home, max_file_bytes=300)
    empty = folder_of(tmp_path / "empty", ())
    (empty / "features").mkdir()
    assert "hold no instrument" in taken(tmp_path, empty)[0].errors[0]
