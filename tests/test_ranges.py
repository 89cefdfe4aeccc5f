"""Every day of a range on which a symbol can have a value, against counting bars one by one."""

import numpy as np
import pytest

from kline_core.errors import DateError
from kline_core.factor.sample_dates import usable_dates
from tests.homes import SMALL, WINDOW_BARS, add_bars, make_home, market


@pytest.fixture(scope="module")
def frame():
    # S00001 has a hole; S00002 only just enough bars for one window.
    whole = market(3, 40)
    hole = (whole["symbol"] == "S00001") & whole["date"].between(*whole["date"].iloc[[10, 29]])
    short = (whole["symbol"] == "S00002") & (whole["date"] > whole["date"].iloc[WINDOW_BARS - 1])
    return whole[~hole & ~short]


@pytest.fixture(scope="module")
def home(frame, tmp_path_factory):
    return make_home(tmp_path_factory.mktemp("ranges") / "home", frame)


def by_counting(frame, first=None, last=None):
    found = {}
    for symbol, bars in frame.groupby("symbol"):
        dates = bars["date"].to_numpy().astype("datetime64[D]")
        days = []
        for at in range(WINDOW_BARS - 1, len(dates)):
            window = dates[at - WINDOW_BARS + 1 : at + 1]
            inside = (first is None or dates[at] >= first) and (last is None or dates[at] <= last)
            if inside and (np.diff(window).astype(int) <= SMALL.max_gap_days).all():
                days.append(dates[at])
        if days:
            found[symbol] = days
    return found


@pytest.mark.parametrize(("first", "last"), [(None, None), (8, None), (None, 8), (6, 35), (35, 35)])
def test_all_usable_days_of_a_range(frame, home, first, last):
    days = frame[frame["symbol"] == "S00000"]["date"].to_numpy().astype("datetime64[D]")
    bounds = [None if at is None else days[at] for at in (first, last)]
    found = usable_dates(home, SMALL, None, *bounds)
    assert {symbol: list(dates) for symbol, dates in found.items()} == by_counting(frame, *bounds)


def test_chosen_symbols_as_they_were_then(frame, home):
    version = home.version("bars")
    before = usable_dates(home, SMALL, ["S00001"])
    assert set(before) == {"S00001"}
    more = market(1, 50)
    add_bars(home, more[more["date"] > frame["date"].max()])
    assert len(usable_dates(home, SMALL, ["S00000"])["S00000"]) == 46
    assert len(usable_dates(home, SMALL, ["S00000"], bars_version=version)["S00000"]) == 36


def test_no_day_at_all(home):
    with pytest.raises(DateError, match="no symbol has a usable day from 2030-01-01 to the newest bar"):
        usable_dates(home, SMALL, first=np.datetime64("2030-01-01"))
