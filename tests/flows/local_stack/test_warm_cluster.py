"""What the thread does that has the warm cluster load."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from flows.local_stack import warm_cluster as module
from flows.local_stack.supervision import TRIES
from flows.local_stack.warm_cluster import Loaded, Warming, cluster_parts
from kline_core.compute.program import ProgramError
from kline_core.errors import SchedulerError


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
        monkeypatch.setattr(module, "StateKey", SimpleNamespace(newest=lambda *_: "key"))
        return Warming("tcp://x", SimpleNamespace(version=lambda _: 1))

    return of


def test_workers_of_other_code_are_not_asked_again_and_again(warming):
    thread = warming(SchedulerError("not there yet"), ProgramError("runs other code"))
    thread.run()
    assert thread.loaded == Loaded(0, 0, "runs other code")


def test_a_killing_sample_is_known_before_its_worker_is_given_up(tmp_path):
    scheduler, worker = cluster_parts({"A": "1"}, tmp_path, 8786, 2)
    deaths = int(scheduler._env["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"]) + 1
    # The symbol alone, the sample alone, and once more.
    assert deaths + 3 < TRIES
    assert worker._env == {"A": "1"}
