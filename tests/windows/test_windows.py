import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.symbol_bars import SymbolBars
from kline_core.settings import PatternSettings
from kline_core.windows.windows import (
    HOLE,
    JUMP,
    TOO_FEW_BARS,
    USABLE,
    jumps_between,
    usable_ends,
    usable_windows,
    window_content,
)
from tests import naive


def dates_from(gaps: list[int]) -> np.ndarray:
    return np.datetime64("2019-12-20") + np.cumsum([0, *gaps]).astype("timedelta64[D]")


def bars_on(dates: np.ndarray, jumps=()) -> SymbolBars:
    ones = np.ones(len(dates))
    flags = np.isin(np.arange(len(dates)), list(jumps))
    return SymbolBars("S", dates, *[ones] * 6, np.zeros(len(dates), np.uint64), flags)


def codes_of(dates: np.ndarray, window_bars: int, max_gap_days: int, jumps=(), **settings) -> np.ndarray:
    steps = PatternSettings(window_bars=window_bars, max_gap_days=max_gap_days, **settings)
    codes = usable_windows(bars_on(dates, jumps), steps)
    assert codes.dtype == np.int8
    assert usable_ends(bars_on(dates, jumps), steps).tolist() == np.flatnonzero(codes == USABLE).tolist()
    return codes


@pytest.mark.slow
@given(
    gaps=st.lists(st.integers(1, 9), max_size=40),
    window_bars=st.integers(2, 8),
    max_gap_days=st.integers(1, 9),
    jumps=st.sets(st.integers(1, 40), max_size=3),
)
def test_codes_equal_the_plain_loop(gaps, window_bars, max_gap_days, jumps):
    dates = dates_from(gaps)
    for told, allow in ((jumps, False), ((), True)):
        found = codes_of(dates, window_bars, max_gap_days, jumps, allow_jumps=allow)
        expected = [naive.usable_window(dates, end, window_bars, max_gap_days, told) for end in range(len(dates))]
        assert found.tolist() == expected


@pytest.mark.slow
@given(
    gaps=st.lists(st.integers(1, 20), max_size=30),
    cut=st.integers(0, 30),
    jumps=st.sets(st.integers(1, 30), max_size=3),
)
def test_later_bars_never_change_an_earlier_code(gaps, cut, jumps):
    dates = dates_from(gaps)
    assert codes_of(dates[:cut], 5, 10, jumps).tolist() == codes_of(dates, 5, 10, jumps)[:cut].tolist()


def test_a_jump_counts_from_its_own_bar_until_the_bar_before_has_left_the_window():
    codes = codes_of(dates_from([1] * 6), 3, 15, [3])
    assert codes.tolist() == [TOO_FEW_BARS, TOO_FEW_BARS, USABLE, JUMP, JUMP, USABLE, USABLE]
    bars = bars_on(dates_from([1] * 6), [3])
    between = jumps_between(bars, np.array([-4, 2, 3, 0, 3]), np.array([2, 3, 6, 3, 99]))
    assert between.tolist() == [False, True, False, True, False]


def test_a_hole_counts_from_its_second_bar_until_it_has_left_the_window():
    codes = codes_of(dates_from([1, 1, 16, 1, 1, 1]), window_bars=3, max_gap_days=15)
    assert codes.tolist() == [TOO_FEW_BARS, TOO_FEW_BARS, USABLE, HOLE, HOLE, USABLE, USABLE]


def test_a_gap_of_exactly_the_limit_is_no_hole():
    assert codes_of(dates_from([15]), window_bars=2, max_gap_days=15).tolist() == [TOO_FEW_BARS, USABLE]


@pytest.mark.parametrize("bars", [0, 1, 2])
def test_histories_shorter_than_a_window(bars):
    dates = dates_from([1, 1])[:bars]
    assert codes_of(dates, 3, 15).tolist() == [TOO_FEW_BARS] * bars
    ends = usable_ends(bars_on(dates), PatternSettings(window_bars=3))
    assert (ends.dtype, ends.tolist()) == (np.int64, [])


@pytest.mark.slow
@given(st.data())
def test_content_equals_the_plain_loop(data):
    content = np.array(data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30)), dtype=np.uint64)
    last_bar = len(content) - 1
    before = data.draw(st.integers(0, last_bar))
    after = data.draw(st.integers(0, last_bar - before))
    ends = np.array(data.draw(st.lists(st.integers(before, last_bar - after), max_size=10)), dtype=np.int64)
    got = window_content(content, ends, -before, after)
    assert got.dtype == np.uint64
    assert got.tolist() == [naive.window_content(content, end, -before, after) for end in ends.tolist()]


@pytest.mark.slow
@given(seed=st.integers(0, 2**32 - 1), bar=st.integers(0, 99), other=st.integers(0, 99))
def test_content_sees_every_bar_of_its_range_and_no_other(seed, bar, other):
    content = np.random.default_rng(seed).integers(0, 2**64, 100, dtype=np.uint64)
    ends = np.arange(19, 79)
    before = window_content(content, ends, -19, 21)

    changed = content.copy()
    changed[bar] ^= np.uint64(1)
    depends = (ends - 19 <= bar) & (bar <= ends + 21)
    assert ((window_content(changed, ends, -19, 21) != before) == depends).all()

    swapped = content.copy()
    swapped[[bar, other]] = content[[other, bar]]
    both = depends & (ends - 19 <= other) & (other <= ends + 21)
    assert ((window_content(swapped, ends, -19, 21) != before)[both] == (bar != other)).all()


def test_content_does_not_depend_on_where_the_history_starts():
    content = np.random.default_rng(1).integers(0, 2**64, 60, dtype=np.uint64)
    whole = window_content(content, np.arange(24, 39), -19, 21)
    assert (window_content(content[5:], np.arange(19, 34), -19, 21) == whole).all()


@pytest.mark.parametrize("end", [18, 79])
def test_content_refuses_a_range_outside_the_history(end):
    with pytest.raises(IndexError, match="100 bars"):
        window_content(np.zeros(100, dtype=np.uint64), np.array([40, end]), -19, 21)
