"""Stored values written to a file and read again."""

import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kline_core.errors import InputError
from kline_core.factor.alphalens_folder import write_alphalens
from kline_core.factor.export import export_values
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.homes import make_home, market

VALUES = {("AAPL", "2020-01-02"): 0.25, ("AAPL", "2020-01-03"): 0.1 + 0.2, ("date", "2020-01-03"): 1.0}
"""A symbol may have any name, that of a column too."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make_home(tmp_path_factory.mktemp("export") / "home", market(1, 5))
    schema = table_schema("factors")
    rows = [
        {"fingerprint": "f", "run_id": "r", "symbol": symbol, "date": np.datetime64(day).item(), "value": value}
        | {"status": "ok", "matches": 5, "history": 1}
        for (symbol, day), value in VALUES.items()
    ]
    home.append("factors", pa.Table.from_pylist(rows, schema))
    return home


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
def test_wide_files_give_dates_and_symbols_back(home, tmp_path, ending):
    file = tmp_path / f"wide.{ending}"
    assert export_values(home, file, "wide") == 2
    frame = pd.read_parquet(file) if ending == "parquet" else pd.read_feather(file)
    assert frame.index.name == "date"
    assert frame.index.astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    assert list(frame.columns) == ["AAPL", "date"]
    found = {(symbol, str(day.date())): value for symbol in frame.columns for day, value in frame[symbol].items()}
    assert np.isnan(found.pop(("date", "2020-01-02")))
    assert found == VALUES


def test_wide_parquet_begins_with_the_dates_for_other_programs(home, tmp_path):
    file = tmp_path / "wide.parquet"
    export_values(home, file, "wide")
    names = pq.read_schema(file)
    assert pa.types.is_timestamp(names.field(0).type)
    assert names.names[1:] == ["AAPL", "date"]


def test_wide_csv_gives_dates_and_symbols_back(home, tmp_path):
    file = tmp_path / "wide.csv"
    assert export_values(home, file, "wide") == 2
    with file.open(newline="") as text:
        assert list(csv.reader(text)) == [
            ["date", "AAPL", "date"],
            ["2020-01-02", "0.25", ""],
            ["2020-01-03", "0.30000000000000004", "1.0"],
        ]


READ = {"csv": pd.read_csv, "parquet": pd.read_parquet, "arrow": pd.read_feather, "feather": pd.read_feather}


@pytest.mark.parametrize("ending", READ)
def test_long(home, tmp_path, ending):
    file = tmp_path / f"long.{ending}"
    file.write_text("what was there before")
    assert export_values(home, file) == 3
    frame = READ[ending](file).astype({"date": "datetime64[s]"})
    assert {(row.symbol, str(row.date.date())): row.value for row in frame.itertuples()} == VALUES


def test_a_file_that_cannot_be_written_leaves_nothing_behind(home, tmp_path):
    (tmp_path / "x.arrow").mkdir()
    for file in (tmp_path / "x.arrow", tmp_path / f"{'x' * 300}.csv"):
        with pytest.raises(InputError, match="cannot be written"):
            export_values(home, file)
    assert [place.name for place in tmp_path.iterdir()] == ["x.arrow"]


@pytest.mark.slow
def test_the_alphalens_folder_gives_a_series_and_its_prices(home, tmp_path):
    folder = tmp_path / "alphalens"
    # Twice, in the same place; the values of this home have no run, but its patterns have settings.
    home.create("patterns", {"settings": {"entry_lag_bars": 2}})
    for _ in range(2):
        assert write_alphalens(home, folder) == 3
    factor, prices = (pd.read_parquet(folder / name) for name in ("factor.parquet", "prices.parquet"))
    series = factor["factor"]
    assert (series.index.names, series.index.is_monotonic_increasing) == (["date", "asset"], True)
    assert {(asset, str(day.date())): value for (day, asset), value in series.items()} == VALUES
    assert (prices.index.name, prices.columns.name) == ("date", "asset")
    with pytest.raises(InputError, match="cannot be made"):
        write_alphalens(home, folder / "factor.parquet")
    # What somebody else keeps there stays.
    other = tmp_path / "other"
    other.mkdir()
    for names in (["prices.parquet"], ["factor.parquet", "notes.txt"]):
        for name in names:
            (other / name).write_text("mine")
        with pytest.raises(InputError, match="holds other things than an earlier export"):
            write_alphalens(home, other)
        assert {path.read_text() for path in other.iterdir()} == {"mine"}
