"""The projection: what an extent costs by a rehearsal's measurements.

Every constant is measured or counted; these formulas are all that is assumed. N are the bars, P the patterns, D those
that a day adds. Of the samples of a job, S symbols have n, of which e have to be encoded, and all of which together may
see v patterns (`kline_core.planning.extent`). Small letters with a dot are what `Rehearsal` measured, f(x) is a `Line`.

    run      = r.run + S r.symbol + n (r.sample + r.write) + e r.encode + v r.scan
    load     = r.bars(N) + r.catalogue(N) + r.load(P)

    index    = r.start + r.bars(N) + r.catalogue(N) + r.store(P) + P r.encode
    daily    = r.start + load + r.compare(P) + r.store(D) + D r.encode + run of the newest windows
    first    = r.start + load + run of the usual samples, none of them stored
    backfill = r.start + load + run of all windows of the years

`daily` is one process that brings the patterns up to date and scores, as the flow does. w workers, each on a machine
like this one, divide what they compute: index's P r.encode, and of a run everything but r.run and n r.write, since one
process stores all values. Each of them loads everything, at the same time. So a job takes fixed + divided / w.

    index    = r.vector + r.scan                                         a pattern's vector in memory, or
               r.vector / 4 + 2                                          on disk (`kline_core._memory`): 8 bits for 32
    memory   = r.base + N r.bar + P (r.pattern + index)                  once it is loaded
    peak     = r.base + the larger of N (r.bar_row + 2 r.bar)            while bars are read: rows, their columns, and a
                                                                         copy in order
               and N r.bar + P (r.pattern + index + r.pattern_row)       while patterns are: their rows without vectors,
                   + F (r.pattern_row + r.vector)                        and the F rows of one file as they are

What a run itself holds, such as its rows until they are stored, comes on top. Sizes of a home's files are its own where
they are there, else lines of the rehearsal's. What a table keeps of earlier versions is not in them, nor the index
cache. Loading is that from the tables, the cache written: the next process, which maps the cache, needs less.

Linear in v is what the search is by measurement (README, "Speed": 600 samples that may see 1,000,000 and 3,000,000
patterns take 0.32 and 0.86 s). That a run's other parts are linear in n is an assumption: a value is merged into a
table that grows.
"""

import math
from dataclasses import dataclass

from kline_core._memory import on_disk
from kline_core.compute.workload import GROUP_SAMPLES
from kline_core.patterns.update import COMMIT
from kline_core.planning.extent import Extent, Samples
from kline_core.planning.rates import Rehearsal


@dataclass(frozen=True, slots=True)
class Job:
    """Seconds of one job."""

    name: str
    samples: int
    encoded: int
    """Windows to be drawn and encoded."""
    fixed: float
    """Seconds, however many workers there are."""
    divided: float
    """Seconds of one worker that several divide among them."""

    @property
    def seconds(self) -> float:
        """Seconds with one worker."""
        return self.fixed + self.divided

    def workers(self, within: float) -> int | None:
        """Fewest workers that are done within some seconds; None if no number of them is."""
        if self.seconds <= within:
            return 1
        return math.ceil(self.divided / (within - self.fixed)) if within > self.fixed else None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one worker."""

    program: int
    loaded: int
    peak: int
    """While it loads."""
    vectors_on_disk: int
    """Bytes of vectors that are read from disk; 0 if they are in memory."""
    patterns_within: int | None
    """Patterns up to which the peak is within what it may have, below zero if the bars alone are not; None if nothing
    was said about that."""


def jobs(extent: Extent, rates: Rehearsal) -> list[Job]:
    """The four jobs of the text above."""
    reading = rates.start + rates.bars.at(extent.bars) + rates.catalogue.at(extent.bars)
    loading = reading + rates.load.at(extent.patterns)
    new = extent.new_patterns
    extending = rates.compare.at(extent.patterns) + rates.store.at(new) + new * rates.encode
    return [
        Job("index", 0, extent.patterns, reading + rates.store.at(extent.patterns), extent.patterns * rates.encode),
        _run("daily", extent.daily, rates, loading + extending, rates.scan_daily, new),
        _run("first", extent.first, rates, loading, rates.scan_many),
        _run("backfill", extent.backfill, rates, loading, rates.scan_many),
    ]


def _run(name: str, of: Samples, rates: Rehearsal, before: float, scan: float, new: float = 0.0) -> Job:
    divided = of.symbols * rates.symbol + of.samples * rates.sample + of.encoded * rates.encode + of.seen * scan
    fixed = before + rates.run + of.samples * rates.write
    return Job(name, of.samples, round(of.encoded + new), fixed, divided)


def memory_of(extent: Extent, rates: Rehearsal, may_have: float | None) -> Memory:
    """Memory of a worker, in bytes; `may_have`: bytes that it may have at its peak."""
    bars, program = extent.bars * rates.bar_bytes, rates.base_bytes
    reading = extent.bars * (rates.bar_row_bytes + 2 * rates.bar_bytes)
    limit = None if may_have is None else int(may_have)
    file_row = rates.pattern_row_bytes + rates.vector_bytes

    def each(disk: bool) -> float:
        return rates.pattern_bytes + (rates.vector_bytes / 4 + 2 if disk else rates.vector_bytes + rates.scan_bytes)

    def peak(patterns: int, disk: bool) -> float:
        read = patterns * rates.pattern_row_bytes + min(patterns, COMMIT) * file_row
        return program + max(reading, bars + patterns * each(disk) + read)

    def most(may_have: float, disk: bool) -> int:
        if peak(0, disk) > may_have:
            return -1
        room, step = may_have - program - bars, each(disk) + rates.pattern_row_bytes
        return int(max(min(COMMIT, room / (step + file_row)), (room - COMMIT * file_row) / step))

    vectors = extent.patterns * rates.vector_bytes
    disk = on_disk(vectors, limit)
    within = None
    if may_have is not None:
        within = most(may_have, disk=True)
        if not on_disk(max(0, within) * rates.vector_bytes, limit):
            within = most(may_have, disk=False)
    return Memory(
        program=program,
        loaded=round(program + bars + extent.patterns * each(disk)),
        peak=round(peak(extent.patterns, disk)),
        vectors_on_disk=vectors if disk else 0,
        patterns_within=within,
    )


def batch(samples: Samples, threads: int) -> int:
    """Samples of a batch of a run, as `kline_core.compute.run.run_symbols` cuts it."""
    each = max(1, samples.each)
    at_a_time = max(1, min(samples.symbols, 2 * threads))
    most = max(1, samples.symbols // (2 * at_a_time))
    return each if each >= GROUP_SAMPLES else each * max(1, min(GROUP_SAMPLES // each, most))
