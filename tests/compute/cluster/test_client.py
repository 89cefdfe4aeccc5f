"""A client of a Dask cluster in the place of a scheduler's address: that of a service, with credentials of its own."""

import asyncio

import pytest
from distributed import Client

import kline_core as kl
from kline_core.compute.opening import open_cluster
from kline_core.errors import SettingError
from tests.support.bench import SMALL_SETTINGS
from tests.support.processes import poll


@pytest.fixture
def client(standing):
    with Client(standing, set_as_default=False) as running:
        yield running


def test_values_are_those_of_one_process(bench, client, in_process, tmp_path):
    copies = [bench.copy(tmp_path / name) for name in ("client", "process")]
    asked = {"samples": 5, "settings": SMALL_SETTINGS, "encoder": bench.weights, "device": "cpu", "check": False}
    kl.compute_factor(copies[0].home, scheduler=client, **asked)
    kl.compute_factor(copies[1].home, cluster=in_process, **asked)
    assert copies[0].rows("factors") == copies[1].rows("factors") != []
    assert copies[0].rows("matches") == copies[1].rows("matches")


def test_it_stays_open_and_hears_no_more(client):
    said, marks = [], []

    def heard(topic, word, by):
        """Say it until it is heard: what is subscribed to may take a moment."""
        poll(lambda: client.log_event(topic, [20, word]) or by, word)

    with open_cluster(client, log=lambda _, word: said.append(word)) as cluster:
        topic = cluster.topic
        assert cluster.address == client.scheduler.address
        heard(topic, "early", said)
    client.subscribe_topic("mark", marks.append)
    heard("mark", "now", marks)
    client.log_event(topic, [20, "late"])
    marks.clear()
    heard("mark", "later still", marks)
    assert set(said) == {"early"}
    assert client.submit(int, "1").result() == 1


def test_one_that_is_closed(standing):
    client = Client(standing, set_as_default=False)
    client.close()
    says = "scheduler is a client that is closed; it must be the address of a Dask scheduler, or a running client"
    with pytest.raises(SettingError, match=says), open_cluster(client):
        pass


def test_what_is_no_client(client):
    says = "scheduler is a Cluster; it must be the address .*, such as a Dask cluster's get_client"
    with open_cluster(client) as cluster, pytest.raises(SettingError, match=says), open_cluster(cluster):
        pass


async def _asynchronous(address):
    async with Client(address, asynchronous=True, set_as_default=False) as client:
        with pytest.raises(SettingError, match="scheduler is an asynchronous client; it must be"), open_cluster(client):
            pass


def test_an_asynchronous_one(standing):
    asyncio.run(_asynchronous(standing))
