"""Weighted mean outcomes, from the weights that are stored with the matches."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kline_core.factor.stored_values import latest_values
from kline_core.factor.weighted_outcomes import weighted_outcomes
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.values import FINGERPRINT, store, value_rows

NAN = float("nan")


def add_matches(home: Home, symbol: str, day: str, *matches: tuple[float, float], fingerprint: str = FINGERPRINT):
    schema = table_schema("matches", (1, 5))
    date = np.datetime64(day).astype(object)
    filled = {"symbol": symbol, "date": date, "fingerprint": fingerprint, "match_symbol": "M", "match_end": date}
    filled |= {"similarity": 0.9, "barrier": 0, "run_id": "test", "r1": 0.5, "digest": 0}
    rows = [
        filled | {"rank": rank, "weight": weight, "r5": outcome}
        for rank, (weight, outcome) in enumerate(matches, start=1)
    ]
    home.append("matches", pa.Table.from_pylist(rows, schema))


def test_by_hand(tmp_path):
    home = Home(tmp_path / "home", create=True)
    rows = [value_rows("A", ["2024-01-02", "2024-01-03"], [0.5, 0.7]), value_rows("B", ["2024-01-03"], [NAN])]
    store(home, pd.concat([*rows, value_rows("C", ["2024-01-02"], [0.4])]))
    add_matches(home, "A", "2024-01-03", (0.6, 0.1), (0.2, -0.5))
    # Of another day, of a sample without a value, of an older sample, and of other settings.
    add_matches(home, "A", "2024-01-02", (1.0, 9.0))
    add_matches(home, "B", "2024-01-03", (1.0, 9.0))
    add_matches(home, "C", "2024-01-02", (1.0, 9.0))
    add_matches(home, "A", "2024-01-03", (1.0, 9.0), fingerprint="other")
    latest = latest_values(home, ["A", "B", "C"], FINGERPRINT)
    found = weighted_outcomes(home, latest, FINGERPRINT, 5)
    assert found == {"A": pytest.approx((0.6 * 0.1 - 0.2 * 0.5) / 0.8)}


def test_nothing_has_a_value(tmp_path):
    home = Home(tmp_path / "home", create=True)
    store(home, value_rows("B", ["2024-01-03"], [NAN]))
    assert weighted_outcomes(home, latest_values(home, ["B"], FINGERPRINT), FINGERPRINT, 5) == {}
    assert weighted_outcomes(home, latest_values(home, ["X"], FINGERPRINT), FINGERPRINT, 5) == {}
