"""Which bars of a session have arrived, on Shanghai's calendar."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.bars.arrivals import arrivals
from kline_core.bars.sessions import sessions_until
from kline_core.errors import BarsMissingError, DateError, SettingError
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.homes import add_bars
from tests.support.reads import reads_of_files

SESSION = np.datetime64("2024-10-08")
"""The first after a week of holidays."""


def bars(symbol, days, **columns):
    prices = dict.fromkeys(("open", "high", "low", "close"), 10.0)
    frame = pd.DataFrame({"symbol": symbol, "date": pd.to_datetime(days).date, **prices})
    return frame.assign(**({"volume": 1.0, "amount": np.nan, "adj_factor": 1.0, "suspended": False} | columns))


@pytest.fixture
def fill(tmp_path):
    def filled(*frames):
        home = Home(tmp_path / "home", create=True)
        for frame in frames:
            add_bars(home, frame)
        return home

    return filled


def until(day, count=30, calendar="XSHG"):
    return sessions_until(np.datetime64(day), count, calendar)


@pytest.mark.slow
def test_who_is_expected_and_who_is_missing(fill):
    home = fill(
        bars("THERE", until(SESSION)),
        bars("LATE", until("2024-09-30")),
        # A bar on the tenth session before, and on the eleventh.
        bars("TENTH", until(SESSION, 11)[:1]),
        bars("GONE", until(SESSION, 12)[:1]),
        bars("NEW", [SESSION]),
        bars("SUSPENDED", until(SESSION), volume=0.0, suspended=True),
        # Bars of later days prove nothing of the session.
        bars("LATER", ["2024-09-30", "2024-10-09"]),
    )
    found = arrivals(home, "XSHG", SESSION)
    assert (found.expected, found.missing) == (6, ["LATE", "LATER", "TENTH"])
    assert found.newest == SESSION
    assert found.off_calendar == 0.0
    found.check(0.5)
    with pytest.raises(BarsMissingError, match=r"3 of 6 symbols .* 2024-10-08 on XSHG: LATE, LATER, TENTH; the newest"):
        found.check(0.49)


def test_chosen_symbols_are_waited_for_alone(fill):
    home = fill(bars("THERE", until(SESSION)), bars("LATE", until("2024-09-30")), bars("GONE", until("2024-08-01")))
    there = arrivals(home, "XSHG", SESSION, ["THERE"])
    assert (there.expected, there.missing, there.others, there.noun) == (1, [], 1, "chosen symbols")
    there.check(0.0)
    late = arrivals(home, "XSHG", SESSION, ["LATE", "GONE"])
    assert (late.expected, late.missing) == (1, ["LATE"])
    with pytest.raises(BarsMissingError, match=r"1 of 1 chosen symbols have no bar of the session .*: LATE; "):
        late.check(0.5)
    # As in a run of all: nobody waits for one that has had no bars for long.
    arrivals(home, "XSHG", SESSION, ["GONE"]).check(0.0)
    with pytest.raises(BarsMissingError, match="no bars after 2013-03-01"):
        arrivals(fill(bars("OLD", until("2013-03-01"))), "XSHG", np.datetime64("2013-12-02"), ["OLD"]).check(1.0)


def test_no_bars_at_all_and_none_for_long(fill):
    with pytest.raises(BarsMissingError, match="no bars at all"):
        arrivals(fill(), "XSHG", SESSION).check(1.0)


def test_a_home_that_is_no_longer_fed(fill):
    found = arrivals(fill(bars("OLD", until("2013-03-01"))), "XSHG", SESSION)
    with pytest.raises(BarsMissingError, match="no bars after 2013-03-01"):
        found.check(1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("of", "asked"), [("XSHG", "XNYS"), ("XNYS", "XSHG")])
def test_bars_of_another_exchange_are_noticed(fill, of, asked):
    home = fill(bars("A", until("2024-10-08", 250, of)))
    arrivals(home, of, np.datetime64("2024-10-08")).check_calendar()
    found = arrivals(home, asked, np.datetime64("2024-10-08"))
    assert 0.01 < found.off_calendar < 0.1
    with pytest.raises(SettingError, match=f"calendar is {asked}, but .* no session of it"):
        found.check_calendar()


def test_in_a_home_of_several_markets_those_of_the_calendar_count(fill):
    shanghai, new_york = until(SESSION), until(SESSION, calendar="XNYS")
    home = fill(bars("600519.SH", shanghai), bars("000001.SZ", shanghai[:-1]), bars("AAPL", new_york))
    found = arrivals(home, "XSHG", SESSION)
    assert (found.expected, found.missing, found.off_calendar) == (2, ["000001.SZ"], 0.0)
    found = arrivals(home, "XNYS", SESSION)
    assert (found.expected, found.missing, found.off_calendar) == (1, [], 0.0)
    # In one of another market alone, its days tell whose they are.
    with pytest.raises(SettingError, match="calendar is XHKG"):
        arrivals(home, "XHKG", np.datetime64("2024-10-08")).check_calendar()


def test_a_stray_bar_makes_no_other_exchange(fill):
    found = arrivals(fill(bars("A", until(SESSION, 250)), bars("B", ["2024-10-06"])), "XSHG", SESSION)
    assert found.off_calendar == pytest.approx(1 / 251)
    assert found.off_days == [np.datetime64("2024-10-06")]
    found.check_calendar()


def test_days_that_the_calendar_does_not_know(fill):
    with pytest.raises(DateError, match=r"1990-12-03 to .*newer exchange_calendars"):
        arrivals(fill(), "XSHG", np.datetime64("2099-01-05"))
    with pytest.raises(SettingError, match="'XNOT'"):
        arrivals(fill(), "XNOT", SESSION)


def test_a_day_that_is_no_session_is_refused(fill):
    with pytest.raises(DateError, match=r"2024-10-02 is no session of XSHG \(a holiday\); the last was 2024-09-30"):
        arrivals(fill(bars("A", until(SESSION))), "XSHG", np.datetime64("2024-10-02"))


def test_the_year_is_250_sessions(fill):
    session = np.datetime64("2024-10-14")
    year = until(session, 250)
    assert str(year[0]) == "2023-09-25"  # A Monday; the rows of the weekend before it are too old to count.
    found = arrivals(fill(bars("A", year), bars("OLD", ["2023-09-23", "2023-09-24"])), "XSHG", session)
    assert found.off_days == []


def test_files_of_the_last_year_are_read_once_and_older_ones_not_at_all(fill, monkeypatch):
    home = fill(bars("A", until("2022-10-10")), bars("A", until("2024-09-30", 300)), bars("A", [SESSION]))
    read = reads_of_files(monkeypatch)
    assert arrivals(home, "XSHG", SESSION).missing == []
    assert sorted(read.values()) == [1, 1]


class Memory:
    """Bars without a home."""

    def __init__(self, rows):
        frame = pd.DataFrame(rows, columns=["symbol", "date"]).astype({"symbol": "str"})
        self.table = pa.Table.from_pandas(frame, pa.schema([table_schema("bars").field(n) for n in frame.columns]))

    def read(self, table, columns, where=None):
        assert (table, columns) == ("bars", ["symbol", "date"])
        return self.table if where is None else self.table.filter(where)


DAYS = st.dates(date(2023, 9, 1), date(2024, 10, 20)) | st.dates(date(2024, 9, 10), date(2024, 10, 10))


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ABCDE"), DAYS), unique=True),
    st.sampled_from(until(SESSION, 12).astype(object).tolist()),
)
def test_as_a_plain_loop_would_have_it(rows, session):
    found = arrivals(Memory(rows), "XSHG", np.datetime64(session))
    sessions = until(session, 250).astype(object).tolist()
    held = {symbol: {day for other, day in rows if other == symbol and day <= session} for symbol in "ABCDE"}
    expected = [symbol for symbol, days in held.items() if any(day >= sessions[-11] for day in days)]
    year = [day for days in held.values() for day in days if day >= sessions[0]]
    off = [day for day in year if day not in sessions]
    assert found.expected == len(expected)
    assert found.missing == [symbol for symbol in expected if session not in held[symbol]]
    assert found.newest == max((np.datetime64(day) for days in held.values() for day in days), default=None)
    assert found.off_calendar == (len(off) / len(year) if year else 0.0)
    assert [day.item() for day in found.off_days] == sorted(set(off))
