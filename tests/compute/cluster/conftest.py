"""A home that the tests of clusters read, and either kind of cluster."""

import pytest

from kline_core.compute.opening import open_cluster
from tests.support.bench import Bench
from tests.support.homes import market


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("cluster") / "home", market(3, 60), weights=small_weights)


@pytest.fixture
def opened(request):
    """Either kind of cluster."""
    if request.param == "in process":
        yield request.getfixturevalue("in_process")
    else:
        with open_cluster(request.getfixturevalue("standing")) as cluster:
            yield cluster
