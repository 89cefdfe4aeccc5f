"""How far a run is, from the results of its symbols as they grow."""

from kline_core.compute.progress import SampleCount
from kline_core.compute.run_report import SymbolResult


def counts(count):
    return count.total, count.done, count.failed, count.reused, count.finished, count.symbols


def test_a_symbol_says_how_many_samples_it_has():
    count = SampleCount({"A": 50, "B": 100, "C": 70})
    assert counts(count) == (220, 0, 0, 0, 0, 0)
    count.update(SymbolResult("A", 40, 10, 2, 0))
    assert counts(count) == (210, 10, 2, 0, 12, 1)
    count.update(SymbolResult("A", 40, 20, 5, 15))
    assert counts(count) == (210, 20, 5, 15, 40, 1)
    count.update(SymbolResult("B", 100, 0, 0, 100))
    assert counts(count) == (210, 20, 5, 115, 140, 2)


def test_a_symbol_that_is_scored_again_takes_its_own_place():
    count = SampleCount({"A": 12})
    count.update(SymbolResult("A", 10, 6))
    count.update(SymbolResult("A", problem="ValueError: no", broke=True))
    assert counts(count) == (10, 0, 0, 0, 0, 1)
    count.update(SymbolResult("A", 10, 9, 1))
    assert counts(count) == (10, 9, 1, 0, 10, 1)


def test_a_symbol_that_breaks_at_once_keeps_its_samples():
    count = SampleCount({"A": 12})
    count.update(SymbolResult("A", problem="ValueError: no", broke=True))
    assert counts(count) == (12, 0, 0, 0, 0, 1)
    count.update(SymbolResult("A", 10, 9, 1))
    assert counts(count) == (10, 9, 1, 0, 10, 1)
