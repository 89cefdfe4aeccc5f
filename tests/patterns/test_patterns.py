import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.errors import DateError, StaleError
from kline_core.patterns.patterns import Patterns
from tests.support.patterns import DAY_0, columns


def taken(arguments, order):
    return {name: np.asarray(column)[order] for name, column in arguments.items()}


def test_rows_are_ordered_by_what_is_known_first_then_symbol():
    patterns = Patterns.from_arrays(**columns(["B", "A", "B", "A"], [5, 5, 3, 9]))
    assert patterns.symbols == ["A", "B"]
    assert patterns.code.tolist() == [1, 0, 1, 0]
    assert patterns.bar.tolist() == [3, 5, 5, 9]
    assert (np.diff(patterns.known_on) >= np.timedelta64(0)).all()


@pytest.mark.slow
@given(st.permutations(range(12)))
@settings(deadline=None)
def test_the_order_of_the_input_does_not_matter(order):
    arguments = columns("AAAABBBBCCCC", [1, 2, 3, 4] * 3)
    straight, shuffled = Patterns.from_arrays(**arguments), Patterns.from_arrays(**taken(arguments, order))
    for field in dataclasses.fields(Patterns):
        assert np.array_equal(getattr(straight, field.name), getattr(shuffled, field.name)), field.name


def test_everything_is_read_only():
    patterns = Patterns.from_arrays(**columns("AB", [1, 2]))
    for field in dataclasses.fields(Patterns):
        if field.name != "symbols":
            assert not getattr(patterns, field.name).flags.writeable, field.name


def test_n_known_counts_the_date_itself():
    patterns = Patterns.from_arrays(**columns("AAA", [1, 2, 3], delay=10))
    assert patterns.n_known(DAY_0 + np.array([0, 10, 11, 12, 13, 99])).tolist() == [0, 0, 1, 2, 3, 3]


def test_n_known_refuses_what_is_no_date():
    patterns = Patterns.from_arrays(**columns("A", [1]))
    with pytest.raises(DateError, match="NaT in position 1"):
        patterns.n_known(np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"))
    with pytest.raises(DateError, match=r"datetime64\[ns\]; it must be datetime64\[D\]"):
        patterns.n_known(np.array(["2020-01-01"], dtype="datetime64[ns]"))


def test_history_of_a_prefix_survives_what_is_appended():
    arguments = columns("ABABAB", [1, 1, 2, 2, 3, 3])
    short = Patterns.from_arrays(**taken(arguments, [0, 1, 2, 3]))
    long = Patterns.from_arrays(**arguments)
    assert np.array_equal(long.history[:5], short.history)
    assert len(set(long.history.tolist())) == 7


@pytest.mark.parametrize("field", ["content", "known_on", "end", "bar", "symbol"])
def test_history_changes_from_the_changed_pattern_on(field):
    arguments = columns("AAAB", [10, 20, 30, 40])
    before = Patterns.from_arrays(**arguments)
    changed = dict(arguments)
    if field == "symbol":
        changed["symbol"] = ["A", "A", "C", "B"]
    else:
        changed[field] = arguments[field].copy()
        changed[field][2] += 1
    after = Patterns.from_arrays(**changed)
    assert np.array_equal(before.history[:3], after.history[:3])
    assert not (before.history[3:] == after.history[3:]).any()


def test_history_does_not_depend_on_which_other_symbols_there_are():
    arguments = columns("BBA", [1, 2, 30])
    alone = Patterns.from_arrays(**taken(arguments, [0, 1]))
    assert np.array_equal(alone.history, Patterns.from_arrays(**arguments).history[:3])


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 30)), unique=True, max_size=20),
    st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 30)), max_size=6),
    st.integers(1, 25),
)
@settings(deadline=None)
def test_rows_near_equals_a_plain_loop(pairs, asked, distance):
    patterns = Patterns.from_arrays(**columns([name for name, _ in pairs], [bar for _, bar in pairs]))
    codes = np.array([code for code, _ in asked], dtype=np.int32)
    bars = np.array([bar for _, bar in asked], dtype=np.int32)
    question, row = patterns.rows_near(codes, bars, distance)
    wanted = {
        (i, j)
        for i, (code, bar) in enumerate(asked)
        for j in range(len(patterns))
        if patterns.code[j] == code and abs(int(patterns.bar[j]) - bar) < distance
    }
    assert len(question) == len(wanted)
    assert set(zip(question.tolist(), row.tolist(), strict=True)) == wanted
    named = {
        (int(code), int(bar)): row for row, (code, bar) in enumerate(zip(patterns.code, patterns.bar, strict=True))
    }
    assert patterns.rows_of(codes, bars).tolist() == [named.get(pair, -1) for pair in asked]


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 30)), unique=True, max_size=24),
    st.integers(-1, 31),
)
@settings(deadline=None)
def test_patterns_and_later_ones_are_those_of_all(pairs, last):
    arguments = columns([name for name, _ in pairs], [bar for _, bar in pairs])
    early = np.array([bar <= last for _, bar in pairs], dtype=bool)
    whole, before, after = (
        Patterns.from_arrays(**taken(arguments, at))
        for at in (slice(None), np.flatnonzero(early), np.flatnonzero(~early))
    )
    both = before.followed_by(after, whole.vectors)
    for field in dataclasses.fields(Patterns):
        mine, right = getattr(both, field.name), getattr(whole, field.name)
        assert np.array_equal(mine, right), field.name
        if field.name != "symbols":
            assert mine.dtype == right.dtype
            assert not mine.flags.writeable


def test_patterns_of_the_same_day_follow_where_their_symbols_do():
    arguments = columns("ABCD", [5, 5, 5, 6])
    whole, before, after = (Patterns.from_arrays(**taken(arguments, at)) for at in (slice(None), [0, 1], [2, 3]))
    both = before.followed_by(after, whole.vectors)
    assert np.array_equal(both.history, whole.history)
    assert both.n_known(whole.known_on).tolist() == [3, 3, 3, 4]


def test_later_patterns_that_contradict_the_earlier_are_refused():
    before = Patterns.from_arrays(**columns("AB", [5, 5]))
    vectors = np.zeros((3, 3), dtype=np.float32)
    day = "'2020-01-27', 'A', '2020-01-06'"
    with pytest.raises(ValueError, match=rf"\({day}\) does not come after \({day.replace('A', 'B')}\)"):
        before.followed_by(Patterns.from_arrays(**columns("A", [5])), vectors)
    with pytest.raises(ValueError, match=r"vectors is \(3, 3\); it must be \(4, 3\)"):
        before.followed_by(Patterns.from_arrays(**columns("CD", [6, 6])), vectors)
    late = columns("A", [4], delay=40)
    with pytest.raises(StaleError, match="pattern A 2020-01-06: known before an earlier window"):
        before.followed_by(Patterns.from_arrays(**late), vectors)


def test_codes_of_symbols_without_patterns():
    patterns = Patterns.from_arrays(**columns("BD", [1, 2]))
    assert patterns.codes_of(["D", "A", "B"]).tolist() == [1, -1, 0]


def test_empty():
    patterns = Patterns.empty(dim=128, horizons=4)
    assert (len(patterns), patterns.dim, patterns.returns.shape) == (0, 128, (0, 4))
    assert patterns.symbols == []
    assert patterns.history.tolist() == [0]
    assert patterns.n_known(DAY_0 + np.arange(3)).tolist() == [0, 0, 0]
    assert patterns.codes_of(["A"]).tolist() == [-1]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("known_on", DAY_0 + 2, "pattern A 2020-01-03: its outcome is known no later"),
        ("known_on", DAY_0 + 50, "pattern A 2020-01-04: known before an earlier window"),
        ("end", DAY_0 + 3, "pattern A 2020-01-04: its date and its bar contradict"),
        ("bar", 3, "another pattern of the symbol has the same bar"),
        ("returns", np.nan, "pattern A 2020-01-03: a forward return is not finite"),
        ("vectors", np.nan, "pattern A 2020-01-03: its vector is not L2-normalised"),
        ("vectors", 1.0, "pattern A 2020-01-03: its vector is not L2-normalised"),
    ],
)
def test_contradictions_are_refused(field, value, says):
    arguments = columns("AAA", [1, 2, 3])
    arguments[field][1] = value
    with pytest.raises(StaleError, match=says):
        Patterns.from_arrays(**arguments)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("vectors", np.zeros((3, 4)), "vectors is float64"),
        ("returns", np.zeros(3, dtype=np.float32), "it must be float32 with two axes"),
        ("content", np.zeros(3, dtype=np.int64), "content is int64"),
        ("barrier", np.zeros(2, dtype=np.int8), "different lengths"),
    ],
)
def test_wrong_types_are_refused(field, value, says):
    with pytest.raises(ValueError, match=says):
        Patterns.from_arrays(**(columns("AAA", [1, 2, 3]) | {field: value}))
