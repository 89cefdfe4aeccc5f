"""What the thread does that has the warm cluster load."""

from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client

from flows.local_stack import warm_cluster as module
from flows.local_stack.certificates import made
from flows.local_stack.server import Place
from flows.local_stack.supervision import TRIES
from flows.local_stack.warm_cluster import Loaded, Warming, cluster_address, cluster_parts, measured_seldom
from kline_core.compute.program import ProgramError
from kline_core.errors import SchedulerError
from tests.support.processes import scheduler_process


@pytest.fixture
def warming(monkeypatch):
    """A warming of a home with patterns, whose cluster raises one error after the other."""

    def of(*errors):
        left = list(errors)

        @contextmanager
        def opened(_):
            raise left.pop(0)
            yield

        monkeypatch.setattr(module, "open_cluster", opened)
        monkeypatch.setattr(module, "StateKey", SimpleNamespace(newest=lambda *_: SimpleNamespace(patterns_version=1)))
        return Warming("tcp://x", SimpleNamespace(version=lambda _: 1))

    return of


def test_workers_of_other_code_are_not_asked_again_and_again(warming):
    thread = warming(SchedulerError("not there yet"), ProgramError("runs other code"))
    thread.run()
    assert thread.loaded == Loaded(0, 0, "runs other code")


def test_a_killing_sample_is_known_before_its_worker_is_given_up(tmp_path):
    scheduler, worker = cluster_parts({"A": "1"}, tmp_path, "tcp://127.0.0.1:8786", 2)
    deaths = int(scheduler._env["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"]) + 1
    # The symbol alone, the sample alone, and once more.
    assert deaths + 3 < TRIES
    assert worker._env == measured_seldom() | {"A": "1"}


def test_what_the_user_has_set_of_dasks_measuring_counts(tmp_path, monkeypatch):
    name = "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL"
    assert measured_seldom()[name] == "500ms"
    monkeypatch.setenv(name, "1s")
    assert name not in measured_seldom()
    for part in cluster_parts({name: "1s"}, tmp_path, "tcp://127.0.0.1:8786", 2):
        assert part._env[name] == "1s"
        assert part._env["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] == "False"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_only_what_asks_for_certificates_leaves_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, tls: bool
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(module, "Part", lambda _name, command, *_others: commands.append(command))
    address = cluster_address(Place(4999, host, made(tmp_path / "tls", host) if tls else None))
    assert address.startswith(f"{'tls' if tls else 'tcp'}://{host}:")
    cluster_parts({}, tmp_path, address, 2)
    for command in commands:
        options = dict(pairwise(command))
        # By name: Dask's configuration may say otherwise.
        assert options["--protocol"] == address.partition(":")[0]
        assert options["--host"] == host
        assert options["--dashboard-address"] == "127.0.0.1:0"
    assert address in commands[1]
    assert address.rpartition(":")[2] in commands[0]


@pytest.mark.cluster
def test_a_scheduler_does_not_keep_what_it_sent(tmp_path):
    def kept(dask_scheduler):
        return [len(stream.recent_message_log) for stream in dask_scheduler.stream_comms.values()]

    with scheduler_process(tmp_path, **measured_seldom()) as (address, _), Client(address) as client:
        for number in range(30):
            client.submit(abs, number, pure=False).result()
        (messages,) = client.run_on_scheduler(kept)
    assert 0 < messages <= 10
