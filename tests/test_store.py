import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.stored_values import Stored, StoredValues
from kline_core.store.home import Home
from tests.values import FINGERPRINT, store, value_rows

DAY_0 = np.datetime64("2024-01-01")


def test_what_is_stored_of_each_symbol(tmp_path):
    home = Home(tmp_path / "home", create=True)
    days = np.array(["2024-01-03", "2024-01-01", "2024-01-02"], "datetime64[D]")
    store(home, value_rows("B", days, [0.1, np.nan, 0.3]))
    store(home, value_rows("A", days, [0.5, 0.5, 0.5]), fingerprint="f" * 16)
    store(home, value_rows("C", days[:1], [np.nan]))
    stored = StoredValues(home, ["A", "B", "C"], FINGERPRINT)
    assert [stored.count(symbol) for symbol in "ABC"] == [0, 3, 1]
    assert len(stored.of("A").dates) == 0
    found = stored.of("B")
    assert np.array_equal(found.dates, np.sort(days))
    assert found.failed.tolist() == [True, False, False]
    assert found.reason.to_pylist() == ["too few matches: 0 of 5", None, None]
    assert stored.of("C").reasons_on(days) == ["too few matches: 0 of 5"]


@given(st.dictionaries(st.integers(0, 30), st.tuples(st.integers(1, 9), st.booleans())), st.sets(st.integers(0, 30)))
@settings(deadline=None)
def test_looked_up_as_in_a_dictionary(held, asked):
    days = sorted(held)
    stored = Stored(
        dates=DAY_0 + np.array(days, dtype=np.int64),
        history=np.array([held[day][0] for day in days], dtype=np.int64),
        failed=np.array([held[day][1] for day in days], dtype=bool),
        reason=pa.chunked_array([pa.array([f"why {day}" if held[day][1] else None for day in days], pa.string())]),
    )
    asked = sorted(asked)
    dates = DAY_0 + np.array(asked, dtype=np.int64)
    assert stored.history_on(dates).tolist() == [held[day][0] if day in held else NEVER_REUSED for day in asked]
    assert stored.reasons_on(dates) == [f"why {day}" for day in asked if day in held and held[day][1]]
