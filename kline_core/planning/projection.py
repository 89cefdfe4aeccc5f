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

With n shards, each on a worker of its own (`kline_core.factor.shard`), a worker holds vectors of s = P / n patterns:

    memory   = r.base + N r.bar + P r.pattern + s (r.vector + r.scan)
    peak     = r.base + the largest of N (r.bar_row + 2 r.bar)           while bars are read,
               and N r.bar + P (r.pattern + r.pattern_row)               while patterns are, a file at a time,
                   + F r.pattern_row
               and N r.bar + P r.pattern + s r.vector                    and while its vectors are: read, and
                   + the larger of F (r.pattern_row + r.vector)          a file, as they are
                     and s (r.vector + r.scan)                           or copied into the index

What a run itself holds, such as its rows until they are stored, comes on top. Sizes of a home's files are its own where
they are there, else lines of the rehearsal's. What a table keeps of earlier versions is not in them, nor the index
cache. Loading is that from the tables, the cache written: the next process, which maps the cache, needs less.

Linear in v is what the search is by measurement (README, "Speed": 600 samples that may see 1,000,000 and 3,000,000
patterns take 0.32 and 0.86 s). That a run's other parts are linear in n is an assumption: a value is merged into a
table that grows.
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from kline_core._memory import on_disk
from kline_core._setting_types import check, is_whole
from kline_core.compute.workload import GROUP_SAMPLES
from kline_core.patterns.update import COMMIT
from kline_core.planning.extent import Extent, Samples
from kline_core.planning.rates import Rehearsal
from kline_core.search.shards import MAX_SHARDS

_MOST_PATTERNS = 10**15


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

    shards: int
    """Number of shards that vectors lie in, each on a worker of its own; 1 if every worker holds all."""
    program: int
    loaded: int
    peak: int
    """While it loads."""
    vectors_on_disk: int
    """Bytes of vectors that are read from disk; 0 if they are in memory."""
    patterns_within: int | None
    """Patterns up to which the peak is within what it may have, below zero if the bars alone are not; None if nothing
    was said about that."""
    shards_within: int | None
    """Fewest shards with which the peak is within what it may have, if no vectors are read from disk; None if nothing
    was said about that, or no number of shards is enough."""


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


def memory_of(extent: Extent, rates: Rehearsal, may_have: float | None, shards: int = 1) -> Memory:
    """Memory of a worker, in bytes.

    `may_have`: bytes that it may have at its peak. `shards`: number of shards that vectors lie in, each on a worker of
    its own; 1 if every worker holds all.
    """
    bars, program = extent.bars * rates.bar_bytes, rates.base_bytes
    reading = extent.bars * (rates.bar_row_bytes + 2 * rates.bar_bytes)
    limit = None if may_have is None else int(may_have)
    file_row = rates.pattern_row_bytes + rates.vector_bytes
    in_memory = rates.vector_bytes + rates.scan_bytes

    def loaded(patterns: int, number: int, disk: bool) -> float:
        own = rates.vector_bytes / 4 + 2 if disk else in_memory
        return bars + patterns * rates.pattern_bytes + math.ceil(patterns / number) * own

    def peak(patterns: int, number: int, disk: bool) -> float:
        rows, file = patterns * rates.pattern_row_bytes, min(patterns, COMMIT)
        if number == 1:
            return program + max(reading, loaded(patterns, 1, disk) + rows + file * file_row)
        rest, share = bars + patterns * rates.pattern_bytes, math.ceil(patterns / number)
        own = share * rates.vector_bytes + max(file * file_row, share * in_memory)
        return program + max(reading, rest + rows + file * rates.pattern_row_bytes, rest + own)

    def most(may_have: float, disk: bool) -> int:
        return bisect_right(range(_MOST_PATTERNS), may_have, key=lambda count: peak(count, shards, disk)) - 1

    vectors = extent.patterns * rates.vector_bytes
    disk = shards == 1 and on_disk(vectors, limit)
    within = enough = None
    if may_have is not None:
        within = most(may_have, disk=shards == 1)
        if shards == 1 and not on_disk(max(0, within) * rates.vector_bytes, limit):
            within = most(may_have, disk=False)
        # More shards never take more, so that the first that is enough divides the two kinds.
        numbers = range(1, MAX_SHARDS + 1)
        at = bisect_left(numbers, True, key=lambda number: peak(extent.patterns, number, False) <= may_have)
        enough = numbers[at] if at < len(numbers) else None
    return Memory(
        shards=shards,
        program=program,
        loaded=round(program + loaded(extent.patterns, shards, disk)),
        peak=round(peak(extent.patterns, shards, disk)),
        vectors_on_disk=vectors if disk else 0,
        patterns_within=within,
        shards_within=enough,
    )


def check_shards(shards: int) -> None:
    """Raise `SettingError` for a number of shards that there cannot be."""
    ok = is_whole(shards) and 1 <= shards <= MAX_SHARDS
    check(ok, "shards", shards, f"1 to {MAX_SHARDS}")


def batch(samples: Samples, threads: int) -> int:
    """Samples of a batch of a run, as `kline_core.compute.run.run_symbols` cuts it."""
    each = max(1, samples.each)
    at_a_time = max(1, min(samples.symbols, 2 * threads))
    most = max(1, samples.symbols // (2 * at_a_time))
    return each if each >= GROUP_SAMPLES else each * max(1, min(GROUP_SAMPLES // each, most))
