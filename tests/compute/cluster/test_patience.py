"""How long a wait on a cluster goes on, and what ends it."""

import logging

import pytest

from kline_core.compute import patience
from kline_core.compute.patience import ClockWatch, Patience, WorkerPausedError
from kline_core.errors import SchedulerError


def test_paused_workers_are_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(patience, "monotonic", iter([10.0, 309.0, 310.5, 400.0, 701.0]).__next__)
    said = []
    wait = Patience("tcp://x", lambda *record: said.append(record))
    for states in ("paused", "paused"), ("paused", "paused"), ("paused", "running"), ("paused",), ("paused",):
        wait.check(dict(enumerate(states)))
    says = r"^all workers of the cluster at tcp://x have been paused for 300 s for want of memory; .*--memory-limit 0"
    with pytest.raises(SchedulerError, match=says):
        wait.check({"tcp://w": "paused"})
    assert said == [(logging.WARNING, "all workers at tcp://x are paused for want of memory")] * 2


@pytest.mark.parametrize(("seconds", "until"), [(None, 300), (60.0, 60)])
def test_the_only_worker_may_be_paused_only_so_long(monkeypatch, seconds, until):
    monkeypatch.setattr(patience, "monotonic", iter([10.0, 9.0 + until, 400.0, 401.0 + until]).__next__)
    said = []
    wait = Patience("tcp://x", lambda *record: said.append(record))
    for state in ("paused", "paused", "running", "paused"):
        wait.check_one("tcp://w", state, seconds)
    says = rf"^the worker at tcp://w of the cluster at tcp://x has been paused for {until} s .*--memory-limit 0"
    with pytest.raises(WorkerPausedError, match=says):
        wait.check_one("tcp://w", "paused", seconds)
    assert said == [(logging.WARNING, "the worker at tcp://w is paused for want of memory")] * 2


def test_a_wait_ends_where_the_clock_was_set_back(monkeypatch):
    """Dask holds back messages until a time of day, which is then hours away."""
    clock, steady = [1000.0], [0.0]
    monkeypatch.setattr(patience, "time", lambda: clock[0] + steady[0])
    monkeypatch.setattr(patience, "perf_counter", lambda: steady[0])
    said, workers, watch = [], {"tcp://w": "running"}, ClockWatch()
    wait = Patience("tcp://x", lambda *record: said.append(record), watch)

    def later(seconds):
        steady[0] += seconds
        wait.check(workers)

    later(100)
    clock[0] -= 59
    later(100)
    clock[0] -= 3600
    later(1)
    assert said == [(logging.WARNING, "the clock was set back by 3659 s; messages of the cluster at tcp://x may wait")]
    clock[0] += 3600
    later(100)
    clock[0] -= 7200
    later(1)
    later(59)
    with pytest.raises(SchedulerError, match=r"^the clock of this machine was set back by 7259 s while .*run again"):
        later(2)
    # One that begins later knows of it too.
    late = Patience("tcp://x", None, watch)
    late.check(workers)
    steady[0] += 61
    with pytest.raises(SchedulerError, match="set back"):
        late.check(workers)


def test_a_clock_that_was_set_back_is_forgiven_once_dask_has_waited_it_out(monkeypatch):
    clock, steady = [1000.0], [0.0]
    monkeypatch.setattr(patience, "time", lambda: clock[0] + steady[0])
    monkeypatch.setattr(patience, "perf_counter", lambda: steady[0])
    watch = ClockWatch()
    clock[0] -= 300
    Patience("tcp://x", None, watch).check({"tcp://w": "running"})
    steady[0] += 301
    later = Patience("tcp://x", None, watch)
    for _ in range(5):
        later.check({"tcp://w": "running"})
        steady[0] += 100
    assert watch.set_back() == 0
    # And one that was ahead for a time, and is set right again, is set back as well.
    clock[0] += 3600
    assert watch.set_back() == 0
    clock[0] -= 3600
    assert watch.set_back() == 3600
