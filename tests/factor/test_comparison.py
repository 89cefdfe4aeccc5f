"""Rows compared with the same rows computed again."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.factor.comparison import CLOSE, Comparison, compare_rows
from tests.support.examples import examples

KEYS = ["symbol", "date"]


def rows(values, reasons=None, days=None):
    days = range(len(values)) if days is None else days
    return pd.DataFrame(
        {
            "symbol": ["A"] * len(values),
            "date": pd.Timestamp("2020-01-02") + pd.to_timedelta(list(days), "D"),
            "value": np.asarray(values, dtype=np.float64),
            "reason": pd.Series(reasons or [None] * len(values), dtype="str"),
            "history": np.arange(len(values), dtype=np.int64) + 2**62,
        }
    )


def counts(found):
    return found.equal, found.close, found.different


@pytest.mark.slow
@settings(max_examples=examples(15))
@given(st.lists(st.floats(), max_size=8))
def test_rows_equal_themselves_in_any_order(values):
    frame = rows(values)
    found = compare_rows(frame, frame.iloc[::-1], KEYS)
    assert counts(found) == (len(values), 0, 0)
    assert found.same
    assert found.example is None


@pytest.mark.slow
@settings(max_examples=examples(15))
@given(st.floats(-1, 1))
def test_a_last_bit_is_close_and_not_equal(value):
    again = [np.nextafter(value, 2), value + 3 * CLOSE, np.nan, np.inf]
    assert counts(compare_rows(rows([value] * 4), rows(again), KEYS)) == (0, 1, 3)


def test_zeros_of_both_signs_differ_in_a_bit():
    assert counts(compare_rows(rows([0.0]), rows([-0.0]), KEYS)) == (0, 1, 0)


def test_a_whole_number_is_compared_to_its_last_digit():
    other = rows([0.5, 0.5])
    other["history"] += np.array([0, 1])
    found = compare_rows(rows([0.5, 0.5]), other, KEYS)
    assert counts(found) == (1, 0, 1)
    assert found.example == f"A 2020-01-03: history {2**62 + 1} stored, {2**62 + 2} computed again"


def test_texts_and_missing_texts():
    found = compare_rows(rows([np.nan, 1], ["few", None]), rows([np.nan, 1], ["none", None]), KEYS)
    assert counts(found) == (1, 0, 1)
    assert found.example == "A 2020-01-02: reason few stored, none computed again"
    assert counts(compare_rows(rows([1.0], ["few"]), rows([1.0]), KEYS)) == (0, 0, 1)


def test_rows_of_one_side_and_rows_stored_twice_differ():
    found = compare_rows(rows([1.0]), rows([1.0, 1.0]), KEYS)
    assert counts(found) == (1, 0, 1)
    assert found.example == "A 2020-01-03: computed again, not stored"
    found = compare_rows(rows([1.0, 1.0]), rows([1.0]), KEYS)
    assert found.example == "A 2020-01-03: stored, not computed again"
    found = compare_rows(rows([1.0, 1.0], days=[0, 0]), rows([1.0]), KEYS)
    assert counts(found) == (1, 0, 1)
    assert found.example == "A 2020-01-02: stored more than once"


def test_a_column_that_is_not_stored_is_one_of_missing_values():
    found = compare_rows(rows([1.0, 1.0]).drop(columns="reason"), rows([1.0, 1.0], ["few", None]), KEYS)
    assert counts(found) == (1, 0, 1)


def test_nothing_compared_with_nothing_is_the_same():
    found = compare_rows(rows([]), rows([]), KEYS)
    assert found == Comparison()
    assert found.same
    assert str(Comparison(3, 2, 1) + Comparison(1, 0, 0, "x")) == "4 bit for bit, 2 within 1e-06, 1 not"
    assert (Comparison() + Comparison(0, 0, 1, "x")).example == "x"
