"""What workers say reaches the client that asked, and no other."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from distributed import Client

from kline_core.compute.opening import open_cluster
from tests.support.bench import break_batches
from tests.support.clusters import planned
from tests.support.processes import poll


@pytest.mark.parametrize("kind", ["in process", "standing"])
def test_what_workers_say_reaches_the_client(standing, bench, tmp_path, monkeypatch, caplog, kind):
    said = []
    fresh = bench.copy(tmp_path / "fresh")
    with open_cluster(standing if kind == "standing" else None, 2, lambda *record: said.append(record)) as cluster:
        cluster.load(fresh.key)
        # It is there before the answer is.
        ((level, message),) = said
        assert level == logging.INFO
        assert message.startswith(
            f"loaded 3 symbols, {bench.home.read('patterns').num_rows} patterns of {fresh.home.uri}"
        )
        dates = planned(cluster, fresh.key, "S00001", 6)
        break_batches(monkeypatch, dates, ValueError("it broke"))
        fresh.start(cluster, dates={"S00001": dates}).score(["S00001"], 2)
        assert [level for level, _ in said[1:]] == [logging.WARNING] * 2
        assert all("S00001: a chunk of 3 samples" in message for _, message in said[1:])
    assert not [record for record in caplog.records if record.name.startswith("kline_core")]


@pytest.mark.long
def test_nobody_hears_what_is_said_to_others(standing, elsewhere, bench, tmp_path):
    for address in (standing, elsewhere):
        homes = [bench.copy(tmp_path / f"{address[-5:]}-{name}") for name in "abc"]
        heard = [[] for _ in homes]
        with (
            open_cluster(address, log=lambda _, message, to=heard[0]: to.append(message)) as first,
            open_cluster(address, log=lambda _, message, to=heard[1]: to.append(message)) as second,
            open_cluster(address) as third,
            ThreadPoolExecutor(3) as pool,
        ):
            clusters = (first, second, third)
            list(pool.map(lambda cluster, home: cluster.load(home.key), clusters, homes))
        assert [len(each) for each in heard] == [1, 1, 0]
        assert all(f"patterns of {home.home.uri}:" in each[0] for home, each in zip(homes, heard[:2], strict=False))


@pytest.mark.parametrize("address", [None, "standing"])
def test_a_client_that_listened_leaves_quietly(standing, bench, tmp_path, caplog, address):
    """Under its own id the scheduler would tell it that it has left, and complain that it cannot."""
    with open_cluster(address and standing, 1, lambda *_: None) as cluster:
        cluster.load(bench.copy(tmp_path / "fresh").key)
    with Client(standing, set_as_default=False) as watching:
        poll(lambda: clients(watching) == 1, "leaving of the client")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def clients(client):
    return client.run_on_scheduler(
        lambda dask_scheduler: sum(name != "fire-and-forget" for name in dask_scheduler.clients)
    )
