import gc

import pytest
from distributed import LocalCluster
from hypothesis import settings

from kline_core import _cache
from kline_core.compute import encoding
from kline_core.compute.opening import open_cluster
from kline_core.factor import index_cache
from kline_core.patterns import update
from kline_core.search import shards
from tests.support.homes import write_encoder
from tests.support.processes import scheduler_process

# A machine that is busy with something else makes an example late, and says nothing of the code.
settings.register_profile("kline", deadline=None, max_examples=50)
# What must pass before a change lands, each time with other examples.
settings.register_profile("gate", deadline=None, max_examples=20)
# What runs beside the gate, by `--hypothesis-profile thorough`, draws far more.
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("kline")

MARKS_OF_FIXTURES = {
    "server": ["flows", "slow"],
    "standing": ["cluster", "slow"],
    "elsewhere": ["cluster", "slow"],
    "browser": ["browser", "slow"],
}
"""Marks by the fixtures that a test uses; one that starts such things without a fixture carries its marks itself."""


# First, since pytest's own hook deselects by the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        for fixture in MARKS_OF_FIXTURES.keys() & set(getattr(item, "fixturenames", ())):
            for mark in MARKS_OF_FIXTURES[fixture]:
                item.add_marker(mark)
        if item.get_closest_marker("long"):
            item.add_marker("slow")
        # Coverage is that of the fast half: what the others reach beside, costs a quarter of their time to follow.
        searches = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        if searches or item.get_closest_marker("slow"):
            item.add_marker("no_cover")


def pytest_collection_finish():
    # What was imported stays; looking through it for garbage again and again takes a tenth of the tests' time.
    gc.collect()
    gc.freeze()


# Clusters inside this process last no longer than a module: their heartbeats draw from the `random` module, and
# hypothesis takes that for a test that is not repeatable.
@pytest.fixture(scope="module")
def in_process():
    """The cluster that a run starts where no scheduler is named."""
    with open_cluster(threads=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def standing():
    """Address of a threaded cluster that stands behind TCP, in this process so that patches reach its workers."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as local:
        yield local.scheduler_address


# Not for the session: its heartbeats cost a twentieth of a core.
@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Address of a scheduler with a worker, each a process of its own."""
    with scheduler_process(tmp_path_factory.mktemp("dask")) as (address, _):
        yield address


@pytest.fixture
def nothing_loaded(monkeypatch):
    """A process that holds no bars, patterns, encoders or states yet."""
    monkeypatch.setattr(_cache, "_caches", {})


@pytest.fixture
def small_homes_cached(monkeypatch):
    """Homes of any size have an index cache."""
    for module in (encoding, index_cache, update):
        monkeypatch.setattr(module, "LEAST_CACHED", 1)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of shards in this process are so small that small homes have many."""
    for module in (index_cache, shards):
        monkeypatch.setattr(module, "BLOCK", 4)


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """An untrained encoder of windows of five bars."""
    return write_encoder(tmp_path_factory.mktemp("weights") / "small.safetensors")
