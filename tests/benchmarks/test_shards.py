"""The simulation of workers with shards: what it adds up, and that it looks at the values."""

from dataclasses import replace

import pytest

from tests.benchmarks.shards import Parts, batches_of, measured, report, rounds_of, same
from tests.support.bench import Bench
from tests.support.homes import market


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("simulated") / "home", market(3, 60), weights=small_weights)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_parts_of_every_number_of_shards_and_the_same_values(bench):
    key = bench.key
    batches = batches_of(key, 2, 20)
    found = rounds_of(key, batches, [1, 3], 2)
    assert {number: len(parts) for number, parts in found.items()} == {1: 2, 3: 2}
    (whole, *_), (divided, *_) = found.values()
    assert (whole.shards, whole.client, whole.travelled) == ([0.0], 0.0, 0)
    assert len(divided.shards) == 3
    assert divided.travelled > 0
    assert divided.seconds == divided.own / 3 + max(divided.shards) + divided.client
    assert report(found, sum(map(len, batches))).count("\n") == 3
    other = measured(key, [replace(batch, parts=batch.parts[:1]) for batch in batches_of(key, 2, 10)[:1]], 1)
    assert not same(whole.values[:1], other.values)


def test_the_slowest_worker_counts_and_the_client_after_it():
    parts = Parts([1.0, 3.0, 2.0, 0.5], own=4.0, client=0.25)
    assert parts.worker == 4.0
    assert parts.seconds == 4.25
    line = report({1: [Parts([0.0], own=8.5)], 4: [parts]}, 100).splitlines()[-1]
    assert line.split() == ["4", "1.000", "3.000", "0.250", "4.250", "2.000", "10.750", "0.000"]
