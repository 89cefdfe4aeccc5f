"""A home for every test of runs, and stored values that no longer hold."""

import numpy as np
import pytest

from kline_core.factor import checked_samples
from tests.support.bench import Bench
from tests.support.runs import FRAME


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("run") / "home", FRAME, weights=small_weights)


@pytest.fixture
def bench(made, tmp_path):
    return made.copy(tmp_path / "home")


@pytest.fixture
def forgetful(monkeypatch):
    """Every stored value is out of date."""
    return lambda: monkeypatch.setattr(
        checked_samples, "sample_history", lambda codes, *_: np.full(len(codes), 7, np.uint64)
    )
