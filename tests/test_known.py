import warnings
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from exchange_calendars import get_calendar

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.encoder.encoder import Encoder
from kline_core.errors import DateError, FingerprintError
from kline_core.factor.state_key import StateKey
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.patterns.verified import check_patterns, compare_patterns
from kline_core.settings import FactorSettings, PatternSettings, Settings
from tests import naive
from tests.homes import SMALL, WINDOW_BARS, make_home, market, write_encoder


def by_plain_loop(frames, settings, sessions=None):
    found = []
    for symbol, bars in frames.items():
        for end in range(len(bars)):
            last = end + settings.outcome_bars
            usable = naive.usable_window(bars.dates, end, settings.window_bars, settings.max_gap_days) == 0
            due = sessions is None or sessions.index(bars.dates[end]) % settings.pattern_stride == 0
            if usable and due and last < len(bars):
                content = naive.window_content(bars.content, end, 1 - settings.window_bars, settings.outcome_bars)
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


def stored_like(windows):
    names = [windows.symbols[code] for code in windows.code]
    content = windows.content.view(np.int64)
    return pa.table({"symbol": pa.array(names, pa.string()), "end": windows.end, "content": content})


def test_stored_patterns_find_their_windows():
    windows = build_catalogue(bars_by_symbol(market(3, 30)), SMALL)
    order = np.random.default_rng(0).permutation(len(windows))[:40]
    comparison = compare_patterns(stored_like(windows.take(order)), windows)
    np.testing.assert_array_equal(comparison.place, order)
    assert comparison.sound.all()
    np.testing.assert_array_equal(comparison.missing, np.setdiff1d(np.arange(len(windows)), order))


def test_patterns_that_no_longer_hold_are_told_apart():
    frame = market(3, 30)
    windows = build_catalogue(bars_by_symbol(frame), SMALL)
    stored = stored_like(windows)
    changed = frame.copy()
    changed.loc[30 + 14, "volume"] += 1
    changed.loc[60 + 14, "low"] /= 2
    now = build_catalogue(bars_by_symbol(changed[changed["symbol"] != "S00000"]), SMALL)
    comparison = compare_patterns(stored, now)
    names = np.array(stored["symbol"].to_pylist())
    assert (comparison.place[names == "S00000"] == -1).all()
    assert not comparison.sound[names == "S00000"].any()
    assert comparison.sound[names == "S00001"].all(), "no value depends on the volume"
    assert (comparison.place[names == "S00002"] >= 0).all()
    # Bar 14 lies in windows that end up to four bars later, and in outcomes of windows up to five bars earlier.
    touched = windows.take(~comparison.sound & (names == "S00002")).bar
    np.testing.assert_array_equal(touched, np.arange(9, 19))
    np.testing.assert_array_equal(now.take(comparison.missing).bar, touched)


def test_a_pattern_that_is_stored_twice_is_not_sound():
    windows = build_catalogue(bars_by_symbol(market(1, 30)), SMALL)
    stored = stored_like(windows)
    comparison = compare_patterns(pa.concat_tables([stored, stored.slice(3, 1)]), windows)
    np.testing.assert_array_equal(np.flatnonzero(~comparison.sound), [3, len(stored)])
    np.testing.assert_array_equal(comparison.missing, [3])


def test_nothing_stored_and_nothing_known():
    windows = build_catalogue(bars_by_symbol(market(1, 30)), SMALL)
    none = windows.take(np.zeros(0, int))
    assert len(compare_patterns(stored_like(none), windows).missing) == len(windows)
    assert not compare_patterns(stored_like(windows), none).sound.any()
    assert not compare_patterns(stored_like(windows), build_catalogue({}, SMALL)).sound.any()


@pytest.fixture
def indexed(tmp_path):
    home = make_home(tmp_path / "home", market(2, 20))
    encoder = Encoder.load(write_encoder(tmp_path / "w"), "cpu")
    update_patterns(home, SMALL, LocalWindowEncoder(encoder))
    return home, encoder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PatternSettings(6, horizons=(1, 3), barrier_bars=4), r"window_bars 5 \(now asked for: 6\)"),
        (PatternSettings(5, horizons=(1, 2), barrier_bars=4), r"horizons \[1, 3\] \(now asked for: \[1, 2\]\)"),
        (
            PatternSettings(5, horizons=(1, 3), barrier_bars=4, barrier_up=0.04),
            r"barrier_up 0\.05 \(now asked for: 0\.04\)",
        ),
        (STRIDED, r"calendar unset \(now asked for: XSHG\), pattern_stride 1 \(now asked for: 3\)"),
    ],
)
def test_other_settings_are_refused_by_name(indexed, settings, message):
    home, encoder = indexed
    with pytest.raises(FingerprintError, match=f"were made with {message}; .*kline index --rebuild"):
        check_patterns(home, settings, encoder.fingerprint, home.version("patterns"))
    weights = write_encoder(home.folder / "w6", 0, 8, settings.window_bars)
    with pytest.raises(FingerprintError, match=message):
        update_patterns(home, settings, LocalWindowEncoder(Encoder.load(weights, "cpu")))


def test_another_encoder_is_refused_by_name(indexed, tmp_path):
    home, encoder = indexed
    other = write_encoder(tmp_path / "other", seed=1)
    message = rf"encoder {encoder.fingerprint} \(now asked for: {Encoder.load(other).fingerprint}\)"
    with pytest.raises(FingerprintError, match=message):
        update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(other)))
    settings = Settings(SMALL, FactorSettings(return_horizon=3))
    with pytest.raises(FingerprintError, match=message):
        StateKey.newest(home, settings, str(other))
    assert StateKey.newest(home, settings, str(tmp_path / "w")).encoder.fingerprint == encoder.fingerprint


def test_no_patterns_yet_suit_every_setting(tmp_path):
    check_patterns(make_home(tmp_path / "home", market(1, 20)), STRIDED, "any", None)


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
