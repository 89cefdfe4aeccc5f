from dataclasses import dataclass
from itertools import chain

import pytest

from flows.steps.scoring import _batches


@dataclass
class Market:
    """What is asked of a run; a group is worth 2,048 new samples."""

    count: int
    new: int
    """Of each symbol."""

    @property
    def symbols(self):
        return [f"S{number:05d}" for number in range(self.count)]

    @property
    def new_samples(self):
        return self.count * self.new

    parallel = 2

    @property
    def workload(self):
        return self

    def groups(self, symbols, at_most):
        size = max(1, min(at_most, 2048 // self.new))
        return [symbols[start : start + size] for start in range(0, len(symbols), size)]


@pytest.mark.parametrize(
    ("count", "new", "task_runs"),
    [
        (1, 600, 1),
        (50, 1, 50),
        (51, 1, 8),
        (51, 600, 51),
        (1000, 1, 8),
        (1000, 600, 100),
        (5000, 1, 9),
        (5000, 3, 29),
        (5000, 600, 100),
    ],
)
def test_task_runs_are_as_many_as_the_work_is_worth(count, new, task_runs):
    market = Market(count, new)
    batches = _batches(market)
    assert list(chain(*batches)) == market.symbols
    assert len(batches) == task_runs
    assert max(map(len, batches)) <= 2 * min(map(len, batches[:-1]), default=count)
    assert min(map(len, batches)) > 0
