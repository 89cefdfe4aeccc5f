"""Factors that come on another base make no jump where they meet the stored ones."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.rebasing import DIFFERENT, TOO_FEW
from kline_core.bars.row_checks import ABSURD_ADJUSTMENT
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.store.home import Home
from tests.support.examples import examples
from tests.support.homes import market

COLUMNS = ["symbol", "date", "open", "high", "low", "close", "volume", "adj_factor"]


def delivery():
    """Two symbols of 20 days; the factor of each moves on its 8th and its 16th day."""
    frame = market(2, 20)[COLUMNS]
    day = frame.groupby("symbol").cumcount().to_numpy()
    return frame.assign(adj_factor=np.select([day < 8, day < 16], [1.0, 1.0345], 2.069)), day


FRAME, DAY = delivery()


def based(frame, by):
    return frame.assign(adj_factor=frame["adj_factor"] * by)


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home", create=True)
    ingest([FRAME[DAY < 14]], home)
    return home


def contents(home):
    return {symbol: bars.content.tolist() for symbol, bars in bars_by_symbol(home.read("bars")).items()}


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 7, 8, 11, 12])
@pytest.mark.parametrize("by", [0.5, 1 / 3, 113.7])
def test_a_shortened_delivery_on_another_base_makes_no_jump(home, tmp_path, first, by):
    report = ingest([based(FRAME[first <= DAY], by)], home)
    assert report.rebased == ["S00000", "S00001"]
    # Days that both have are the same days.
    assert (report.stored_new, report.updated, report.restated) == (12, 0, [])
    whole = Home(tmp_path / "whole", create=True)
    ingest([FRAME], whole)
    assert contents(home) == contents(whole)


@pytest.mark.slow
def test_a_whole_history_on_another_base_is_taken_as_it_comes(home):
    report = ingest([based(FRAME, 0.5)], home)
    assert (report.rebased, report.restated) == ([], ["S00000", "S00001"])
    assert home.read("bars")["adj_factor"].to_numpy().min() == 0.5


@pytest.mark.slow
def test_one_symbol_on_another_base_leaves_the_others_alone(home):
    frame = FRAME[DAY >= 10]
    report = ingest([frame.assign(adj_factor=frame["adj_factor"].where(frame["symbol"] == "S00000", 7.0))], home)
    assert report.rebased == ["S00001"]


@pytest.mark.slow
def test_the_stored_base_is_chained_to_nothing(home):
    report = ingest([FRAME[DAY >= 10]], home)
    assert (report.rebased, report.stored_new, report.unchanged) == ([], 12, 8)


def test_without_a_common_day_nothing_can_be_chained(home):
    assert ingest([based(FRAME[DAY >= 14], 0.5)], home).rebased == []


@pytest.mark.slow
@pytest.mark.parametrize("days", [slice(0, 7), slice(0, 2), slice(3, 9), slice(0, 13)])
def test_a_delivery_on_another_base_that_ends_early_makes_no_jump(home, days):
    before = contents(home)
    report = ingest([based(FRAME[(days.start <= DAY) & (days.stop > DAY)], 2.0)], home)
    assert report.rebased == ["S00000", "S00001"]
    assert (report.updated, report.restated) == (0, [])
    assert contents(home) == before


@pytest.mark.slow
def test_a_part_on_another_base_with_new_days_is_chained_on_both_sides(tmp_path):
    """Days before those that are stored, and after them, and one of those between."""
    home, whole = (Home(tmp_path / name, create=True) for name in ("home", "whole"))
    ingest([FRAME[(DAY >= 5) & (DAY < 14)]], home)
    report = ingest([based(FRAME[(DAY <= 6) | (DAY >= 13)], 0.25)], home)
    assert report.rebased == ["S00000", "S00001"]
    ingest([FRAME], whole)
    assert contents(home) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("days", [[13], [13, 14, 15], [0], [6], [5, 14]])
def test_a_single_common_day_does_not_tell_another_base_from_a_late_dividend(home, days):
    before = contents(home)
    with pytest.raises(NothingUsableError) as error:
        ingest([based(FRAME[np.isin(DAY, days)], 0.97)], home)
    assert error.value.report.rejected == 2 * len(days)
    assert error.value.report.rejections["reason"].unique().tolist() == [TOO_FEW]
    assert contents(home) == before


@pytest.mark.slow
def test_one_symbol_that_cannot_be_chained_keeps_out_no_other(home):
    frame = FRAME[DAY >= 13]
    report = ingest([frame.assign(adj_factor=frame["adj_factor"].where(frame["symbol"] == "S00000", 7.0))], home)
    assert (report.read, report.stored_new, report.unchanged, report.rejected) == (14, 6, 1, 7)
    assert set(report.rejections["symbol"]) == {"S00001"}


@pytest.mark.slow
def test_a_dividend_that_came_late_is_a_correction(home):
    """The stored base where the delivery begins, another factor from a later day on."""
    frame = FRAME[DAY >= 10]
    late = np.where(DAY[DAY >= 10] >= 12, 1.05, 1.0)
    report = ingest([frame.assign(adj_factor=frame["adj_factor"] * late)], home)
    assert (report.rebased, report.updated, report.restated) == ([], 4, ["S00000", "S00001"])


@pytest.mark.slow
def test_a_dividend_that_came_late_is_a_correction_on_another_base_too(home, tmp_path):
    frame = FRAME[DAY >= 9].reset_index(drop=True)
    late = np.where(DAY[DAY >= 9] >= 12, 1.05, 1.0)
    corrected = frame.assign(adj_factor=frame["adj_factor"] * late)
    twin = Home(tmp_path / "twin", create=True)
    ingest([FRAME[DAY < 14]], twin)
    ingest([corrected], twin)
    assert ingest([based(corrected, 0.125)], home).rebased == ["S00000", "S00001"]
    assert contents(home) == contents(twin)


@pytest.mark.slow
@pytest.mark.parametrize("day", [5, 12])
def test_a_correction_that_stored_bars_after_it_do_not_share_is_refused(home, day):
    some = (day - 3 <= DAY) & (day >= DAY)
    frame = FRAME[some]
    late = np.where(DAY[some] == day, 1.05, 1.0)
    with pytest.raises(NothingUsableError) as error:
        ingest([frame.assign(adj_factor=frame["adj_factor"] * late)], home)
    assert error.value.report.rejections["reason"].unique().tolist() == [DIFFERENT]


@pytest.mark.slow
def test_factors_that_leave_their_bounds_when_chained_are_refused(tmp_path):
    """Each delivery is within the bounds by itself, on the base of its own first day."""
    home = Home(tmp_path / "home", create=True)
    frame = FRAME[DAY < 12].assign(adj_factor=1.0)
    day = DAY[DAY < 12]
    ingest([frame[day < 4]], home)
    ingest(
        [frame[(day >= 2) & (day < 7)].assign(adj_factor=np.where(day[(day >= 2) & (day < 7)] < 4, 1e-9, 1.0))], home
    )
    last = frame[day >= 5].assign(adj_factor=np.where(day[day >= 5] < 7, 1e-9, 1.0))
    report = ingest([last], home)
    assert (report.stored_new, report.unchanged, report.rejected) == (0, 4, 10)
    assert report.rejections["reason"].str.startswith(ABSURD_ADJUSTMENT).all()
    assert home.read("bars")["adj_factor"].to_numpy().max() < 1.1e9


@pytest.mark.slow
@settings(max_examples=examples(8))
@given(
    stored=st.sets(st.integers(0, 19), min_size=1),
    again=st.sets(st.integers(0, 19), min_size=1),
    by=st.sampled_from([1.0, 0.5, 1 / 3, 113.7]),
)
def test_whatever_is_delivered_again_on_another_base_makes_no_jump_or_is_refused(stored, again, by):
    """Against a plain count: the days that both have, and whether all that is stored is delivered."""
    # Four days and more of which no two lie in one week may be refused as bars of weeks.
    week = pd.to_datetime(FRAME.loc[FRAME["symbol"] == "S00000", "date"]).dt.isocalendar().week.to_numpy()
    for days in (stored, again, stored | again):
        assume(len(days) < 4 or len(np.unique(week[sorted(days)])) < len(days))
    with TemporaryDirectory() as folder:
        home, whole = (Home(Path(folder) / name, create=True) for name in ("home", "whole"))
        frame, day = FRAME[FRAME["symbol"] == "S00000"], np.arange(20)
        ingest([frame[np.isin(day, list(stored))]], home)
        ingest([frame[np.isin(day, list(stored | again))]], whole)
        part = based(frame[np.isin(day, list(again))], by)
        common = len(stored & again)
        if by != 1 and common == 1 and len(stored) > 1:
            with pytest.raises(NothingUsableError):
                ingest([part], home)
        elif by == 1 or common:
            report = ingest([part], home)
            assert bool(report.rebased) == (by != 1 and not stored <= again)
            assert contents(home) == contents(whole)
