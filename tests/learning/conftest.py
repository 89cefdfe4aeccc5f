import pytest

from kline_core.learning import folds, learners


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Little is enough to learn from, and little is learned."""
    monkeypatch.setattr(folds, "LEAST", 500)
    monkeypatch.setattr(folds, "NEIGHBOURS", 60)
    monkeypatch.setattr(learners, "MOST_CHARTS", 256)
