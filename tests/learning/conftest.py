import pytest

from kline_core.learning import folds, learners
from tests.support.made_markets import noise_market
from tests.support.studies import bars_of, study_of


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Little is enough to learn from, and little is learned."""
    monkeypatch.setattr(folds, "LEAST", 500)
    monkeypatch.setattr(folds, "NEIGHBOURS", 60)
    monkeypatch.setattr(learners, "MOST_CHARTS", 256)


@pytest.fixture(scope="package")
def noise():
    """Bars of eight symbols without a signal."""
    return bars_of(noise_market(3, symbols=8, sessions=420))


@pytest.fixture(scope="package")
def noise_study(tmp_path_factory, noise):
    """The loaded study of these bars, on every third session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "LEAST", 500)
        return study_of(tmp_path_factory.mktemp("study") / "home", noise, every=3)
