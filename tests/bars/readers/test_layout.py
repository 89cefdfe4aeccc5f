"""The columns of a file: what fits, what is missing and of which layout, and what a person names by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.bars.readers.layout import MEANINGS, KeptColumns, Layout, columns_of
from kline_core.bars.readers.layouts import LAYOUTS
from kline_core.errors import InputError
from tests.support.examples import examples

PLAIN = ["date", "open", "high", "low", "close", "volume"]


def refusal(names: list[str], mapping: dict[str, str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        columns_of("a.csv", names, LAYOUTS, mapping)
    return str(caught.value)


@pytest.mark.parametrize("missing", PLAIN)
def test_what_is_missing_is_named_with_the_nearest_layout_and_what_to_write(missing: str) -> None:
    names = [name.title() for name in PLAIN if name != missing]
    assert refusal(names) == (
        f"a.csv: column {missing} is missing; its columns are {', '.join(names)}, nearest to the layout plain; add "
        f"what is missing, or name the columns that hold it with --columns {missing}=NAME"
    )


def test_what_a_vendor_needs_beside_is_named_too() -> None:
    said = refusal(["code", "date", "preclose", "tradestatus", "open", "high", "low"])
    assert "column close is missing" in said
    assert "nearest to the layout baostock, which needs volume too; " in said
    assert said.endswith("--columns close=NAME,volume=NAME")


def test_what_is_to_be_named_by_hand_is_named_whole() -> None:
    said = refusal(["Datum", "Eröffnung", "Hoch", "Tief", "Schluss", "Vol."])
    assert said.endswith("--columns close=NAME,open=NAME,date=Datum,high=Hoch,low=Tief,volume=Vol.")
    # By hand the units of the vendor are lost.
    said = refusal(["ts_code", "trade_date", "open", "high", "low", "close", "volume"])
    assert "--columns volume=NAME,date=trade_date; volumes then count as shares" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ["Tag", "Anfang", "Oben", "Unten", "Ende", "Stück"],
        ["日付", "始値", "高値", "安値", "終値", "出来高"],
        ["a"],
        ["", "", ""],
        ["2020-01-02", "10", "11", "9", "10", "5"],
        ["x" * 100_000],
        [f"c{number}" for number in range(10_000)],
    ],
)
def test_columns_that_no_layout_knows_are_named_in_a_line_of_some_length(names: list[str]) -> None:
    said = refusal(names)
    assert said.startswith("a.csv: its columns fit no layout: ")
    assert said.endswith("--columns date=NAME,open=NAME,high=NAME,low=NAME,close=NAME,volume=NAME")
    assert "\n" not in said
    assert len(said) < 1200


@pytest.mark.parametrize("names", [["date", "close", "volume"], ["date", "close"], ["Date", "Close", "Adj Close"]])
def test_closes_alone_are_refused_with_the_reason(names: list[str]) -> None:
    assert "a chart needs all four prices; a table of closes alone cannot be used" in refusal(names)


def test_columns_by_hand_are_those_of_the_plain_layout_otherwise() -> None:
    names = ["Datum", " OPEN ", "High", "low", "Schluss", "volume", "close", "x"]
    found = columns_of("a.csv", names, LAYOUTS, {"date": "datum", "close": "Schluss"})
    assert found.used == {
        "Datum": "date",
        " OPEN ": "open",
        "High": "high",
        "low": "low",
        "Schluss": "close",
        "volume": "volume",
    }
    assert found.ignored == ("close", "x")
    assert found.layout.name == "columns named by hand"


def test_what_a_person_names_and_is_not_there_is_said() -> None:
    assert refusal(PLAIN, {"close": "Schluss"}) == (
        "a.csv: has no column 'Schluss', which --columns names for close; its columns are "
        "date, open, high, low, close, volume"
    )
    assert refusal(PLAIN[:-1], {"close": "close"}).startswith(
        "a.csv: column volume is missing; --columns volume=NAME names the one that holds it; its columns are date"
    )


def test_what_is_kept_counts_where_no_layout_fits_and_all_of_it_is_there() -> None:
    kept = KeptColumns({"date": "Datum", "close": "Schluss"})
    german = ["Datum", "open", "high", "low", "Schluss", "volume"]
    found = columns_of("a.csv", german, LAYOUTS, kept)
    assert found.layout.name == "columns kept with the home"
    assert "`kline notes`" in found.layout.note
    assert columns_of("a.csv", [*PLAIN, "Datum", "Schluss"], LAYOUTS, kept).layout.name == "plain"
    with pytest.raises(InputError, match="column date is missing; its columns are Tag, "):
        columns_of("a.csv", ["Tag", *german[1:]], LAYOUTS, kept)


@pytest.mark.slow
@settings(max_examples=examples(20))
@given(st.lists(st.sampled_from([*PLAIN, "Code", "PRECLOSE", " date", "x", "", "adj_factor"]) | st.text(max_size=5)))
def test_whatever_the_columns_are_they_are_understood_or_refused_in_a_line(names: list[str]) -> None:
    try:
        found = columns_of("a.csv", names, LAYOUTS)
    except InputError as error:
        assert str(error).startswith("a.csv: ")  # noqa: PT017  either is right
        return
    assert set(found.used.values()) <= MEANINGS
    assert len(found.used) + len(found.ignored) == len(names)


def test_every_layout_lacks_nothing_of_its_own_columns() -> None:
    for layout in LAYOUTS:
        assert isinstance(layout, Layout)
        assert layout.missing(layout.columns.keys() | set(layout.telling)) == []
        assert set(layout.columns.values()) <= MEANINGS
