"""The cluster inside this process, and what both kinds are opened with."""

import os

import psutil
import pytest

from kline_core.compute import opening as module
from kline_core.compute.opening import checked_threads, open_cluster
from kline_core.errors import SettingError
from tests.support.clusters import both


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5])
def test_threads_out_of_bounds(threads):
    says = f"threads is {threads}; it must be between 1 and 256"
    with pytest.raises(SettingError, match=says), open_cluster(threads=threads):
        pass


def test_threads_by_default(monkeypatch):
    assert 1 <= checked_threads(None) <= 16
    monkeypatch.setattr(module, "CPU_COUNT", 64)
    assert checked_threads(None) == 16
    assert checked_threads(200) == 200


def test_the_cluster_in_this_process(in_process):
    workers = in_process.client.scheduler_info(n_workers=-1)["workers"]
    assert [worker["nthreads"] for worker in workers.values()] == [2] == [in_process.threads]
    assert all(address.startswith("inproc://") for address in workers)
    # A limit would be one on the whole process, and passing it would stop the worker for good.
    assert [worker["memory_limit"] for worker in workers.values()] in ([0], [None])
    assert in_process.client.run(os.getpid) == dict.fromkeys(workers, os.getpid())
    # A program that was stopped for longer would find its only worker gone.
    assert in_process.client.cluster.scheduler.worker_ttl is None


@pytest.mark.usefixtures("in_process")
def test_ports_are_on_the_loopback_interface_only():
    connections = psutil.Process().net_connections("tcp")
    assert {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


@both
def test_messages_are_not_held_back(opened):
    assert opened.client.scheduler_comm.interval == module.MESSAGE_SECONDS


@pytest.mark.parametrize("opened", ["in process"], indirect=True)
def test_beside_the_work_dask_does_little(opened):
    local = opened.client.cluster
    streams = module._streams(local)
    assert len(streams) == 3
    assert {stream.interval for stream in streams} == {module.MESSAGE_SECONDS}
    for server in (local.scheduler, *local.workers.values()):
        often = {name for name, call in server.periodic_callbacks.items() if call.callback_time < 200}
        assert often == set()
