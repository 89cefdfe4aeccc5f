"""A vendor that works splits into its past, fed bit by bit: adjusted prices are those of the whole history."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.increments import RESTATED
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport, NothingUsableError
from kline_core.bars.other_scale import ADJUSTED_ALONE, RESTATED_BARE
from kline_core.store.home import Home
from tests.support.vendor_files import write_files

DAYS = pd.bdate_range("2024-01-01", periods=40)
SPLITS = {12: 2.0, 25: 0.1}
DIVIDENDS = {8: 0.5, 20: 0.3, 30: 2.0}


def traded() -> pd.Series:
    """Closes as traded."""
    steps = np.exp(np.random.default_rng(3).normal(0, 0.02, len(DAYS)))
    for day, times in SPLITS.items():
        steps[day] /= times
    return pd.Series(np.round(100 * np.cumprod(steps), 2))


def as_of(last: int, first: int = 0) -> pd.DataFrame:
    """What the vendor gives on a day: closes for all splits so far, and an adjusted close for all dividends."""
    close = traded()[: last + 1]
    split, paid = np.ones(last + 1), np.ones(last + 1)
    for day, times in SPLITS.items():
        if day <= last:
            split[:day] /= times
    for day, cash in DIVIDENDS.items():
        if day <= last:
            paid[:day] *= 1 - cash / close[day - 1]
    shown = close * split
    frame = pd.DataFrame({"Date": DAYS[: last + 1], "Ticker": "ABC", **dict.fromkeys(["Open", "High", "Low"], shown)})
    return frame.assign(**{"Close": shown, "Adj Close": shown * paid, "Volume": 100})[first:]


def feed(home: Home, frame: pd.DataFrame) -> IngestReport:
    try:
        return ingest([frame], home)
    except NothingUsableError as error:
        return error.report


def adjusted(home: Home) -> np.ndarray:
    bars = home.read("bars").to_pandas().sort_values("date")
    prices = (bars["close"] * bars["adj_factor"]).to_numpy()
    return np.asarray(prices / prices[0])


def wanted(last: int = len(DAYS) - 1) -> np.ndarray:
    prices = as_of(last)["Adj Close"].to_numpy()
    return np.asarray(prices / prices[0])


@pytest.mark.long
@pytest.mark.parametrize(("days", "overlap"), [pytest.param(1, 2, marks=pytest.mark.slow), (5, 2), (7, 4), (40, 2)])
def test_bit_by_bit_is_as_at_once(tmp_path: Path, days: int, overlap: int) -> None:
    home = Home(tmp_path / "home", create=True)
    feed(home, as_of(4))
    for last in range(4 + days, len(DAYS) - 1 + days, days):
        last = min(last, len(DAYS) - 1)
        first = max(0, last - days - overlap + 1)
        assert feed(home, as_of(last, first)).rejected == 0
    assert feed(home, as_of(last, first)).unchanged == last - first + 1
    np.testing.assert_allclose(adjusted(home), wanted(), rtol=1e-9)
    # The whole history on top of the pieces, and a part of it that reaches over a border of old and new closes.
    feed(home, as_of(len(DAYS) - 1, 5))
    np.testing.assert_allclose(adjusted(home), wanted(), rtol=1e-9)
    feed(home, as_of(len(DAYS) - 1))
    np.testing.assert_allclose(adjusted(home), wanted(), rtol=1e-9)


@pytest.mark.slow
def test_one_common_date_does_not_tell_a_split_from_a_correction(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    feed(home, as_of(11))
    report = feed(home, as_of(12, 11))
    assert report.rejections["reason"].tolist() == [RESTATED] * 2
    assert feed(home, as_of(12, 10)).rejected == 0
    np.testing.assert_allclose(adjusted(home), wanted(12), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("last", [14, 11])
def test_a_corrected_close_moves_no_other_bar(tmp_path: Path, at: int, last: int) -> None:
    home = Home(tmp_path / "home", create=True)
    wrong = as_of(11)
    wrong.loc[8 + at, ["Open", "High", "Low", "Close", "Adj Close"]] *= 1.5
    feed(home, wrong)
    assert feed(home, as_of(last, 8)).rejected == 0
    np.testing.assert_allclose(adjusted(home), wanted(last), rtol=1e-9)


@pytest.mark.slow
def test_a_last_close_that_was_a_little_off_is_corrected(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    early = as_of(6)
    early.loc[6, ["Open", "High", "Low", "Close", "Adj Close"]] *= 1.004
    feed(home, early)
    assert feed(home, as_of(7, 6)).rejected == 0
    np.testing.assert_allclose(adjusted(home), wanted(7), rtol=1e-9)


def bare(last: int, first: int, paid: float) -> pd.DataFrame:
    """Prices that are adjusted already, with nothing that tells by what."""
    frame = as_of(11).drop(columns="Adj Close").rename(columns=str.lower)
    frame[["open", "high", "low", "close"]] *= paid
    return frame[first : last + 1]


@pytest.mark.slow
@pytest.mark.parametrize("common", [1, 2])
@pytest.mark.parametrize("times", [7.3, 1 / 7.3, 1.003])
@pytest.mark.parametrize("added", [0.0, 0.2])
def test_few_common_dates_tell_another_scale_by_all_four_prices(
    tmp_path: Path, common: int, times: float, added: float
) -> None:
    """A file of adjusted prices in a home of raw ones, or the other way round, is no correction."""
    home = Home(tmp_path / "home", create=True)
    wide = bare(11, 0, 1.0)
    wide["high"] *= 1.01
    wide["low"] *= 0.99
    feed(home, wide[:9])
    late = wide[9 - common :].copy()
    late[["open", "high", "low", "close"]] = late[["open", "high", "low", "close"]] * times + added
    report = feed(home, late)
    assert report.rejections["reason"].unique().tolist() == [RESTATED_BARE]
    assert report.rejected == len(late)
    # One price alone that has moved is a correction.
    late = wide[9 - common :].copy()
    late.loc[8, "high"] *= 1.05
    report = feed(home, late)
    assert (report.updated, report.stored_new, report.rejected) == (1, 3, 0)


@pytest.mark.slow
def test_a_day_of_one_price_tells_another_scale_if_it_moved_by_much(tmp_path: Path) -> None:
    for times, updated in ((1.003, 1), (1.01, 0)):
        home = Home(tmp_path / f"home{updated}", create=True)
        feed(home, bare(8, 0, 1.0))
        assert feed(home, bare(10, 8, times)).updated == updated


@pytest.mark.slow
@pytest.mark.parametrize("name", ["600519_hfq.csv", "600519_qfq.csv"])
@pytest.mark.parametrize("stored", ["600519.csv", "600519_hfq.csv"])
def test_adjusted_prices_without_a_common_day_do_not_go_on(tmp_path: Path, name: str, stored: str) -> None:
    rows = [f"2024-01-{day:02},10,{10 + day / 10},12,9,7036,1,1,1,1,1" for day in (2, 3, 4, 5)]
    head = "日期,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率"
    home = Home(tmp_path / "home", create=True)

    def deliver(folder: str, file: str, lines: list[str]) -> IngestReport:
        try:
            return ingest(write_files(tmp_path / folder, {file: "\n".join([head, *lines])}), home)
        except NothingUsableError as error:
            return error.report

    deliver("a", stored, rows[:2])
    report = deliver("b", name, rows[2:])
    assert report.rejections["reason"].tolist() == [ADJUSTED_ALONE] * 2
    # The common day says the same.
    assert deliver("c", name, rows[1:]).stored_new == 2


@pytest.mark.slow
def test_prices_that_were_adjusted_anew_do_not_go_on_from_stored_ones(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    feed(home, bare(8, 0, 1.0))
    report = feed(home, bare(10, 5, 0.9937))
    assert report.rejections["reason"].tolist() == [RESTATED_BARE] * 6
    assert report.rejections["value"].tolist() == ["first on 2024-01-08"] * 6
    assert home.read("bars").num_rows == 9
    # All of it does, and so do corrections, and bars before which nothing is stored.
    report = feed(home, bare(10, 0, 0.9937))
    assert (report.updated, report.stored_new, report.rejected) == (9, 2, 0)
    corrected = bare(11, 6, 0.9937)
    corrected.loc[7, ["open", "high", "low", "close"]] *= 1.01
    report = feed(home, corrected)
    assert (report.updated, report.stored_new, report.rejected) == (1, 1, 0)
