"""The formulas, with round numbers in the place of measured ones."""

from dataclasses import replace

import pytest

from kline_core._memory import VECTORS
from kline_core.patterns.update import COMMIT
from kline_core.planning.extent import Extent, Samples
from kline_core.planning.projection import Job, batch, jobs, memory_of
from kline_core.planning.rates import Line, Rehearsal

NOTHING = Line(0.0, 0.0)
RATES = Rehearsal(
    threads=2,
    batches=(10, 600),
    took=8.0,
    start=3.0,
    bars=Line(0.1, 1e-3),
    catalogue=NOTHING,
    encode=0.01,
    store=Line(0.2, 1e-4),
    compare=Line(0.0, 1e-5),
    load=Line(0.0, 1e-4),
    run=0.5,
    symbol=0.1,
    sample=0.001,
    write=0.002,
    scan_daily=2e-6,
    scan_many=1e-6,
    base_bytes=400_000,
    bar_bytes=65.0,
    pattern_bytes=100.0,
    bar_row_bytes=64.0,
    pattern_row_bytes=50.0,
    vector_bytes=256,
    scan_bytes=44.0,
    bars_disk=NOTHING,
    patterns_disk=NOTHING,
    values_disk=NOTHING,
)
EXTENT = Extent(
    symbols=10,
    bars=10_000,
    patterns=9_000,
    days=1_400,
    new_patterns=10.0,
    daily=Samples(10, 10, 10.0, 90_000.0),
    first=Samples(10, 6_000, 100.0, 27e6),
    backfill=Samples(10, 2_500, 200.0, 20e6),
)


def test_a_job_is_what_is_fixed_and_what_workers_divide():
    index, daily, first, _ = jobs(EXTENT, RATES)
    assert (index.fixed, index.divided) == pytest.approx((3 + 10.1 + 0.2 + 0.9, 90.0))
    assert daily.fixed == pytest.approx(3 + 10.1 + 0.9 + 0.09 + 0.201 + 0.1 + 0.5 + 0.02)
    assert daily.divided == pytest.approx(1.0 + 0.01 + 0.1 + 0.18)
    assert (daily.samples, daily.encoded) == (10, 20)
    assert first.fixed == pytest.approx(3 + 10.1 + 0.9 + 0.5 + 12)
    assert first.divided == pytest.approx(1 + 6 + 1 + 27)


def test_workers_are_as_many_as_it_takes_and_none_where_none_are_enough():
    job = Job("first", 1, 1, fixed=10.0, divided=90.0)
    assert [job.workers(seconds) for seconds in (100.0, 99.0, 40.0, 11.0, 10.0, 5.0)] == [1, 2, 3, 90, None, None]


def test_memory_is_that_of_the_arrays_and_while_it_loads_of_the_rows():
    memory = memory_of(EXTENT, RATES, None)
    assert memory.loaded == 400_000 + 650_000 + 3_600_000
    # The rows without vectors, and those of one file as they are.
    assert memory.peak == 400_000 + 650_000 + 9_000 * (400 + 50 + 306)
    assert memory.vectors_on_disk == 0
    assert memory.patterns_within is None


def test_vectors_on_disk_take_a_quarter_and_two_bytes(monkeypatch):
    monkeypatch.setenv(VECTORS, "disk")
    memory = memory_of(EXTENT, RATES, None)
    assert memory.loaded == 400_000 + 650_000 + 9_000 * (100 + 64 + 2)
    assert memory.vectors_on_disk == 9_000 * 256


def test_what_fits_into_a_memory_fills_it(monkeypatch):
    # Their vectors would take more than an eighth of it.
    room = memory_of(EXTENT, RATES, 6e6).patterns_within
    assert room is not None
    each = 100 + 66 + 50 + 306
    assert 400_000 + 650_000 + room * each <= 6e6 < 400_000 + 650_000 + (room + 1) * each
    monkeypatch.setenv(VECTORS, "memory")
    fewer = memory_of(EXTENT, RATES, 6e6).patterns_within
    assert fewer is not None
    assert 400_000 + 650_000 + fewer * 756 <= 6e6 < 400_000 + 650_000 + (fewer + 1) * 756
    assert memory_of(EXTENT, RATES, 2e6).patterns_within == -1, "the bars alone take more while they are read"


def test_a_worker_with_a_shard_holds_its_share_of_the_vectors():
    memory = memory_of(EXTENT, RATES, None, shards=4)
    assert memory.loaded == 400_000 + 650_000 + 9_000 * 100 + 2_250 * 300
    # Files of 9,000 vectors are read while it has its own, which are then copied into the index.
    assert memory.peak == 400_000 + 650_000 + 9_000 * 100 + 2_250 * 256 + 9_000 * 306
    assert (memory.shards, memory.vectors_on_disk, memory.shards_within) == (4, 0, None)
    # Of many files, each has a part only.
    large = replace(EXTENT, patterns=COMMIT * 100)
    count, share = large.patterns, large.patterns // 4
    assert memory_of(large, RATES, None, shards=4).peak == 400_000 + 650_000 + count * 100 + share * (256 + 300)
    many = memory_of(large, RATES, None, shards=1000).peak
    assert many == 400_000 + 650_000 + count * 150 + COMMIT * 50


def test_the_fewest_shards_that_fit_are_enough_and_one_less_is_not():
    large = replace(EXTENT, patterns=COMMIT * 100)
    room = memory_of(large, RATES, None, shards=7).peak
    for asked in (1, 3, 7):
        assert memory_of(large, RATES, room, shards=asked).shards_within == 7
    assert memory_of(large, RATES, room, shards=7).patterns_within == large.patterns
    assert memory_of(large, RATES, room - 1, shards=7).shards_within == 8
    assert memory_of(large, RATES, room - 1, shards=7).patterns_within < large.patterns
    # What every worker holds whole stays.
    assert memory_of(large, RATES, 400_000 + 650_000 + large.patterns * 100.0, shards=7).shards_within is None
    assert memory_of(EXTENT, RATES, 1e9).shards_within == 1


@pytest.mark.parametrize(
    ("samples", "threads", "wanted"),
    [
        (Samples(10, 6_000, 0, 0), 2, 600),
        (Samples(5_000, 5_000, 0, 0), 2, 625),
        (Samples(300, 300, 0, 0), 2, 37),
        (Samples(3, 3, 0, 0), 2, 1),
        (Samples(0, 0, 0, 0), 2, 1),
        (Samples(1_000, 60_000, 0, 0), 2, 2_040),
    ],
)
def test_batches_are_those_of_a_run(samples, threads, wanted):
    assert batch(samples, threads) == wanted


def test_a_line_goes_through_two_measurements_and_not_below_zero():
    assert Line.through((10, 2.0), (110, 3.0)) == Line(pytest.approx(1.9), pytest.approx(0.01))
    assert Line.through((10, 2.0), (110, 1.0)) == Line(2.0, 0.0)
    assert Line.through((100, 1.0), (300, 9.0)).fixed == 0.0
