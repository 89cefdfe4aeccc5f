import math

import numpy as np
import pandas as pd
import pytest

from kline_core.evaluation.session_change import session_change
from kline_core.store.home import Home
from tests.support.values import FINGERPRINT, store, value_rows

NAN = float("nan")
DAYS = ["2024-03-05", "2024-03-06", "2024-03-07"]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home", create=True)


def fill(home, day, values, fingerprint=FINGERPRINT):
    rows = [value_rows(symbol, [day], [value]) for symbol, value in values.items()]
    store(home, pd.concat(rows), fingerprint)


def change(home, day="2024-03-07", symbols=None):
    return session_change(home, FINGERPRINT, symbols, None if day is None else np.datetime64(day))


@pytest.mark.slow
def test_by_hand(home):
    fill(home, DAYS[0], dict.fromkeys("ABCDEFG", 0.0))
    fill(home, DAYS[1], {"A": 0.1, "B": 0.5, "C": 0.9, "D": 0.4, "E": NAN, "F": 0.3, "G": 0.2})
    fill(home, DAYS[2], {"A": 0.8, "B": 0.6, "C": 0.2, "D": 0.4, "E": 0.5, "F": NAN, "H": 0.7})
    # Other values of the same day, and later ones, are not looked at.
    fill(home, DAYS[2], {"A": 0.0}, "another")
    found = change(home)
    assert (str(found.day), str(found.before)) == (DAYS[2], DAYS[1])
    assert found.compared == 4
    assert found.mean_absolute == pytest.approx((0.7 + 0.1 + 0.7 + 0.0) / 4)
    # Ranks 1 3 4 2 against 4 3 1 2: squared differences 9 0 9 0.
    assert found.rank_correlation == pytest.approx(1 - 6 * 18 / (4 * 15))
    assert [(move.symbol, move.before, move.now) for move in found.up] == [("A", 0.1, 0.8), ("B", 0.5, 0.6)]
    assert [(move.symbol, round(move.change, 9)) for move in found.down] == [("C", -0.7)]
    assert (found.gained, found.lost) == (["E"], ["F"])
    assert (found.only_now, found.only_before) == (["H"], ["G"])
    page = found.markdown()
    assert "4 symbols have a value on 2024-03-07 and on 2024-03-06" in page
    assert "**A** 0.10 → 0.80 (+0.70), **B** 0.50 → 0.60 (+0.10)" in page
    assert "1 symbols lost theirs: F" in page
    earlier = change(home, DAYS[1])
    assert (str(earlier.day), str(earlier.before)) == (DAYS[1], DAYS[0])
    assert str(change(home, None).day) == DAYS[2]


@pytest.mark.slow
def test_only_the_symbols_that_are_asked_for(home):
    for at, day in enumerate(DAYS):
        fill(home, day, {"A": 0.1 * at, "B": 0.2 * at, "C": 0.3 * at})
    found = change(home, symbols=["A", "B"])
    assert found.compared == 2
    assert math.isnan(found.rank_correlation)
    assert "Rank correlation" not in found.markdown()


def test_biggest_moves_first_and_ties_by_symbol(home):
    names = [f"S{number}" for number in range(9)]
    fill(home, DAYS[0], dict.fromkeys(names, 0.5))
    fill(home, DAYS[1], {name: 0.5 + (0.25 if at % 2 else -0.25) for at, name in enumerate(names)} | {"S8": 0.0})
    found = change(home)
    assert [move.symbol for move in found.up] == ["S1", "S3", "S5", "S7"]
    assert [move.symbol for move in found.down] == ["S8", "S0", "S2", "S4", "S6"]


@pytest.mark.slow
def test_sample_dates_of_a_few_symbols_are_no_session(home):
    everyone = dict.fromkeys("ABCDE", 0.5)
    fill(home, "2024-03-04", everyone)
    # Three of five: sample dates of their own. One of five: a bar that came before the others'.
    fill(home, "2024-03-05", dict.fromkeys("ABC", 0.1))
    fill(home, "2024-03-06", everyone)
    fill(home, "2024-03-07", {"A": 0.9})
    found = change(home)
    assert (str(found.day), str(found.before)) == ("2024-03-06", "2024-03-04")


def test_no_earlier_session(home):
    assert change(home).markdown() == "No value is stored yet."
    fill(home, DAYS[1], {"A": 0.5})
    assert change(home, DAYS[0]).markdown() == "No value is stored yet."
    found = change(home)
    assert (str(found.day), found.before) == (DAYS[1], None)
    assert found.markdown() == "No earlier session is stored to compare 2024-03-06 with."


@pytest.mark.parametrize(("before", "there"), [("2024-02-04", False), ("2024-02-05", True)])
def test_a_session_long_ago_is_none_to_compare_with(home, before, there):
    fill(home, before, {"A": 0.5})
    fill(home, "2024-03-07", {"A": 0.5})
    assert (change(home).before is not None) == there


def test_sessions_without_a_common_value(home):
    fill(home, DAYS[0], {"A": NAN, "B": 0.5})
    fill(home, DAYS[1], {"A": 0.5, "B": NAN})
    found = change(home)
    assert (found.compared, found.gained, found.lost) == (0, ["A"], ["B"])
    assert math.isnan(found.mean_absolute)
    assert "nan" not in found.markdown()
