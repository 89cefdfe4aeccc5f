"""What `compute_factor` and `read_factor` give, and the notebook that uses them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import kline_core as kl
from kline_core.errors import (
    DateError,
    FingerprintError,
    HomeError,
    InputError,
    RunFailedError,
    SettingError,
    UnknownSymbolError,
)


@pytest.fixture(scope="module")
def result(home):
    return kl.compute_factor(home, samples=20, max_failed_share=0.5)


@pytest.mark.slow
def test_ten_lines_from_files_to_a_series_an_ic_table_and_a_picture(tmp_path, stocks):
    for symbol, bars in stocks[stocks["date"] < "2002-06-01"].groupby("symbol"):
        bars.to_csv(tmp_path / f"{symbol}.csv", index=False)

    # --- the notebook ---
    home = kl.Home(tmp_path / "home", create=True)
    kl.ingest(home, tmp_path.glob("*.csv"))
    kl.update_patterns(home)
    result = kl.compute_factor(home, samples=60)
    series = result.values
    table = kl.evaluate(home).ic_by_horizon
    picture = kl.explain(home, "AAPL").plot()
    # ---

    assert series.index.names == ["date", "asset"]
    assert series.dtype == np.float64
    assert len(series) == 120
    assert series.index.is_monotonic_increasing
    assert table.index.tolist() == [1, 5, 10, 20]
    picture.savefig(tmp_path / "match.png")
    assert (tmp_path / "match.png").stat().st_size > 20_000


@pytest.mark.slow
def test_values_are_the_stored_ones(home, result):
    stored = home.read("factors").to_pandas().set_index(["date", "symbol"])["value"].sort_index()
    assert len(result.values) == 40
    for (day, asset), value in result.values.items():
        there = stored[day.date(), asset]
        assert value == there or (np.isnan(value) and np.isnan(there))


def test_frames_account_for_every_sample(result):
    frame, failed = result.frame, result.failed
    assert result.report.count("samples") == len(frame) == 40
    assert len(failed) == int(result.values.isna().sum()) == (frame["status"] == "failed").sum()
    assert failed.columns.tolist() == ["symbol", "date", "reason"]
    counts = result.matches.groupby(["symbol", "date"]).size()
    for row in frame.itertuples():
        assert counts.get((row.symbol, row.date), 0) == row.matches
    assert (result.matches["match_end"] < result.matches["date"]).all()


@pytest.mark.slow
def test_later_runs_do_not_change_a_result(stocks, tmp_path):
    place = kl.Home(tmp_path / "home", create=True)
    kl.ingest(place, stocks[stocks["date"] < "2001-06-01"])
    kl.update_patterns(place)
    first = kl.compute_factor(place, ["AAPL"], samples=10, max_failed_share=1)
    kl.compute_factor(place, ["AAPL"], samples=200, max_failed_share=1)
    assert len(first.values) == 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["index", "frame", "symbols", "mapping", "levels", "set"])
def test_dates_may_be_named_in_many_ways(home, kind):
    days = ["2005-03-01", "2008-10-10"]
    dates = {
        "index": pd.MultiIndex.from_product([pd.to_datetime(days), ["AAPL"]], names=["date", "asset"]),
        "frame": pd.DataFrame({"date": days, "asset": "AAPL"}),
        "symbols": pd.DataFrame({"symbol": "AAPL", "date": pd.to_datetime([*days, days[0]])}),
        "mapping": {"AAPL": days},
        "levels": pd.DataFrame({"date": days, "asset": "AAPL"}).set_index(["date", "asset"]),
        "set": {"AAPL": set(days)},
    }[kind]
    result = kl.compute_factor(home, dates=dates)
    assert [(str(day.date()), asset) for day, asset in result.values.index] == [(day, "AAPL") for day in days]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dates", "error", "says"),
    [
        (pd.DataFrame({"day": ["2005-03-01"], "asset": "AAPL"}), InputError, "they need date and asset"),
        (pd.DataFrame({"date": ["2005-03-01", "soon"], "asset": "AAPL"}), DateError, "row 1 of dates is 'soon'"),
        (pd.DataFrame({"date": ["2005-03-01", None], "asset": "AAPL"}), DateError, "row 1 of dates"),
        (pd.DataFrame({"date": ["2005-03-01"], "asset": "NOPE"}), UnknownSymbolError, "'NOPE' has no bars"),
        (pd.DataFrame({"date": ["2005-03-01"], "asset": [None]}), InputError, "row 0 of dates names no symbol"),
        (pd.DataFrame({"date": ["2005-03-01"], "asset": "A", "symbol": "A"}), InputError, "in one column"),
        (["2005-03-01"], InputError, "dates is a list"),
        (pd.to_datetime(["2005-03-01"]), InputError, "dates is a DatetimeIndex"),
        ({"AAPL": ["2005-03-01", "soon"]}, DateError, "row 1 of dates of AAPL is 'soon'"),
    ],
)
def test_dates_that_are_none_are_refused(home, dates, error, says):
    with pytest.raises(error, match=says):
        kl.compute_factor(home, dates=dates)


@pytest.mark.slow
def test_a_failed_run_carries_its_result(home):
    with pytest.raises(RunFailedError, match="more than max_failed_share 0 allows") as raised:
        kl.compute_factor(home, dates={"AAPL": ["2000-03-29", "2008-10-10"]}, max_failed_share=0)
    result = raised.value.result
    assert result.values.isna().tolist() == [True, False]
    assert result.report.count("failed") == 1


@pytest.mark.slow
def test_progress_is_a_hook(home):
    seen = []

    class Recording:
        def __init__(self, expected):
            seen.append(dict(expected))

        def __enter__(self):
            return lambda result: seen.append((result.symbol, result.samples))

        def __exit__(self, *_):
            seen.append("over")

    kl.compute_factor(home, ["MSFT"], samples=20, max_failed_share=1, progress=Recording)
    assert (seen[0], seen[1], seen[-1]) == ({"MSFT": 20}, ("MSFT", 20), "over")


@pytest.mark.slow
def test_read_factor(home, tmp_path):
    found = kl.read_factor(home, ["MSFT"])
    assert set(found.values.index.get_level_values("asset")) == {"MSFT"}
    assert found.report is None
    assert len(kl.read_factor(home).values) >= 40
    with pytest.raises(UnknownSymbolError, match="no values are stored of 'NOPE'"):
        kl.read_factor(home, ["NOPE"])
    with pytest.raises(FingerprintError, match="no values are stored under fingerprint '0123'"):
        kl.read_factor(home, fingerprint="0123")
    with pytest.raises(HomeError, match="holds no values yet"):
        kl.read_factor(kl.Home(tmp_path / "empty", create=True))


@pytest.mark.slow
def test_symbols_as_people_write_them(home):
    assert set(kl.read_factor(home, "US.MSFT").frame["symbol"]) == {"MSFT"}
    assert kl.evaluate(home, ["msft.us"]).symbols == 1
    result = kl.compute_factor(home, "us.aapl", samples=20, max_failed_share=1)
    assert set(result.asked) == set(result.frame["symbol"]) == {"AAPL"}
    days = result.asked["AAPL"][:1]
    assert set(kl.compute_factor(home, dates={"AAPL.US": days}, max_failed_share=1).frame["symbol"]) == {"AAPL"}
    for function in (kl.read_factor, kl.evaluate, kl.compute_factor):
        with pytest.raises(UnknownSymbolError, match=r"\(did you mean MSFT\?\)$"):
            function(home, ["msft"])


@pytest.mark.slow
def test_bars_come_in_as_frames_of_any_kind(stocks, tmp_path):
    part = stocks[stocks["date"] < "2000-06-01"]
    kinds = {
        "pandas": part,
        "index": part.assign(date=pd.to_datetime(part["date"])).set_index(["symbol", "date"]),
        "arrow": pa.Table.from_pandas(part, preserve_index=False),
    }
    homes = {kind: kl.Home(tmp_path / kind, create=True) for kind in kinds}
    for kind, frame in kinds.items():
        report = kl.ingest(homes[kind], frame)
        assert (report.read, report.stored_new, report.rejected) == (len(part), len(part), 0)
        assert kl.ingest(homes[kind], frame).unchanged == len(part)
    tables = [home.read("bars").sort_by([("symbol", "ascending"), ("date", "ascending")]) for home in homes.values()]
    assert all(table.equals(tables[0]) for table in tables)


def test_rows_of_a_frame_are_rejected_by_number(stocks, tmp_path):
    part = stocks.head(5).copy()
    part.loc[part.index[2], "close"] = -1.0
    report = kl.ingest(tmp_path / "home", part)
    assert (report.read, report.stored_new, report.rejected) == (5, 4, 1)
    (row,) = report.rejections.to_dict("records")
    assert (row["source"], row["row"], row["reason"]) == ("frame 1", 3, "close is not above 0")


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"date": ["2020-01-01"], "close": [1.0]}), "has no columns for open, high and low"),
        (pd.DataFrame(), "its columns fit no layout"),
    ],
)
def test_frames_that_cannot_be_used(tmp_path, frame, says):
    with pytest.raises(InputError, match=says):
        kl.ingest(tmp_path / "home", frame)


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        kl.ingest(tmp_path / "home", tmp_path / "nowhere")
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_an_explanation_is_shown_as_its_picture(home):
    seen = kl.explain(home, "AAPL", "2008-10-10")
    assert seen._repr_png_().startswith(b"\x89PNG")
    assert kl.evaluate(home)._repr_png_().startswith(b"\x89PNG")
    assert len(seen.to_frame()) == 5


@pytest.mark.slow
def test_one_symbol_is_not_its_letters(home):
    found = kl.compute_factor(home, "MSFT", samples=20, max_failed_share=1)
    assert set(found.frame["symbol"]) == {"MSFT"}
    assert set(kl.read_factor(home, "MSFT").frame["symbol"]) == {"MSFT"}
    assert set(kl.read_factor(home, (name for name in ["MSFT"])).frame["symbol"]) == {"MSFT"}
    assert kl.evaluate(home, "MSFT").symbols == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dates": {"AAPL": ["2008-10-10"]}, "symbols": ["AAPL"]}, "dates names the samples itself"),
        ({"dates": {"AAPL": ["2008-10-10"]}, "as_of": "2008-10-10"}, "dates names the samples itself"),
        ({"samples": 2.0}, "samples is 2.0; it must be a whole number, at least 1"),
        ({"samples": "3"}, "samples is '3'; it must be a whole number"),
        ({"samples": True}, "samples is True; it must be a whole number"),
        ({"settings": kl.FactorSettings()}, "settings is FactorSettings; it must be Settings"),
    ],
)
def test_arguments_that_do_not_fit(home, arguments, says):
    with pytest.raises(SettingError, match=says):
        kl.compute_factor(home, **arguments)


@pytest.mark.parametrize("source", [None, 5, [None], object()])
def test_sources_that_are_none(tmp_path, source):
    with pytest.raises(InputError, match="is neither a path nor a frame"):
        kl.ingest(tmp_path / "home", source)


@pytest.mark.slow
def test_an_index_that_repeats_a_column_says_nothing_new(stocks, tmp_path):
    part = stocks.head(50)
    for at, frame in enumerate(
        [
            part.set_index("date", drop=False),
            part.assign(foo=1).set_index("foo", drop=False),
            pa.Table.from_pandas(part.set_index(["symbol", "date"])),
            pa.RecordBatch.from_pandas(part, preserve_index=False),
        ]
    ):
        assert kl.ingest(tmp_path / str(at), frame).stored_new == 50


def test_a_frame_of_another_library_that_breaks_is_reported_and_the_others_go_in(stocks, tmp_path):
    class Broken:
        def __arrow_c_stream__(self, requested_schema=None):
            raise RuntimeError("the connection is closed")

    report = kl.ingest(tmp_path / "home", [stocks.head(50), Broken()])
    assert report.stored_new == 50
    assert report.errors == ["frame 2: cannot be read: the connection is closed"]
