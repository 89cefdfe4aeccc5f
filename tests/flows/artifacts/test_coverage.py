"""How many symbols have a value on the session, and why the others have none."""

import numpy as np

from flows.artifacts.coverage import coverage
from kline_core.compute.run_report import SymbolResult
from tests.support.results import BEFORE, SESSION, latest, report, scored


def test_every_symbol_is_counted_once() -> None:
    results = report(
        *map(scored, "ABCDE"),
        SymbolResult("F", problem="too few bars: 3 of 20"),
        SymbolResult("G", problem="ValueError: on fire", broke=True),
    )
    newest = latest(
        ("A", SESSION, 0.5, None),
        ("B", SESSION, None, "too few matches: 0 of 5"),
        ("C", SESSION, None, "too few matches: 3 of 5"),
        ("D", BEFORE, 0.9, None),
        # One that broke keeps what an earlier run stored.
        ("G", SESSION, 0.3, None),
    )
    found = coverage(results, newest, np.datetime64(SESSION))
    assert (found.scored, found.expected) == (1, 7)
    assert found.losses == {"too few matches": 2, "no traded bar of the session": 2, "too few bars": 1, "broke": 1}
    assert found.line == "1 of 7 scored (2 too few matches, 2 no traded bar of the session, 2 otherwise)"


def test_thousands() -> None:
    names = [f"S{number:04}" for number in range(5000)]
    rows = [(name, SESSION if at >= 20 else BEFORE, 0.5, None) for at, name in enumerate(names)]
    found = coverage(report(*map(scored, names)), latest(*rows))
    assert found.line == "4,980 of 5,000 scored (20 no traded bar of the session)"
    assert found.session == np.datetime64(SESSION)


def test_nothing_is_stored() -> None:
    found = coverage(report(SymbolResult("A", problem="too few bars: 0 of 20")), latest())
    assert found.line == "0 of 1 scored (1 too few bars)"
    assert found.session is None
    assert coverage(report(), latest()).line == "0 of 0 scored"
