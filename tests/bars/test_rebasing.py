"""Factors that come on another base make no jump where they meet the stored ones."""

import numpy as np
import pytest

from kline_core.bars.ingest import ingest
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.store.home import Home
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


@pytest.mark.parametrize("first", [1, 7, 8, 12, 13])
@pytest.mark.parametrize("by", [0.5, 1 / 3, 113.7])
def test_a_shortened_delivery_on_another_base_makes_no_jump(home, tmp_path, first, by):
    report = ingest([based(FRAME[first <= DAY], by)], home)
    assert report.rebased == ["S00000", "S00001"]
    # Days that both have are the same days.
    assert (report.stored_new, report.updated, report.restated) == (12, 0, [])
    whole = Home(tmp_path / "whole", create=True)
    ingest([FRAME], whole)
    assert contents(home) == contents(whole)


def test_a_whole_history_on_another_base_is_taken_as_it_comes(home):
    report = ingest([based(FRAME, 0.5)], home)
    assert (report.rebased, report.restated) == ([], ["S00000", "S00001"])
    assert home.read("bars")["adj_factor"].to_numpy().min() == 0.5


def test_one_symbol_on_another_base_leaves_the_others_alone(home):
    frame = FRAME[DAY >= 10]
    report = ingest([frame.assign(adj_factor=frame["adj_factor"].where(frame["symbol"] == "S00000", 7.0))], home)
    assert report.rebased == ["S00001"]


def test_the_stored_base_is_chained_to_nothing(home):
    report = ingest([FRAME[DAY >= 10]], home)
    assert (report.rebased, report.stored_new, report.unchanged) == ([], 12, 8)


def test_without_a_common_day_nothing_can_be_chained(home):
    assert ingest([based(FRAME[DAY >= 14], 0.5)], home).rebased == []


@pytest.mark.parametrize("days", [slice(0, 7), slice(0, 1), slice(3, 9), slice(0, 13)])
def test_a_delivery_on_another_base_that_ends_early_makes_no_jump(home, days):
    before = contents(home)
    report = ingest([based(FRAME[(days.start <= DAY) & (days.stop > DAY)], 2.0)], home)
    assert report.rebased == ["S00000", "S00001"]
    assert (report.updated, report.restated) == (0, [])
    assert contents(home) == before


def test_a_part_on_another_base_with_new_days_is_chained_on_both_sides(tmp_path):
    """Days before those that are stored, and after them, and one of those between."""
    home, whole = (Home(tmp_path / name, create=True) for name in ("home", "whole"))
    ingest([FRAME[(DAY >= 5) & (DAY < 14)]], home)
    report = ingest([based(FRAME[(DAY <= 5) | (DAY >= 14)], 0.25)], home)
    assert report.rebased == ["S00000", "S00001"]
    ingest([FRAME], whole)
    assert contents(home) == contents(whole)
