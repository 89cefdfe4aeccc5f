"""Tickers that look like something else go the whole way as they are: in by a file, through every table, and out."""

import numpy as np
import pandas as pd
import pytest

import kline_core as kl
from kline_core.factor.export import export_values
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import market

ODD = ["1E5", "BF-B", "ES=F", "INF", "M&M.NS", "NA", "NaN", "None", "RDS/A", "TRUE", "^GSPC", "nan"]


@pytest.fixture(scope="module")
def home(tmp_path_factory, small_weights):
    folder = tmp_path_factory.mktemp("odd")
    bars = market(len(ODD), 60)
    bars["symbol"] = np.repeat(ODD, 60)
    bars.drop(columns=["suspended", "amount"]).to_csv(folder / "bars.csv", index=False)
    home = kl.Home(folder / "home", create=True)
    report = kl.ingest(home, folder / "bars.csv")
    assert (report.read, report.stored_new, report.rejected) == (720, 720, 0)
    kl.update_patterns(home, settings=SMALL_SETTINGS.patterns, encoder=small_weights, device="cpu")
    return home


@pytest.fixture(scope="module")
def asked(small_weights):
    return {"settings": SMALL_SETTINGS, "encoder": small_weights}


@pytest.fixture(scope="module")
def result(home, asked):
    return kl.compute_factor(home, ODD, samples=20, threads=2, device="cpu", max_failed_share=1, **asked)


@pytest.mark.slow
def test_each_has_its_values_and_matches(home, result, asked):
    counts = result.frame.groupby("symbol").size().to_dict()
    assert counts == dict.fromkeys(ODD, 20)
    assert set(result.matches["match_symbol"]) <= set(ODD)
    for symbol in ODD:
        view = kl.explain(home, symbol, device="cpu", **asked)
        assert view.symbol == symbol
        assert set(kl.read_factor(home, symbol).frame["symbol"]) == {symbol}


@pytest.mark.slow
def test_the_tables_agree_and_are_judged(home, result, asked):  # noqa: ARG001  with values
    assert kl.verify(home, **asked).ok
    assert kl.evaluate(home, **asked).symbols == len(ODD)
    assert kl.evaluate(home, ["NaN", "nan"], **asked).symbols == 2


@pytest.mark.parametrize("layout", ["long", "wide"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_they_leave_as_they_came(home, result, tmp_path, layout, suffix):  # noqa: ARG001  with values
    file = tmp_path / f"values{suffix}"
    export_values(home, file, layout)
    read = pd.read_parquet if suffix == ".parquet" else lambda path: pd.read_csv(path, keep_default_na=False)
    frame = read(file)
    found = frame["symbol"] if layout == "long" else frame.columns.difference(["date"])
    assert set(found) == set(ODD)


@pytest.mark.slow
def test_the_bars_of_one_are_replaced_alone(home):
    """By a condition in SQL that holds its name."""
    before = home.read("bars").to_pandas()
    for symbol in ODD:
        version = home.version("bars")
        restated = before[before["symbol"] == symbol].drop(columns=["amount", "suspended"])
        report = kl.ingest(home, restated.assign(volume=restated["volume"] + 1))
        assert report.updated == 60
        after = home.read("bars").to_pandas()
        changed = home.read("bars", version=version).to_pandas().merge(after, on=["symbol", "date"])
        assert set(changed["symbol"][changed["volume_x"] != changed["volume_y"]]) == {symbol}
