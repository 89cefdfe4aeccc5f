"""Tables of symbols: their order, what has changed, and what is missing."""

from flows.artifacts.symbols import SymbolTables
from kline_core.compute.run_report import SymbolResult
from tests.support.results import BEFORE, SESSION, change, latest, report, scored


def test_the_highest_first_and_those_without_a_value_last() -> None:
    results = report(*map(scored, "ABCDE"), SymbolResult("F", problem="too few bars: 3 of 20"))
    newest = latest(
        ("A", SESSION, 0.3, None),
        ("B", SESSION, None, "too few matches: 0 of 5"),
        ("C", SESSION, 0.8, None),
        ("D", BEFORE, 0.99, None),
        ("E", SESSION, 0.4, None),
    )
    tables = SymbolTables(results, newest, change(A=0.5, C=0.45, B=0.7), {"C": 0.01234, "A": -0.5, "E": 0.0})
    rows = tables.all()
    assert [row["symbol"] for row in rows] == ["C", "E", "A", "D", "B", "F"]
    assert [row["rank"] for row in rows] == [1, 2, 3, None, None, None]
    assert [row["change"] for row in rows] == [0.35, None, -0.2, None, None, None]
    # Before, B was first, A second and C third.
    assert [row["rank change"] for row in rows] == [2, None, -1, None, None, None]
    assert [row["weighted mean outcome"] for row in rows] == [0.0123, 0.0, -0.5, None, None, None]
    assert [row["mean outcome"] for row in rows] == [0.08, 0.04, 0.03, None, None, None]
    assert [row["problem"] for row in rows[3:]] == [
        f"no value of {SESSION}",
        "too few matches: 0 of 5",
        "too few bars: 3 of 20",
    ]
    assert rows[3]["newest"] == BEFORE
    assert rows[0] | {"samples": 10, "done": 6, "failed": 1, "re-used": 3} == rows[0]
    assert [row["symbol"] for row in tables.extremes()] == ["C", "E", "A"]
    assert (
        tables.extremes()[0] | {"rank": 1, "matches": 5, "change": 0.35, "weighted mean outcome": 0.0123}
        == (tables.extremes()[0])
    )


def test_equal_values_stand_by_symbol() -> None:
    tables = SymbolTables(
        report(*map(scored, "BA")), latest(("A", SESSION, 0.5, None), ("B", SESSION, 0.5, None)), None, {}
    )
    assert [(row["symbol"], row["rank"]) for row in tables.all()] == [("A", 1), ("B", 2)]


def test_what_came_before_another_session_is_not_compared() -> None:
    newest = latest(("A", "2026-11-25", 0.5, None))
    (row,) = SymbolTables(report(scored("A")), newest, change(A=0.4), {}).all()
    assert (row["change"], row["rank change"]) == (None, None)


def test_no_symbol_has_a_sample() -> None:
    tables = SymbolTables(report(SymbolResult("A", problem="too few bars: 0 of 20")), latest(), None, {})
    assert [(row["value"], row["newest"], row["problem"]) for row in tables.all()] == [
        (None, None, "too few bars: 0 of 20")
    ]
    assert tables.extremes() == []
