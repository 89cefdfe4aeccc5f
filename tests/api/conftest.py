"""A home of two real stocks, made through the face as a notebook would."""

import pytest

import kline_core as kl


@pytest.fixture(scope="session")
def stocks():
    bars = kl.load_us_stocks()
    return bars[bars["symbol"].isin(["AAPL", "MSFT"])]


@pytest.fixture(scope="session")
def home(stocks, tmp_path_factory):
    place = kl.Home(tmp_path_factory.mktemp("face") / "home", create=True)
    kl.ingest(place, stocks)
    kl.update_patterns(place)
    kl.compute_factor(place, samples=20, max_failed_share=0.5)
    return place
