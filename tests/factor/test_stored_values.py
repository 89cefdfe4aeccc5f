import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.errors import HomeError
from kline_core.factor.batch import SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.rows import failed_rows, no_matches
from kline_core.factor.stored_values import Stored, StoredValues, ValueWriter, latest_values, ranking, samples_of
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.values import FINGERPRINT, store, value_rows

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


@pytest.mark.slow
@given(st.dictionaries(st.integers(0, 30), st.tuples(st.integers(1, 9), st.booleans())), st.sets(st.integers(0, 30)))
@settings(deadline=None)
def test_looked_up_as_in_a_dictionary(held, asked):
    days = sorted(held)
    stored = Stored(
        dates=DAY_0 + np.array(days, dtype=np.int64),
        history=np.array([held[day][0] for day in days], dtype=np.int64),
        failed=np.array([held[day][1] for day in days], dtype=bool),
        reason=pa.chunked_array([pa.array([f"why {day}" if held[day][1] else None for day in days], pa.string())]),
        many=np.array([held[day][0] > 5 for day in days], dtype=bool),
        many_reason=pa.chunked_array([pa.array([f"no {day}" if held[day][0] < 3 else None for day in days])]),
    )
    asked = sorted(asked)
    dates = DAY_0 + np.array(asked, dtype=np.int64)
    every = SymbolSamples("S", stored.dates, stored.history).with_dates(dates)
    history = dict(zip(every.dates.tolist(), every.stored.tolist(), strict=True))
    assert [history[day] for day in dates.tolist()] == [held[day][0] if day in held else NEVER_REUSED for day in asked]
    there = [day for day in asked if day in held]
    assert stored.reasons_on(dates) == [f"why {day}" for day in there if held[day][1]]
    reasons = [f"no {day}" for day in there if held[day][0] < 3]
    assert stored.many_on(dates) == (sum(held[day][0] > 5 for day in there), reasons)


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9)))
@settings(deadline=None)
def test_each_match_is_of_the_sample_with_its_key(keys, match_keys):
    sample, own = samples_of(np.array(match_keys, dtype=np.int64), np.array(keys, dtype=np.int64))
    assert own.tolist() == [key in keys for key in match_keys]
    assert [keys[at] for at in sample[own]] == [key for key in match_keys if key in keys]


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home", create=True)
    rows = [
        ("A", "2024-01-02", 0.25, "f"),
        ("A", "2024-01-03", 0.5, "f"),
        ("A", "2024-01-04", 0.75, "other"),
        ("B", "2024-01-03", None, "f"),
        ("C", "2024-01-02", 1.0, "f"),
    ]
    filled = {"matches": 5, "history": 0, "run_id": "r", "return_mean": 0.01}
    frame = pd.DataFrame(rows, columns=["symbol", "date", "value", "fingerprint"]).assign(**filled)
    frame["date"] = pd.to_datetime(frame["date"]).dt.date
    frame["status"] = np.where(frame["value"].isna(), "failed", "ok")
    frame["reason"] = np.where(frame["value"].isna(), "too few bars", None)
    for name in table_schema("factors").names:
        if name not in frame:
            frame[name] = None
    schema = table_schema("factors")
    home.append("factors", pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False))
    return home


def newest(frame):
    return {row.symbol: (str(row.date.date()), row.value) for row in frame.itertuples() if row.status == "ok"}


def test_the_newest_of_each_symbol(home):
    frame = latest_values(home, ["A", "B", "C", "D"], "f")
    assert frame["symbol"].tolist() == ["A", "B", "C"]
    assert newest(frame) == {"A": ("2024-01-03", 0.5), "C": ("2024-01-02", 1.0)}
    assert frame["reason"].tolist()[1] == "too few bars"


def test_none_after_the_day(home):
    frame = latest_values(home, ["A", "B", "C"], "f", np.datetime64("2024-01-02"))
    assert newest(frame) == {"A": ("2024-01-02", 0.25), "C": ("2024-01-02", 1.0)}


def test_nothing_stored(home):
    frame = latest_values(home, ["A"], "none")
    assert frame.empty
    assert ranking(frame).empty


def frame_of(values, day="2024-01-03"):
    symbols = [f"S{number:02}" for number in range(len(values))]
    status = ["ok" if value is not None else "failed" for value in values]
    return pd.DataFrame(
        {"symbol": symbols, "date": pd.Timestamp(day), "value": values, "status": status, "reason": None}
        | {"matches": 5, "return_mean": 0.01}
    )


def test_only_values_of_the_newest_day_are_ranked(home):
    ranked = ranking(latest_values(home, ["A", "B", "C"], "f"))
    assert ranked[["rank", "symbol", "value"]].values.tolist() == [[1, "A", 0.5]]


def test_both_ends_with_their_ranks_and_ties_by_symbol():
    ranked = ranking(frame_of([0.5, None, 0.9, 0.1, 0.5, 0.7]), shown=2)
    assert ranked[["rank", "symbol"]].values.tolist() == [[1, "S02"], [2, "S05"], [4, "S04"], [5, "S03"]]
    assert ranking(frame_of([0.5, 0.6, 0.7]), shown=2)["symbol"].tolist() == ["S02", "S01", "S00"]


def rows_of(symbol, reason):
    dates = np.array(["2020-01-02", "2020-01-03"], dtype="datetime64[D]")
    return failed_rows(symbol, dates, np.full(2, reason, dtype=object), np.zeros(2, dtype=np.int64))


def test_rows_are_taken_while_others_are_stored_and_none_is_lost(home, newest, monkeypatch):
    key = newest(home)
    writer = ValueWriter(home, key, "run")
    none, real, failing = no_matches(key.settings.patterns.horizons), Home.upsert, [True]

    def upsert(into, table, rows, *arguments):
        # What another thread would do; it would wait for ever if the buffer were locked.
        if failing:
            writer.add(["B", "C"], pa.concat_tables([rows_of("B", "newer"), rows_of("C", "newer")]), none)
            assert writer.waiting == 8
            failing.clear()
            raise HomeError("no room")
        return real(into, table, rows, *arguments)

    monkeypatch.setattr(Home, "upsert", upsert)
    writer.add(["A", "B"], pa.concat_tables([rows_of("A", "older"), rows_of("B", "older")]), none)
    with pytest.raises(HomeError, match="no room"):
        writer.flush()
    assert writer.waiting == 6
    writer.flush()
    assert writer.waiting == 0
    stored = home.read("factors", ["symbol", "reason"], fingerprint=key.fingerprint).to_pylist()
    found = sorted({(row["symbol"], row["reason"]) for row in stored})
    assert found == [("A", "older"), ("B", "newer"), ("C", "newer")]
    assert len(stored) == 6
