"""Unexplained jumps: the rule equals a plain loop, looks at no later bar, and sees no scale."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.jumps import is_released, note_name, released
from kline_core.bars.price_limits import price_limit
from kline_core.bars.symbol_bars import bars_by_symbol
from tests import naive
from tests.support.homes import make_home

SESSIONS = pd.bdate_range("2024-03-01", periods=60)


def frame(symbol: str, close, days=None, factor=1.0) -> pd.DataFrame:
    close = np.asarray(close, dtype=float)
    days = SESSIONS[: len(close)] if days is None else pd.DatetimeIndex(days)
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    rest = {"volume": 1e6, "amount": np.nan, "adj_factor": factor, "suspended": False}
    return pd.DataFrame({"symbol": symbol, "date": days, **prices, **rest})


def jumps(table: pd.DataFrame, **options) -> list[str]:
    bars = next(iter(bars_by_symbol(table, **options).values()))
    return [str(day) for day in bars.dates[bars.jumps]]


@pytest.mark.parametrize(
    ("symbol", "day", "limit"),
    [
        ("600519.SH", "2024-01-02", 0.1),
        ("sh600519", "2024-01-02", 0.1),
        ("600519.SH", "1996-12-13", None),
        ("600519.SH", "1996-12-16", 0.1),
        ("900901.SH", "2024-01-02", 0.1),
        ("688981.SH", "2024-01-02", 0.2),
        ("689009.SH", "2024-01-02", 0.2),
        ("000001.SZ", "2024-01-02", 0.1),
        ("300750.SZ", "2020-08-21", 0.1),
        ("300750.SZ", "2020-08-24", 0.2),
        ("430047.BJ", "2024-01-02", 0.3),
        ("920002.BJ", "2024-12-02", 0.3),
        ("510300.SH", "2024-01-02", None),
        ("000001.SH", "2024-01-02", None),
        ("399001.SZ", "2024-01-02", None),
        ("AAPL", "2024-01-02", None),
        ("^GSPC", "2024-01-02", None),
    ],
)
def test_limits_by_board_and_date(symbol, day, limit):
    assert price_limit(symbol, np.datetime64(day, "D")) == limit


def test_a_change_beyond_the_limit_is_a_jump_and_one_within_it_is_none():
    assert jumps(frame("600519.SH", [10] * 10 + [11.15] * 10)) == []
    assert jumps(frame("600519.SH", [10] * 10 + [11.25] * 10)) == [str(SESSIONS[10].date())]
    assert jumps(frame("600519.SH", [10] * 10 + [8.79] * 10)) == [str(SESSIONS[10].date())]
    assert jumps(frame("688981.SH", [10] * 10 + [12.15] * 10)) == []
    assert jumps(frame("AAPL", [10] * 10 + [5] * 10)) == []


def test_a_factor_explains_it():
    factor = np.repeat([1.0, 2.0], 10)
    assert jumps(frame("600519.SH", [10] * 10 + [5] * 10, factor=factor)) == []
    assert jumps(frame("600519.SH", [10] * 10 + [5] * 10)) == [str(SESSIONS[10].date())]


def test_the_first_bars_may_be_those_of_a_new_share():
    assert jumps(frame("600519.SH", [10, 14, 20, 28, 40, 40, 40])) == []
    assert jumps(frame("600519.SH", [10, 10, 10, 10, 10, 14, 14])) == [str(SESSIONS[5].date())]


def test_sessions_in_between_widen_the_limit():
    days = [*SESSIONS[:10], *SESSIONS[14:20]]
    assert jumps(frame("600519.SH", [10] * 10 + [6.5] * 6, days)) == []
    assert jumps(frame("600519.SH", [10] * 10 + [4] * 6, days)) == [str(SESSIONS[14].date())]


def test_days_that_no_calendar_knows_are_counted_as_weekdays():
    days = pd.bdate_range("2150-01-01", periods=20)
    assert jumps(frame("600519.SH", [10] * 10 + [12] * 10, days)) == [str(days[10].date())]
    assert jumps(frame("600519.SH", [10] * 10 + [12] * 6, [*days[:10], *days[14:]])) == []


steps = st.lists(
    st.sampled_from([0.4, 0.8, 0.87, 0.89, 0.95, 1.0, 1.05, 1.11, 1.13, 1.21, 1.3, 2.0]), min_size=12, max_size=40
)


@pytest.mark.slow
@given(
    steps,
    st.lists(st.integers(0, 59), min_size=40, max_size=40, unique=True),
    st.sampled_from(["600519.SH", "300750.SZ", "430047.BJ", "AAPL"]),
)
def test_the_rule_equals_a_plain_loop_and_looks_at_no_later_bar(changes, days, symbol):
    close = 10 * np.cumprod(changes)
    table = frame(symbol, close, sorted(SESSIONS[days[: len(close)]]))
    found = jumps(table)
    assert found == [str(day) for day in naive.jumps(symbol, [day.date() for day in table["date"]], close)]
    cut = len(table) // 2
    day = str(table["date"].iloc[cut].date())
    assert jumps(table.iloc[: cut + 1]) == [each for each in found if each <= day]
    # Read in two parts, as a process that goes on does.
    parts = bars_by_symbol(table.iloc[cut:], after=bars_by_symbol(table.iloc[:cut]))[symbol]
    assert [str(each) for each in parts.dates[parts.jumps]] == [each for each in found if each >= day]


@pytest.mark.slow
@given(st.floats(1e-6, 1e6), steps)
def test_no_scale(times, changes):
    table = frame("600519.SH", 10 * np.cumprod(changes))
    assert jumps(table.assign(adj_factor=times)) == jumps(table)


@pytest.mark.slow
def test_a_release_holds_for_the_change_as_it_was(tmp_path):
    table = frame("600519.SH", [10] * 10 + [13] * 10)
    day = np.datetime64(SESSIONS[10].date(), "D")
    home = make_home(tmp_path / "h", table)
    before = home.version("bars")
    home.set_note(note_name("600519.SH", day), {"change": 0.3, "why": "real", "on": "2024-06-01"})
    releases = released(home.notes())
    assert is_released(releases, "600519.SH", day, 0.3)
    assert not is_released(releases, "600519.SH", day, 0.31)
    assert not is_released(releases, "600518.SH", day, 0.3)
    assert jumps(table, releases=releases) == []
    assert jumps(table.assign(close=[10] * 10 + [13.1] * 10), releases=releases) == [str(day)]
    # The version before the release is as it was: a replayed run sees what it saw.
    newest = BarsKey.newest(home)
    assert newest.version != before
    assert not newest.frames()["600519.SH"].jumps.any()
    old = BarsKey(newest.home, before, newest.identity)
    assert old.frames()["600519.SH"].jumps.any()
