"""Parquet as pandas writes it: with an index of one or two levels, with and without names, zoned, as dictionaries."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from kline_core.bars.ingest import ingest
from kline_core.bars.readers import read_file
from kline_core.bars.readers.contents import FileTooLargeError
from kline_core.bars.readers.frame import read_frame
from kline_core.bars.row_checks import check_rows
from kline_core.errors import InputError
from kline_core.store.home import Home

DAYS = pd.DatetimeIndex(["2020-01-02", "2020-01-03"])
PRICES = {"open": [10.0, 11], "high": [11.0, 12], "low": [9.0, 10], "close": [10.0, 11], "volume": [5, 6]}
PLAIN = pd.DataFrame(PRICES, index=DAYS)
LEVELS = pd.MultiIndex.from_arrays([["600519.SH"] * 2, DAYS])

FRAMES = {
    "no name": PLAIN,
    "a name": PLAIN.rename_axis("date"),
    "another case": PLAIN.rename_axis("Date").rename(columns=str.title),
    "zoned": PLAIN.tz_localize("Asia/Shanghai"),
    "zoned, UTC": PLAIN.tz_localize("UTC"),
    "days of a column": PLAIN.rename_axis("date").reset_index(),
    "two levels": pd.DataFrame(PRICES, index=LEVELS.set_names(["symbol", "date"])),
    "two levels, turned": pd.DataFrame(PRICES, index=LEVELS.set_names(["symbol", "date"])).swaplevel(),
    "two levels, one named": pd.DataFrame(PRICES, index=LEVELS.set_names(["symbol", None])),
    "categories": pd.DataFrame(PRICES | {"symbol": pd.Categorical(["600519.SH"] * 2)}).set_index(DAYS),
    "a text index beside a date": PLAIN.assign(date=DAYS).set_axis(["x", "y"]),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("kind", ["parquet", "feather", "frame", "arrow"])
def test_levels_of_an_index_are_columns_and_days_the_date(tmp_path: Path, frame: pd.DataFrame, kind: str) -> None:
    path = tmp_path / f"600519.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind == "feather":
        pa.feather.write_feather(pa.Table.from_pandas(frame), path)
    if kind in ("parquet", "feather"):
        raw = read_file(path)
    else:
        named = any("symbol" in map(str.lower, map(str, names)) for names in (frame.columns, frame.index.names))
        given = frame if named else frame.assign(symbol="600519.SH")
        raw = read_frame(given if kind == "frame" else pa.Table.from_pandas(given), "frame 1")
    bars = check_rows(raw.frame, "x").bars
    assert bars["date"].tolist() == [pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-03")]
    assert bars["symbol"].tolist() == ["600519.SH"] * 2
    assert bars["close"].tolist() == [10.0, 11.0]


@pytest.mark.parametrize(
    "frame",
    [
        PLAIN.assign(listed=DAYS),
        PLAIN.set_axis(pd.RangeIndex(2)),
        pd.DataFrame(PRICES, index=pd.MultiIndex.from_arrays([DAYS, DAYS])),
    ],
)
def test_days_that_may_be_others_are_no_dates(tmp_path: Path, frame: pd.DataFrame) -> None:
    frame.to_parquet(tmp_path / "AAPL.parquet")
    for read in (lambda: read_file(tmp_path / "AAPL.parquet"), lambda: read_frame(frame.assign(symbol="A"), "frame 1")):
        with pytest.raises(InputError, match="column date is missing"):
            read()


@pytest.mark.slow
def test_a_frame_with_days_in_its_index_is_ingested(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    report = ingest([PLAIN.assign(symbol="600519.SH")], home)
    assert (report.read, report.stored_new) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("names", [(None, None), ("date", None), (None, "date")])
def test_a_level_of_text_without_a_name_is_the_symbol_and_not_the_name_of_the_file(
    tmp_path: Path, names: tuple[str | None, str | None]
) -> None:
    levels = LEVELS if names[0] is None else LEVELS.swaplevel()
    frame = pd.DataFrame(PRICES, index=levels.set_names(names))
    frame.to_parquet(tmp_path / "MSFT.parquet")
    assert read_file(tmp_path / "MSFT.parquet").frame["symbol"].tolist() == ["600519.SH"] * 2
    # Not where a column has them.
    frame.assign(symbol="IBM").to_parquet(tmp_path / "x.parquet")
    assert read_file(tmp_path / "x.parquet").frame["symbol"].tolist() == ["IBM"] * 2


@pytest.mark.slow
def test_codes_and_days_that_became_numbers_with_decimals(tmp_path: Path) -> None:
    cells = {"日期": [20240102.0], "股票代码": [1.0]}
    prices = {name: [10.0] for name in ("开盘", "收盘", "最高", "最低", "成交量", "振幅")}
    pd.DataFrame(cells | prices).to_parquet(tmp_path / "x.parquet")
    home = Home(tmp_path / "home", create=True)
    assert ingest([tmp_path / "x.parquet"], home).stored_new == 1
    bar = home.read("bars").to_pylist()[0]
    assert (bar["symbol"], str(bar["date"])[:10], bar["volume"]) == ("000001.SZ", "2024-01-02", 1000.0)


def test_one_long_text_that_many_rows_refer_to_counts_for_each(tmp_path: Path) -> None:
    rows = 400
    table = pa.table({name: [1.0] * rows for name in PRICES} | {"date": ["20200102"] * rows})
    many = table.append_column("symbol", pa.array(["x" * 50_000] * rows).dictionary_encode())
    pq.write_table(many, tmp_path / "a.parquet", compression="zstd", dictionary_pagesize_limit=2**30)
    assert (tmp_path / "a.parquet").stat().st_size < 50_000
    with pytest.raises(FileTooLargeError):
        read_file(tmp_path / "a.parquet", 10**7)
    assert len(read_file(tmp_path / "a.parquet", 10**8).frame) == rows
