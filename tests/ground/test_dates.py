from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.dates import parse_date, parse_dates
from kline_core.errors import DateError

DAY = np.datetime64("2020-01-02", "D")


@pytest.mark.parametrize(
    "value",
    [
        "2020-01-02",
        "2020/01/02",
        "2020/1/2",
        "20200102",
        20200102,
        np.int64(20200102),
        "2020-01-02 00:00:00",
        "2020-01-02T00:00:00.000",
        " 2020-01-02 ",
        date(2020, 1, 2),
        datetime(2020, 1, 2),
        pd.Timestamp("2020-01-02"),
        np.datetime64("2020-01-02", "D"),
        np.datetime64("2020-01-02T00:00:00", "ns"),
    ],
)
def test_parse_date_accepts(value: object) -> None:
    parsed = parse_date(value, "--as-of")
    assert parsed == DAY
    assert parsed.dtype == np.dtype("datetime64[D]")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2020-13-01",
        "2019-02-29",
        "2020-01/02",
        "02.01.2020",
        "2020-01-02 09:30:00",
        "2020-01-02T00:00:00Z",
        "２０２０-01-02",
        1577923200,
        20200102.0,
        True,
        None,
        pd.NaT,
        np.datetime64("NaT", "D"),
        np.timedelta64(20200102, "D"),
        np.timedelta64(20200102, "ns"),
        datetime(2020, 1, 2, 9, 30),
        datetime(2020, 1, 2, tzinfo=UTC),
        pd.Timestamp("2020-01-02", tz="Asia/Shanghai"),
        np.datetime64("2020-01-02T00:00:00.000000001", "ns"),
        "1799-12-31",
        "2200-01-01",
        date(9999, 12, 31),
        np.datetime64("12000-01-01", "D"),
        np.datetime64("-0001-01-01", "s"),
    ],
)
def test_parse_date_refuses_and_names_the_parameter(value: object) -> None:
    with pytest.raises(DateError, match="--as-of"):
        parse_date(value, "--as-of")


@given(st.dates(min_value=date(1800, 1, 1), max_value=date(2199, 12, 31)))
def test_every_day_survives_every_form(day: date) -> None:
    for text in (day.isoformat(), f"{day.year:04}/{day.month}/{day.day}", f"{day.year:04}{day.month:02}{day.day:02}"):
        assert parse_date(text, "date") == np.datetime64(day, "D")


@pytest.mark.slow
@given(st.lists(st.one_of(st.none(), st.text(max_size=10), st.integers(), st.dates(), st.just("20200102"))))
def test_a_column_is_parsed_as_its_cells_are(cells: list[object]) -> None:
    days, bad = parse_dates(pd.Series(cells, dtype=object))
    for cell, day, wrong in zip(cells, days, bad, strict=True):
        try:
            assert parse_date(cell, "date") == day
            assert not wrong
        except DateError:
            assert wrong
            assert np.isnat(day)


def test_a_typed_column_is_taken_whole_and_times_of_day_are_marked() -> None:
    column = pd.Series(pd.to_datetime(["2020-01-02 00:00", "2020-01-02 09:30", None]))
    days, bad = parse_dates(column)
    assert bad.tolist() == [False, True, True]
    assert days[0] == DAY
    assert np.isnat(days[1:]).all()


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_typed_column_has_the_same_bounds(unit: str) -> None:
    texts = ["1799-12-31", "1800-01-01", "2199-12-31", "2200-01-01", "12000-01-01", "-0200-01-01"]
    days, bad = parse_dates(pd.Series(np.array(texts, f"datetime64[{unit}]")))
    assert bad.tolist() == [True, False, False, True, True, True]
    assert np.isnat(days).tolist() == bad.tolist()


def test_equal_values_of_other_types_and_lists_are_judged_by_themselves() -> None:
    values = pd.Series([20200102.0, 20200102, True, "20200102", [20200102], (1, [2]), None, 20200102], dtype=object)
    days, bad = parse_dates(values)
    assert bad.tolist() == [True, False, True, False, True, True, True, False]
    assert (days[~bad] == DAY).all()
