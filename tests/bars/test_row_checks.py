from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.bars.columns import BAR_COLUMNS, CHANGES
from kline_core.bars.convention import Convention
from kline_core.bars.row_checks import check_rows
from kline_core.bars.row_errors import REJECTED_COLUMNS
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.errors import InputError
from tests import naive
from tests.support.examples import examples
from tests.support.rows import validate_bars


def bars(*rows: tuple[object, ...], **columns: object) -> pd.DataFrame:
    names = ["symbol", "date", "open", "high", "low", "close", "volume"]
    return pd.DataFrame(list(rows), columns=names).assign(**columns)


GOOD = ("AAPL", "2020-01-02", 10.0, 11.0, 9.0, 10.5, 1000.0)


@pytest.mark.parametrize(
    ("column", "value", "reason", "shown"),
    [
        ("symbol", "../x", "symbol is no symbol", "../x"),
        ("symbol", None, "symbol is no symbol", ""),
        ("symbol", 600519, "symbol is no symbol", "600519"),
        ("date", "2020-02-30", "date is missing or no date; write YYYY-MM-DD", "2020-02-30"),
        ("open", "ten", "open is no number", "ten"),
        ("open", "1_0", "open is no number", "1_0"),
        ("open", True, "open is no number", "True"),
        ("high", None, "high is missing", ""),
        ("high", "", "high is missing", ""),
        ("low", float("inf"), "low is not finite", "inf"),
        ("close", -1.0, "close is not above 0", "-1"),
        ("close", 0, "close is not above 0", "0"),
        ("high", 8.0, "high is below low", "8"),
        ("open", 11.5, "open lies outside low to high", "11.5"),
        ("close", 8.5, "close lies outside low to high", "8.5"),
        ("volume", -5, "volume is negative", "-5"),
        ("volume", float("inf"), "volume is not finite", "inf"),
        ("volume", "many", "volume is no number", "many"),
        ("amount", -5, "amount is negative", "-5"),
        ("adj_factor", 0, "adj_factor is not above 0", "0"),
        ("adj_factor", None, "adj_factor is missing", ""),
        ("adj_factor", 1e13, "adj_factor is not between 1e-12 and 1e+12", "10000000000000"),
        ("adj_factor", 1e-13, "adj_factor is not between 1e-12 and 1e+12", "1e-13"),
        ("adj_factor", 5e11, "adj_factor makes an adjusted price that is not between", "500000000000"),
        ("high", 1e300, "high is not between 1e-12 and 1e+12", "1e+300"),
        ("low", 1e-300, "low is not between 1e-12 and 1e+12", "1e-300"),
    ],
)
def test_a_bad_cell_is_rejected_with_its_reason(column: str, value: object, reason: str, shown: str) -> None:
    frame = bars(GOOD, GOOD, amount=1.0, adj_factor=1.0).astype(object)
    frame.loc[1, "date"] = "2020-01-03"
    frame.loc[1, column] = value
    result = validate_bars(frame.set_axis([2, 3]), "a.csv")
    assert list(result.bars.index) == [2]
    assert list(result.rejected.columns) == list(REJECTED_COLUMNS)
    (row,) = result.rejected.to_dict("records")
    assert (row["source"], row["row"], row["value"]) == ("a.csv", 3, shown)
    assert row["reason"].startswith(reason)


@pytest.mark.parametrize(
    "value", [1j, b"10", pd.Timedelta(1), [10.0], np.array([10.0]), {"a": 1}, "-nan(ind)", "\ud800"]
)
def test_what_only_looks_like_a_number_is_none(value: object) -> None:
    frame = bars(GOOD, GOOD).assign(volume=pd.Series([value, 1000.0], dtype=object))
    frame.loc[1, "date"] = "2020-01-03"
    result = validate_bars(frame, "a.csv")
    assert (result.bars.index.tolist(), result.rejected["reason"].tolist()) == ([1], ["volume is no number"])


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN")])
def test_a_decimal_that_is_none_names_its_row(value: Decimal) -> None:
    frame = bars(GOOD, GOOD).assign(close=pd.Series([value, 10.5], dtype=object))
    frame.loc[1, "date"] = "2020-01-03"
    assert validate_bars(frame, "a.csv").rejected[["row", "value"]].to_numpy().tolist() == [[0, ""]]


@pytest.mark.parametrize("value", [1, True, [1], b"A", "A\ud800"])
def test_what_is_no_text_is_no_symbol_and_no_other_row_suffers(value: object) -> None:
    frame = bars(GOOD, GOOD, GOOD).assign(symbol=pd.Series([value, "AAPL", "B"], dtype=object))
    result = validate_bars(frame, "a.csv")
    assert result.bars["symbol"].tolist() == ["AAPL", "B"]
    assert result.rejected["row"].tolist() == [0]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match=r"a\.csv: column volume is missing"):
        validate_bars(bars(GOOD).drop(columns="volume"), "a.csv")


def test_equal_duplicates_leave_one_and_conflicting_ones_none() -> None:
    other = (*GOOD[:5], 10.6, 1000.0)
    later = ("AAPL", "2020-01-03", *GOOD[2:])
    spelled = ("AAPL", "20200103", *GOOD[2:])
    result = validate_bars(bars(GOOD, later, other, spelled, GOOD, ("MSFT", *GOOD[1:])), "a.csv")
    assert result.bars.index.tolist() == [1, 5]
    assert result.rejected["row"].tolist() == [0, 2, 3, 4]
    assert ["different" in reason for reason in result.rejected["reason"]] == [True, True, False, True]
    assert result.rejected["value"].tolist() == ["2020-01-02", "2020-01-02", "2020-01-03", "2020-01-02"]


@pytest.mark.parametrize(
    ("prices", "volume", "suspended"),
    [
        ((5.0, 5.0, 5.0, 5.0), 0.0, True),
        ((5.0, 5.0, 5.0, 5.0), None, True),
        ((5.0, 5.0, 5.0, 5.0), 100.0, False),
        ((5.0, 6.0, 5.0, 5.0), 0.0, False),
        ((5.0, 6.0, 5.0, 5.0), None, False),
    ],
)
def test_suspended_is_flat_without_volume(prices: tuple[float, ...], volume: float | None, suspended: bool) -> None:
    result = validate_bars(bars(("A", "2020-01-02", *prices, volume)), "a.csv")
    assert result.bars["suspended"].tolist() == [suspended]
    assert len(bars_by_symbol(result.bars.assign(adj_factor=1.0))["A"]) == (0 if suspended else 1)


@pytest.mark.parametrize(
    ("cells", "bar"),
    [
        # Suspended days in vendors' spellings.
        ((0, 0, 0, 5.0, 0), (5.0, 5.0, 5.0, 5.0, 0.0, True)),
        ((None, None, None, 5.0, None), (5.0, 5.0, 5.0, 5.0, None, True)),
        ((0, None, "0.000", 5.0, 5.877472e-39), (5.0, 5.0, 5.0, 5.0, 0.0, True)),
        ((5.0, 5.0, 5.0, 5.0, 5.877472e-39), (5.0, 5.0, 5.0, 5.0, 0.0, True)),
        (("None", "NA", "<NA>", 5.0, "none"), (5.0, 5.0, 5.0, 5.0, None, True)),
        # Rounding that has put the close outside low to high.
        ((5.0, 5.09999999, 4.9, 5.1, 10), (5.0, 5.1, 4.9, 5.1, 10.0, False)),
        ((5.0, 5.1, 4.90000001, 4.9, 10), (5.0, 5.1, 4.9, 4.9, 10.0, False)),
    ],
)
def test_what_vendors_mean_is_stored_and_counted(cells: tuple[object, ...], bar: tuple[object, ...]) -> None:
    result = validate_bars(bars(("A", "2020-01-02", *cells)).astype(object), "a.csv")
    (row,) = result.bars[["open", "high", "low", "close", "volume", "suspended"]].astype(object).to_numpy().tolist()
    assert [None if value != value else value for value in row] == list(bar)
    assert set(result.mended.values()) == {1}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        # Traded, with a bar that is none.
        ((0, 0, 0, 5.0, 100), "open is not above 0"),
        # No price at all.
        ((0, 0, 0, 0, 0), "open is not above 0"),
        ((None, None, None, None, None), "open is missing"),
        # More than rounding.
        ((5.0, 5.09, 4.9, 5.1, 10), "close lies outside low to high"),
    ],
)
def test_what_nobody_can_mean_is_rejected_and_not_mended(cells: tuple[object, ...], reason: str) -> None:
    result = validate_bars(bars(("A", "2020-01-02", *cells)).astype(object), "a.csv")
    assert result.rejected["reason"].tolist() == [reason]
    assert result.mended == {}


def test_bars_within_a_day_are_called_so() -> None:
    """A time of day is none of the exchange's business where each day has one, and tells bars within a day apart."""
    rows = [("A", f"2020-01-02 {hour}:30:00", *GOOD[2:]) for hour in (10, 11)]
    result = validate_bars(bars(*rows, ("A", "2020-01-03 15:00", *GOOD[2:])), "a.csv")
    assert result.bars["date"].tolist() == [pd.Timestamp("2020-01-03")]
    assert set(result.rejected["reason"]) == {
        "date is one of several times of its day: bars within a day are not taken, only daily ones"
    }


def test_moments_are_days_at_each_symbols_exchange() -> None:
    moments = ["2024-01-02T05:00:00Z", "2024-01-01 16:00:00+00:00", "2024-01-02 23:30:00-05:00"]
    symbols = ["AAPL", "600519.SH", "IBM"]
    frame = bars(*((symbol, moment, *GOOD[2:]) for symbol, moment in zip(symbols, moments, strict=True)))
    result = validate_bars(frame, "a.csv")
    assert result.bars["date"].dt.strftime("%Y-%m-%d").tolist() == ["2024-01-02"] * 3


def test_a_moment_of_no_known_exchange_is_no_day() -> None:
    result = validate_bars(bars(("^GSPC", "2024-01-02T05:00:00Z", *GOOD[2:])), "a.csv")
    assert "has a time zone, and the market of its symbol is not known" in result.rejected["reason"].item()


def test_units_are_those_of_the_layout() -> None:
    lots = Convention(volume_unit=100.0, amount_unit=1000.0)
    (row,) = check_rows(bars(GOOD, amount=2.5), "a.csv", lots).bars.itertuples()
    assert (row.volume, row.amount) == (100_000.0, 2500.0)


CELLS = st.one_of(
    st.sampled_from(
        [1.0, 2, 3.5, "2", " 3.5 ", "x", "", None, float("nan"), float("inf"), -1.0, 0, True, 1e308, 5e-324]
    ),
    st.floats(),
    st.text(max_size=4),
)
PRICE = st.sampled_from([1.0, 2, 3, 4, "1", "2.0"]) | CELLS
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "600519.SH"]) | st.sampled_from(["", "../x", None, 5, "a'b"]),
        st.sampled_from(["2020-01-02", "20200103", "2020/01/04", 20200102]) | CELLS,
        PRICE,
        PRICE,
        PRICE,
        PRICE,
        st.sampled_from([0, 100, "5", None]) | CELLS,
    ),
    max_size=12,
)


FACTORS = st.none() | st.lists(st.sampled_from([1.0, 2.0, "3"]) | CELLS, min_size=12, max_size=12)


@pytest.mark.slow
@settings(max_examples=examples(15), deadline=None)
@given(
    rows=ROWS,
    factors=st.none() | st.lists(st.sampled_from([1.0, 2.0, "3"]) | CELLS, min_size=12, max_size=12),
    random=st.randoms(),
)
def test_the_door_divides_every_frame_and_lets_only_sound_bars_in(
    rows: list[tuple[object, ...]], factors: list[object] | None, random: object
) -> None:
    frame = bars(*rows).astype(object)
    if factors is not None:
        frame["adj_factor"] = pd.Series(factors[: len(frame)], dtype=object, index=frame.index)
    result = validate_bars(frame, "a.csv")
    assert sorted([*result.bars.index, *result.rejected["row"]]) == list(range(len(frame)))
    assert (result.rejected["reason"].str.len() > 0).all()
    assert list(result.bars.columns) == [*BAR_COLUMNS, *CHANGES]
    kept = result.bars
    assert not kept.duplicated(["symbol", "date"]).any()
    for row in kept.itertuples():
        assert naive.is_sound_bar(row.symbol, row.open, row.high, row.low, row.close, row.volume)
        assert row.suspended == (row.open == row.high == row.low == row.close and not row.volume > 0)
        assert np.isnan(row.adj_factor) == (factors is None)
    order = list(range(len(frame)))
    random.shuffle(order)
    again = validate_bars(frame.iloc[order], "a.csv").bars
    columns = list(BAR_COLUMNS)
    expected = kept.sort_values(["symbol", "date"])[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.sort_values(["symbol", "date"])[columns].reset_index(drop=True), expected)


@pytest.mark.parametrize("cell", ["", "-", "--", " - ", "N/A", "#N/A", "null", "—"])
def test_a_number_that_is_not_there_is_missing_however_that_is_written(cell):
    checked = check_rows(bars(("A", "2020-01-02", "10", "11", "9", "10", cell), amount=cell), "x")
    assert checked.bars[["volume", "amount"]].isna().all(axis=None)
    rejected = check_rows(bars(("A", "2020-01-02", "10", "11", "9", cell, "5")), "x").rejected
    assert rejected["reason"].tolist() == ["close is missing"]
