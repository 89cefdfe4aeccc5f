"""Dates that are planned for several groups of symbols at once are those of each by itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.compute import dates_ahead
from kline_core.compute.dates_ahead import DatesAhead
from kline_core.compute.patience import WorkerLostError
from kline_core.errors import SchedulerError
from tests.support.examples import examples

SYMBOLS = "ABCDEFGH"


def dates_of(symbol):
    return np.arange(SYMBOLS.index(symbol) + 1).astype("datetime64[D]")


def planner(asked, broken=()):
    def plan(symbols):
        asked.append("".join(symbols))
        if set(symbols) & set(broken):
            raise ValueError("broken")
        return [dates_of(symbol) for symbol in symbols]

    return plan


@settings(max_examples=examples(60))
@given(
    st.lists(st.integers(1, 3), max_size=4),
    st.integers(1, 30),
    st.integers(1, 8),
    st.lists(st.lists(st.sampled_from(SYMBOLS), max_size=4, unique=True), max_size=12),
    st.sets(st.sampled_from(SYMBOLS), max_size=2),
)
def test_each_symbol_has_its_own_dates_or_its_own_error(sizes, most_dates, most_symbols, taken, broken):
    names = iter(SYMBOLS)
    groups = [[symbol for _, symbol in zip(range(size), names, strict=False)] for size in sizes]
    asked, ahead = [], DatesAhead()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dates_ahead, "_MOST_DATES", most_dates)
        patch.setattr(dates_ahead, "_MOST_SYMBOLS", most_symbols)
        ahead.expect([group for group in groups if group], dict(zip(SYMBOLS, range(1, 9), strict=True)))
    for symbols in [*[group for group in groups if group], *taken]:
        if broken.isdisjoint(symbols):
            found = ahead.take(symbols, planner(asked, broken))
            assert [each.tolist() for each in found] == [dates_of(symbol).tolist() for symbol in symbols]
        else:
            with pytest.raises(ValueError, match="broken"):
                ahead.take(symbols, planner(asked, broken))
    assert all(len(symbols) <= max(most_symbols, 4) for symbols in asked)


def test_groups_are_planned_together_once_and_what_is_asked_again_by_itself():
    asked, ahead = [], DatesAhead()
    ahead.expect([["A"], ["B"], ["C", "D"]], dict.fromkeys(SYMBOLS, 1))
    start = threading.Barrier(3)

    def take(symbols):
        start.wait()
        return ahead.take(symbols, planner(asked))

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(take, [["A"], ["B"], ["C", "D"]]))
    assert [len(dates) for each in found for dates in each] == [1, 2, 3, 4]
    assert asked == ["ABCD"]
    ahead.take(["B"], planner(asked))
    assert asked == ["ABCD", "B"]


def test_a_lost_scheduler_is_not_asked_twice():
    asked, ahead = [], DatesAhead()
    ahead.expect([["A"], ["B"]], dict.fromkeys(SYMBOLS, 1))

    def lost(symbols):
        asked.append(symbols)
        raise SchedulerError("lost", address="here")

    with pytest.raises(SchedulerError):
        ahead.take(["A"], lost)
    assert asked == [["A", "B"]]


def test_where_work_on_several_was_lost_with_its_worker_each_group_is_planned_by_itself():
    asked, ahead = [], DatesAhead()
    ahead.expect([["A"], ["B"]], dict.fromkeys(SYMBOLS, 1))

    def lost(symbols):
        asked.append("".join(symbols))
        if len(symbols) > 1:
            raise WorkerLostError("lost", address="here")
        return [dates_of(symbol) for symbol in symbols]

    assert [len(ahead.take([symbol], lost)[0]) for symbol in "AB"] == [1, 2]
    assert asked == ["AB", "A", "B"]
