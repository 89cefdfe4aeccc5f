from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.increments import NO_OVERLAP
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.store.home import Home
from tests.support.vendor_files import assert_accounted, check_bad_input, ingested

DAYS = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"])
PRICES = {
    "open": [20.0, 20.4, 22.0, 20.1, 20.5],
    "close": [20.4, 22.0, 22.0, 20.5, 20.6],
    "high": [20.6, 22.1, 22.0, 20.8, 20.7],
    "low": [19.8, 20.3, 22.0, 20.0, 20.1],
}
FACTOR = np.array([1.0, 1.0, 1.0, 1.1, 1.1])


def frame(factor: np.ndarray | None = None) -> pd.DataFrame:
    data = pd.DataFrame(PRICES, index=DAYS)
    data["volume"] = [703600.0, 703600.0, 0.0, 703600.0, 703600.0]
    if factor is not None:
        data = data.mul(factor, axis=0).assign(volume=data["volume"] / factor)
    data["money"] = [14353440.0, 15479200.0, 0.0, 14423800.0, 14494160.0]
    return data if factor is None else data.assign(factor=factor)


def long(data: pd.DataFrame) -> pd.DataFrame:
    data = data.rename_axis("time").reset_index()
    data.insert(1, "code", "600999.XSHG")
    return data


@pytest.mark.slow
@pytest.mark.parametrize("base", [1.0, 1 / 1.1, 7.3])
def test_a_factor_gives_raw_prices_back(tmp_path: Path, base: float) -> None:
    data = frame(FACTOR * base)
    files = {"600999.XSHG.csv": data.to_csv(), "any.csv": long(data).to_csv(index=False), "b.csv": long(data).to_csv()}
    for name, text in files.items():
        report, bars = ingested(tmp_path, {name: text})
        assert (report.rejected, report.files[0].layout) == (0, "JoinQuant")
        assert bars["symbol"].unique().tolist() == ["600999.SH"]
        np.testing.assert_allclose(bars["close"], PRICES["close"], rtol=1e-12)
        np.testing.assert_allclose(bars["volume"], frame()["volume"], rtol=1e-12)
        np.testing.assert_allclose(bars["adj_factor"], FACTOR, rtol=1e-12)
        assert bars["suspended"].tolist() == [False, False, True, False, False]


@pytest.mark.slow
def test_a_factor_of_one_tells_nothing_and_a_previous_close_does(tmp_path: Path) -> None:
    report, bars = ingested(tmp_path, {"600999.XSHG.csv": frame().assign(factor=1.0).to_csv()})
    assert bars["adj_factor"].isna().all()
    assert "with 1 on all rows, are taken as raw" in report.files[0].notes[0]
    data = frame().assign(pre_close=[20.1, 20.4, 22.0, 20.0, 20.5], paused=[0.0, 0.0, 1.0, 0.0, 0.0])
    data.loc[DAYS[2], ["open", "high", "low"]] = np.nan
    report, bars = ingested(tmp_path, {"600999.XSHG.csv": data.to_csv()})
    np.testing.assert_allclose(bars["adj_factor"], FACTOR, rtol=1e-12)
    assert bars["suspended"].tolist() == [False, False, True, False, False]
    assert not report.files[0].notes


def as_asked_on(last: int, first: int = 0) -> pd.DataFrame:
    """What `fq='pre'` gives on a day: the factor there is 1."""
    return long(frame(FACTOR / FACTOR[last]).iloc[first : last + 1])


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 2])
def test_each_delivery_has_a_base_of_its_own_and_is_chained(tmp_path: Path, last: int) -> None:
    home = Home(tmp_path / "home", create=True)
    # The factor of the first rows is theirs on the whole history's base.
    ingest([long(frame(FACTOR / FACTOR[-1]).iloc[: last + 1])], home)
    report = ingest([as_asked_on(4, last)], home)
    assert (report.stored_new, report.updated, report.rebased, report.rejected) == (4 - last, 0, [], 0)
    bars = home.read("bars").to_pandas().sort_values("date")
    np.testing.assert_allclose(bars["adj_factor"], FACTOR, rtol=1e-12)


@pytest.mark.slow
def test_a_delivery_that_meets_no_stored_day_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    ingest([as_asked_on(3)], home)
    # The whole base has moved by a payment on the last day.
    later = long(frame(FACTOR * np.array([1, 1, 1, 1, 0.9])).iloc[4:])
    with pytest.raises(NothingUsableError) as error:
        ingest([later], home)
    assert error.value.report.rejections["reason"].tolist() == [NO_OVERLAP]


@pytest.mark.slow
def test_frames_of_get_bars_and_parquet(tmp_path: Path) -> None:
    text = frame().rename_axis("date").to_csv()
    report, bars = ingested(tmp_path, {"600999.csv": text})
    assert (report.files[0].layout, len(bars)) == ("JoinQuant", 5)
    (tmp_path / "p").mkdir()
    frame().to_parquet(tmp_path / "p" / "600999.XSHG.parquet")
    long(frame()).to_parquet(tmp_path / "p" / "all.parquet")
    for path in sorted((tmp_path / "p").iterdir()):
        home = Home(tmp_path / f"home_{path.name}", create=True)
        report = ingest([path], home)
        assert_accounted(report)
        assert (report.stored_new, report.files[0].layout) == (5, "JoinQuant")
        assert home.read("bars")["symbol"].unique().to_pylist() == ["600999.SH"]


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    check_bad_input(tmp_path, "600999.XSHG.csv", frame().to_csv())
    check_bad_input(tmp_path, "a.csv", long(frame(FACTOR)).to_csv(index=False))
