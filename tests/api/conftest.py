"""A home of two real stocks, made through the face as a notebook would."""

import shutil
from pathlib import Path

import pytest

import kline_core as kl


@pytest.fixture(scope="session")
def stocks():
    bars = kl.load_us_stocks()
    return bars[bars["symbol"].isin(["AAPL", "MSFT"])]


@pytest.fixture(scope="session")
def made(stocks, tmp_path_factory):
    """The folder of a home, to be copied."""
    place = kl.Home(tmp_path_factory.mktemp("face") / "home", create=True)
    kl.ingest(place, stocks)
    kl.update_patterns(place)
    kl.compute_factor(place, samples=20, max_failed_share=0.5)
    return Path(place.uri)


@pytest.fixture(scope="module")
def home(made, tmp_path_factory):
    """The module's own home: its tests store more, which those of another module must not see."""
    return kl.Home(shutil.copytree(made, tmp_path_factory.mktemp("face") / "home"))
