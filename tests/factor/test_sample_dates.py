import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.errors import DateError, KlineError, SettingError
from kline_core.factor.sample_dates import choose_dates, requested_dates, usable_dates
from tests import naive
from tests.support.homes import SMALL, WINDOW_BARS, add_bars, make_home, market
from tests.support.processes import output_of

EVERY_DAY = np.arange("2000-01-01", "2012-01-01", dtype="datetime64[D]")
WEEKDAYS = EVERY_DAY[np.is_busday(EVERY_DAY)]


@st.composite
def histories(draw):
    """Dates of up to eight years, unevenly filled, some years with a single date or none."""
    days = [
        np.datetime64(f"{year}-01-01") + np.array(sorted(draw(st.sets(st.integers(0, 364), max_size=25))), dtype=int)
        for year in range(1968, 1968 + draw(st.integers(1, 8)))
    ]
    dates = np.concatenate(days).astype("datetime64[D]")
    return dates if len(dates) >= 2 else np.array(["1969-12-31", "1970-01-01"], dtype="datetime64[D]")


symbols = st.sampled_from(["AAPL", "600000.SH", "平安"])


def as_set(dates):
    return set(dates.tolist())


@pytest.mark.slow
@given(symbol=symbols, dates=histories(), samples=st.integers(1, 60))
def test_equal_to_handing_out_seats_one_by_one(symbol, dates, samples):
    got = choose_dates(symbol, dates, samples)
    assert got.dtype == "datetime64[D]"
    assert got.tolist() == [date.item() for date in naive.choose_dates(symbol, dates, samples)]


@pytest.mark.slow
@given(symbol=symbols, dates=histories(), samples=st.integers(1, 60))
def test_the_newest_date_is_always_chosen_and_the_count_is_met(symbol, dates, samples):
    got = choose_dates(symbol, dates, samples)
    assert got[-1] == dates[-1]
    assert len(got) == min(samples, len(dates))
    assert (np.diff(got).astype(int) > 0).all()
    assert np.isin(got, dates).all()


@pytest.mark.slow
@given(symbol=symbols, dates=histories(), samples=st.integers(1, 60))
def test_one_more_date_moves_at_most_two_earlier_choices(symbol, dates, samples):
    before, after = (as_set(choose_dates(symbol, d, samples)) for d in (dates[:-1], dates))
    entered = after - before - {dates[-1].item()}
    left = before - after
    assert len(entered) <= 1
    assert len(left) <= 2
    # Of the choices besides the newest date, which is chosen in any case, at most one leaves.
    assert len(left - {dates[-2].item()}) <= 1


@pytest.mark.slow
@given(symbol=symbols, dates=histories(), samples=st.integers(1, 60), more=st.integers(0, 20))
def test_fewer_samples_are_among_more(symbol, dates, samples, more):
    few, many = (as_set(choose_dates(symbol, dates, n)) for n in (samples, samples + more))
    assert few <= many


@pytest.mark.slow
@given(symbol=symbols, dates=histories(), samples=st.integers(1, 60))
def test_every_year_has_its_share(symbol, dates, samples):
    if samples >= len(dates):
        return
    years = dates[:-1].astype("datetime64[Y]")
    chosen = choose_dates(symbol, dates, samples)[:-1].astype("datetime64[Y]")
    counts = [(int((years == year).sum()), int((chosen == year).sum())) for year in np.unique(years)]
    # One divisor serves all years: seats are c / divisor, rounded.
    assert max([(2 * s - 1) / c for c, s in counts]) <= min([(2 * s + 1) / c for c, s in counts if s < c])


def test_600_of_twelve_years_are_50_a_year():
    chosen = choose_dates("AAPL", WEEKDAYS, 600)
    _, per_year = np.unique(chosen.astype("datetime64[Y]"), return_counts=True)
    assert per_year.tolist() == [50] * 12


@pytest.mark.slow
def test_a_year_of_daily_runs_computes_few_dates_anew():
    chosen = as_set(choose_dates("AAPL", WEEKDAYS[:-250], 600))
    fresh = 0
    for end in range(len(WEEKDAYS) - 249, len(WEEKDAYS) + 1):
        now = as_set(choose_dates("AAPL", WEEKDAYS[:end], 600))
        assert len(now - chosen) <= 2
        fresh += len(now - chosen)
        chosen = now
    assert 250 <= fresh <= 300


@pytest.mark.parametrize("samples", [len(WEEKDAYS), len(WEEKDAYS) + 1, 10**9])
def test_more_samples_than_dates_are_all_dates(samples):
    assert (choose_dates("AAPL", WEEKDAYS, samples) == WEEKDAYS).all()


@pytest.mark.parametrize("samples", [0, -1])
def test_fewer_than_one_sample_is_refused(samples):
    with pytest.raises(SettingError, match=f"samples is {samples}; it must be at least 1"):
        choose_dates("AAPL", WEEKDAYS, samples)


def test_no_usable_dates():
    assert choose_dates("AAPL", WEEKDAYS[:0], 600).tolist() == []


ANSWERS = {
    "AAPL": ["2002-09-20", "2003-10-28", "2004-01-27", "2008-08-18", "2010-02-01", "2011-12-30"],
    "600000.SH": ["2001-05-23", "2003-10-22", "2004-07-01", "2008-01-17", "2009-10-26", "2011-12-30"],
}


def test_known_answers():
    got = {symbol: [str(date) for date in choose_dates(symbol, WEEKDAYS, 6)] for symbol in ANSWERS}
    assert got == ANSWERS


@pytest.mark.slow
def test_another_process_chooses_the_same():
    program = (
        "import numpy as np; from kline_core.factor.sample_dates import choose_dates;"
        "d = np.arange('2000-01-01', '2012-01-01', dtype='datetime64[D]');"
        "print(*choose_dates('AAPL', d[np.is_busday(d)], 600))"
    )
    run = output_of(program)
    assert run.split() == [str(date) for date in choose_dates("AAPL", WEEKDAYS, 600)]


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


@pytest.mark.parametrize(
    ("dates", "says"),
    [
        ({1: ["2020-01-01"], "1": ["2020-01-02"]}, "dates name the symbol 1 more than once"),
        ({"A": "2020-01-01"}, "dates of A are '2020-01-01'; give a list of dates"),
        ({"A": None}, "dates of A are None; give a list of dates"),
        ({"A": ["2020-01-01", "soon"]}, "row 1 of dates of A is 'soon'"),
        (
            pd.DataFrame([["A", "B", "2020-01-01"]], columns=["symbol", "symbol", "date"]),
            "column symbol must be there once",
        ),
        (
            pd.DataFrame([["A", "B", "2020-01-01"]], columns=["asset", "symbol", "date"]),
            "in one column, asset or symbol",
        ),
    ],
)
def test_dates_that_could_be_misread(dates, says):
    with pytest.raises(KlineError, match=says):
        requested_dates(dates)
