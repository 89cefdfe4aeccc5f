import warnings
from dataclasses import fields, replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from exchange_calendars import get_calendar

from kline_core.bars import stretches
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.errors import DateError
from kline_core.patterns import catalogue as module
from kline_core.patterns.catalogue import Catalogue, CatalogueKey, build_catalogue, window_outcomes
from kline_core.settings import PatternSettings
from tests import naive
from tests.support.homes import SMALL, WINDOW_BARS, add_bars, make_home, market, replace_bars

pytestmark = pytest.mark.usefixtures("nothing_loaded")


@pytest.fixture(autouse=True, params=[100, stretches.AT_ONCE], ids=["few bars at once", "all bars at once"])
def _at_once(request, monkeypatch):
    monkeypatch.setattr(stretches, "AT_ONCE", request.param)


def by_plain_loop(frames, settings, sessions=None):
    found = []
    for symbol, bars in frames.items():
        for end in range(len(bars)):
            last = end + settings.outcome_bars
            jumps = np.flatnonzero(bars.jumps).tolist()
            span = settings.window_bars * max(settings.scales)
            usable = naive.usable_window(bars.dates, end, span, settings.max_gap_days, jumps) == 0
            usable &= not any(end < jump <= end + settings.outcome_bars for jump in jumps)
            due = sessions is None or sessions.index(bars.dates[end]) % settings.pattern_stride == 0
            if usable and due and last < len(bars):
                content = naive.window_content(bars.content, end, 1 - span, settings.outcome_bars)
                found.append((bars.dates[last], symbol, bars.dates[end], end, content))
    return sorted(found)


def listed(windows):
    names = [windows.symbols[code] for code in windows.code]
    return list(zip(windows.known_on, names, windows.end, windows.bar.tolist(), windows.content.tolist(), strict=True))


def with_gaps(frame, seed=0):
    """Some days missing, some suspended, one month without any."""
    rng = np.random.default_rng(seed)
    frame = frame[rng.random(len(frame)) < 0.95]
    frame = frame[~((frame["symbol"] == "S00001") & (frame["date"].dt.month == 3))]
    return frame.assign(suspended=rng.random(len(frame)) < 0.05)


def test_equal_to_the_plain_loop():
    frames = bars_by_symbol(with_gaps(market(4, 90)))
    windows = build_catalogue(frames, SMALL)
    assert listed(windows) == by_plain_loop(frames, SMALL)
    assert 100 < len(windows) < 4 * 80


def test_outcomes_are_those_of_each_window_alone():
    frames = bars_by_symbol(with_gaps(market(4, 90)))
    windows = build_catalogue(frames, SMALL)
    some = windows.take(np.random.default_rng(0).permutation(len(windows))[:100])
    returns, barrier = window_outcomes(frames, some, SMALL)
    for row in range(len(some)):
        b = frames[some.symbols[some.code[row]]]
        expected = naive.outcome(b.dates, b.open, b.high, b.low, b.close, some.bar[row], SMALL)
        np.testing.assert_array_equal(returns[row], np.float32(expected[0]))
        assert (barrier[row], some.known_on[row]) == (expected[1], expected[2])


def test_windows_of_several_scales_are_of_all_bars_that_they_span():
    frame = with_gaps(market(4, 90))
    scaled = replace(SMALL, scales=(1, 4), scale_weights=(0.5, 0.5))
    frames = bars_by_symbol(frame)
    windows = build_catalogue(frames, scaled)
    assert listed(windows) == by_plain_loop(frames, scaled)
    assert 100 < len(windows) < len(build_catalogue(frames, SMALL))
    # One bar restated: every window that spans it is another one, and no other.
    bars = frame[frame["symbol"].eq("S00000") & ~frame["suspended"]].index
    frame.loc[bars[30], "high"] *= 1.5
    again = build_catalogue(bars_by_symbol(frame), scaled)
    changed = again.bar[(again.code == 0) & (again.content != windows.content)]
    assert changed.tolist() == list(range(30 - SMALL.outcome_bars, 30 + 20))
    assert (again.content == windows.content)[again.code > 0].all()


def test_no_window_reaches_across_a_jump_with_its_bars_or_its_outcome():
    frame = market(1, 60).assign(symbol="600519.SH")
    frame.loc[30:, ["open", "high", "low", "close"]] *= 2
    frames = bars_by_symbol(frame)
    assert np.flatnonzero(frames["600519.SH"].jumps).tolist() == [30]
    windows = build_catalogue(frames, SMALL)
    assert listed(windows) == by_plain_loop(frames, SMALL)
    assert windows.bar.tolist() == [*range(4, 25), *range(34, 55)]
    assert build_catalogue(frames, replace(SMALL, allow_jumps=True)).bar.tolist() == [*range(4, 55)]


def test_a_symbol_with_too_few_bars_has_no_windows():
    assert len(build_catalogue(bars_by_symbol(market(2, 9)), SMALL)) == 0
    assert len(build_catalogue(bars_by_symbol(market(2, 10)), SMALL)) == 2
    assert len(build_catalogue({}, SMALL)) == 0


STRIDED = PatternSettings(WINDOW_BARS, horizons=(1, 3), barrier_bars=4, pattern_stride=3)


@lru_cache
def sessions():
    with warnings.catch_warnings():
        # exchange_calendars 4.13 reads `Series.values` of times with a zone, which pandas 3.1 deprecates.
        warnings.filterwarnings("ignore", "Series.values returning", DeprecationWarning)
        return get_calendar("XSHG", start="1990-12-03").sessions


def on_sessions(n_bars, first):
    """Bars on sessions of Shanghai, the first of them the `first` session of 2018."""
    frame = market(2, n_bars)
    since = sessions()[sessions() >= "2018-01-01"]
    return frame.assign(date=np.tile(since[first : first + n_bars].to_numpy(), 2))


@pytest.mark.slow
def test_a_stride_counts_sessions_of_the_calendar():
    frames = bars_by_symbol(with_gaps(on_sessions(100, 0)))
    windows = build_catalogue(frames, STRIDED)
    days = list(sessions().to_numpy().astype("datetime64[D]"))
    assert listed(windows) == by_plain_loop(frames, STRIDED, days)
    assert 30 < len(windows) < 70


@pytest.mark.parametrize("earlier", [1, 2, 4])
def test_more_history_never_shifts_which_windows_are_patterns(earlier):
    long = on_sessions(100, 0)
    known = {(name, end) for _, name, end, *_ in listed(build_catalogue(bars_by_symbol(long), STRIDED))}
    later = long.groupby("symbol").tail(100 - earlier)
    short = {(name, end) for _, name, end, *_ in listed(build_catalogue(bars_by_symbol(later), STRIDED))}
    first = later["date"].drop_duplicates().to_numpy().astype("datetime64[D]")[WINDOW_BARS - 1]
    assert short == {(name, end) for name, end in known if end >= first}


def test_a_day_that_is_no_session_is_named():
    frame = on_sessions(20, 0)
    frame.loc[frame["date"] == frame["date"].iloc[9], "date"] = np.datetime64("2018-01-14")
    with pytest.raises(DateError, match="2018-01-14 is no session of calendar XSHG"):
        build_catalogue(bars_by_symbol(frame), STRIDED)
    assert len(build_catalogue(bars_by_symbol(frame), SMALL))


@pytest.mark.parametrize("settings", [SMALL, STRIDED])
@pytest.mark.parametrize("day", [0, 3, 9, 10, 40, 98, 99])
def test_windows_of_later_bars_go_on_from_those_of_the_earlier(day, settings):
    frame = with_gaps(on_sessions(100, 0), seed=day)
    frame = frame[(frame["symbol"] != "S00000") | (frame["date"] > frame["date"].iloc[30])]
    until = np.sort(frame["date"].unique())[min(day, -1 + frame["date"].nunique())]
    frames, earlier = bars_by_symbol(frame), bars_by_symbol(frame[frame["date"] <= until])
    before = build_catalogue(earlier, settings)
    after = build_catalogue(frames, settings, {symbol: len(bars) for symbol, bars in earlier.items()})
    whole = build_catalogue(frames, settings)
    assert listed(before.followed_by(after)) == listed(whole)
    assert len(after) == len(whole) - len(before)
    assert whole.continues(before)
    assert before.continues(before)
    assert not before.continues(whole) or len(after) == 0


@pytest.mark.parametrize("name", ["bar", "end", "known_on", "content", "code"])
def test_other_windows_do_not_go_on(name):
    windows = build_catalogue(bars_by_symbol(market(2, 30)), SMALL)
    changed = getattr(windows, name).copy()
    changed[7] = 1 - changed[7] if name == "code" else changed[8 if name == "content" else 12]
    other = replace(windows, **{name: changed})
    assert not windows.continues(other)
    assert not other.continues(windows)


def test_windows_of_a_symbol_that_is_gone_do_not_go_on():
    frame = market(2, 30)
    windows = build_catalogue(bars_by_symbol(frame), SMALL)
    assert not build_catalogue(bars_by_symbol(market(1, 60)), SMALL).continues(windows)


@pytest.mark.parametrize("day", [20, 33, 47])
def test_what_is_known_on_a_day_does_not_depend_on_later_bars(day):
    frame, other = with_gaps(market(3, 60)), with_gaps(market(3, 60, seed=9))
    until = frame["date"].min() + np.timedelta64(day, "D")
    mixed = pd.concat([frame[frame["date"] <= until], other[other["date"] > until]])
    known = []
    for bars in (frame, mixed):
        windows = build_catalogue(bars_by_symbol(bars), SMALL)
        known.append(listed(windows.take(windows.known_on <= until.to_datetime64())))
    assert known[0] == known[1]
    assert known[0]


FRAME = market(3, 30)


DAYS = np.unique(FRAME["date"].to_numpy())


def until(day):
    return FRAME[FRAME["date"] <= DAYS[day]]


def of(day):
    return FRAME[FRAME["date"] == DAYS[day]]


def newest(home):
    return BarsKey.newest(home)


# --- windows ---


@pytest.fixture
def found(monkeypatch):
    """How many windows were found by each call: all, or those that came."""
    counts, real = [], module.build_catalogue

    def counted(*args):
        windows = real(*args)
        counts.append(len(windows))
        return windows

    monkeypatch.setattr(module, "build_catalogue", counted)
    return counts


def assert_windows(home):
    windows = CatalogueKey(newest(home), SMALL).windows()
    whole = build_catalogue(bars_by_symbol(home.read("bars")), SMALL)
    assert windows.symbols == whole.symbols
    for field in fields(Catalogue)[1:]:
        mine, right = getattr(windows, field.name), getattr(whole, field.name)
        assert mine.dtype == right.dtype
        np.testing.assert_array_equal(mine, right)


@pytest.mark.slow
def test_windows_that_were_known_are_not_looked_for_again(tmp_path, found):
    home = make_home(tmp_path / "home", until(20))
    assert_windows(home)
    add_bars(home, of(21))
    assert_windows(home)
    listed = market(1, 30, seed=5, prefix="A")
    add_bars(home, listed[listed["date"] > DAYS[21]])
    assert_windows(home)
    add_bars(home, of(22).iloc[:0])
    assert_windows(home)
    assert found == [3 * 12, 3, 0, 0]


@pytest.mark.slow
def test_windows_of_restated_bars_are_all_found_again(tmp_path, found):
    home = make_home(tmp_path / "home", until(20))
    assert_windows(home)
    replace_bars(home, until(20).assign(close=until(20)["high"]), "S00001")
    assert_windows(home)
    assert found == [36, 36]


@pytest.mark.slow
def test_windows_by_other_settings_are_no_start(tmp_path, found):
    home = make_home(tmp_path / "home", until(20))
    CatalogueKey(newest(home), replace(SMALL, window_bars=7)).windows()
    add_bars(home, of(21))
    assert_windows(home)
    assert found == [30, 39]


@pytest.mark.slow
def test_bars_read_in_between_are_no_start(tmp_path, found):
    home = make_home(tmp_path / "home", until(20))
    assert_windows(home)
    for day in (21, 22):
        add_bars(home, of(day))
        newest(home).frames()
    assert_windows(home)
    assert found == [36, 42]
