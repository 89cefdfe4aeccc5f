"""Counts of a market: what index and run then have to do, to the last one."""

from dataclasses import replace

import numpy as np
import pytest

from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.sessions import sessions_until
from kline_core.errors import SettingError
from kline_core.factor.sample_dates import choose_dates, usable_dates
from kline_core.patterns.catalogue import build_catalogue
from kline_core.planning.extent import Extent, Samples
from kline_core.settings import PatternSettings
from kline_core.windows.windows import usable_ends
from tests.support.homes import SMALL, make_home, market

NEWEST = np.datetime64("2024-12-31")


@pytest.fixture
def home(tmp_path):
    frame = market(4, 90, seed=3)
    # One symbol stopped trading, one came late, one has a hole of a month.
    gone = (frame["symbol"] == "S00001") & (frame["date"] > "2020-03-20")
    late = (frame["symbol"] == "S00002") & (frame["date"] < "2020-04-10")
    hole = (frame["symbol"] == "S00003") & frame["date"].between("2020-02-20", "2020-03-25")
    return make_home(tmp_path / "home", frame[~(gone | late | hole)])


@pytest.mark.parametrize("settings", [SMALL, replace(SMALL, scales=(1, 3), scale_weights=(0.5, 0.5))])
def test_patterns_and_samples_are_those_of_the_home(home, settings):
    frames = BarsKey.newest(home).frames()
    extent = Extent.of(frames, settings, samples=20, years=None)
    windows = build_catalogue(frames, settings)
    usable = usable_dates(home, settings)
    chosen = {symbol: choose_dates(symbol, days, 20) for symbol, days in usable.items()}
    assert extent.symbols == 4
    assert extent.bars == home.row_count("bars")
    assert extent.patterns == len(windows)
    assert extent.first.samples == sum(map(len, chosen.values()))
    assert extent.backfill.samples == sum(map(len, usable.values()))
    newest = max(days[-1] for days in usable.values())
    assert extent.daily == Samples(
        symbols=3, samples=3, encoded=3.0, seen=3.0 * np.count_nonzero(windows.known_on <= newest)
    )


def test_a_backfill_sees_and_encodes_what_its_windows_do(home):
    frames = BarsKey.newest(home).frames()
    years = 60 / 365.25
    extent = Extent.of(frames, SMALL, samples=20, years=years)
    windows = build_catalogue(frames, SMALL)
    newest = max(frame.dates[-1] for frame in frames.values())
    seen = encoded = count = 0
    for code, symbol in enumerate(windows.symbols):
        days = frames[symbol].dates[usable_ends(frames[symbol], SMALL)]
        for day in days[days > newest - 60]:
            count += 1
            seen += np.count_nonzero(windows.known_on <= day)
            encoded += not np.any((windows.code == code) & (windows.end == day))
    assert (extent.backfill.samples, extent.backfill.encoded, extent.backfill.seen) == (count, encoded, seen)


@pytest.mark.parametrize("stride", [1, 4])
def test_a_market_without_a_home_counts_like_one_that_is_made(tmp_path, stride):
    settings = replace(SMALL, pattern_stride=stride)
    extent = Extent.of_market(3, 0.5, NEWEST, settings, samples=40)
    days = sessions_until(NEWEST, 200, settings.calendar)
    days = days[days > NEWEST - int(0.5 * 365.25)]
    frame = market(3, len(days), seed=1)
    frame["date"] = np.tile(days.astype("datetime64[s]"), 3)
    made = Extent.of(BarsKey.newest(make_home(tmp_path / "home", frame)).frames(), settings, samples=40, years=None)
    assert extent.new_patterns == 3 / stride
    for name in ("symbols", "bars", "patterns", "days", "daily", "first", "backfill"):
        assert getattr(extent, name) == pytest.approx(getattr(made, name)) or getattr(extent, name) == getattr(
            made, name
        )


def test_too_short_a_history_has_no_patterns():
    extent = Extent.of_market(10, 0.05, NEWEST, PatternSettings(), samples=600)
    assert (extent.bars, extent.patterns) == (120, 0)
    assert extent.first == Samples(0, 0, 0, 0)
    assert extent.first.each == 0


@pytest.mark.parametrize(
    ("symbols", "years", "says"),
    [
        (0, 5.0, "symbols is 0; it must be 1 to 1000000"),
        (10**30, 5.0, "it must be 1 to 1000000"),
        (3, 0.0, "years is 0.0; it must be above 0 and at most 30"),
        (3, float("nan"), "years is nan; it must be above 0"),
        (3, float("inf"), "years is inf; it must be above 0"),
    ],
)
def test_numbers_out_of_bounds_are_named(symbols, years, says):
    with pytest.raises(SettingError, match=says):
        Extent.of_market(symbols, years, NEWEST, SMALL, samples=600)
