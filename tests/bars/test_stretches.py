"""Stretches of bars that lie one behind the other: those of each symbol, wherever they are divided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars import stretches as module
from kline_core.bars.stretches import bars_around, stretches
from kline_core.bars.symbol_bars import bars_by_symbol
from tests.support.homes import market

FRAMES = bars_by_symbol(market(4, 30))
NAMES = sorted(FRAMES)
COLUMNS = ("dates", "close")


@st.composite
def asked(draw):
    """Some symbols, each perhaps several times, and a stretch of each."""
    symbols = draw(st.lists(st.sampled_from(NAMES), max_size=6))
    bounds = [sorted(draw(st.lists(st.integers(0, 30), min_size=2, max_size=2, unique=True))) for _ in symbols]
    start, stop = np.array(bounds, dtype=np.int64).reshape(-1, 2).T
    return symbols, start, stop


@given(asked(), st.sampled_from([1, 10, 40, 1 << 18]))
def test_each_stretch_is_that_of_its_symbol(what, at_once):
    symbols, start, stop = what
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        parts = list(stretches(FRAMES, symbols, start, stop, COLUMNS))
    seen = []
    for part in parts:
        assert len(part.columns["dates"]) == part.length.sum()
        assert len(part.length) == 1 or part.length.sum() <= at_once
        for number, first, length in zip(
            range(len(symbols))[part.asked], part.first.tolist(), part.length.tolist(), strict=True
        ):
            seen.append(number)
            bars = FRAMES[symbols[number]]
            assert length == stop[number] - start[number]
            for name in COLUMNS:
                own = getattr(bars, name)[start[number] : stop[number]]
                np.testing.assert_array_equal(part.columns[name][first : first + length], own)
    assert seen == list(range(len(symbols)))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(2, 26)), unique=True, max_size=20),
    st.sampled_from([1, 40, 1 << 18]),
)
def test_the_bars_around_each_window(windows, at_once):
    code, bar = np.array(windows, dtype=np.int64).reshape(-1, 2).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        parts = list(bars_around(FRAMES, NAMES, code.astype(np.int32), bar, 2, 3, COLUMNS))
    assert sorted(which for part in parts for which in part.windows.tolist()) == list(range(len(windows)))
    for part in parts:
        for which, end in zip(part.windows.tolist(), part.ends.tolist(), strict=True):
            bars = FRAMES[NAMES[code[which]]]
            for name in COLUMNS:
                own = getattr(bars, name)[bar[which] - 2 : bar[which] + 4]
                np.testing.assert_array_equal(part.columns[name][end - 2 : end + 4], own)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 31), (5, 5), (30, 31)])
def test_a_stretch_that_leaves_the_history(start, stop):
    says = f"S00001 has 30 bars, and not those from {start} to {stop - 1}"
    with pytest.raises(IndexError, match=says):
        list(stretches(FRAMES, ["S00001"], np.array([start]), np.array([stop]), COLUMNS))


@pytest.mark.parametrize("bar", [1, 27])
def test_a_window_whose_bars_leave_the_history(bar):
    with pytest.raises(IndexError):
        list(bars_around(FRAMES, NAMES, np.array([0], np.int32), np.array([bar]), 2, 3, COLUMNS))
