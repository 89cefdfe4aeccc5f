"""The plan of a market: what was counted, computed, measured and projected, as text and as plain values."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from kline_core._processor import Processor
from kline_core._text import table
from kline_core.planning.extent import Extent
from kline_core.planning.projection import Job, Memory
from kline_core.planning.rates import Rehearsal

GB = 10**9
_JOBS = {
    "index": "all patterns made, from nothing",
    "daily": "a new day: patterns extended, one sample a symbol",
    "first": "the usual samples, none of them stored yet",
    "backfill": "every day of the years",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a market costs on this machine."""

    home: str | None
    """None for a market without a home."""
    extent: Extent
    stride: int
    memory: Memory
    disk: dict[str, int]
    """Bytes of the files of bars, patterns, values of the first run, and values of the backfill."""
    jobs: list[Job]
    rehearsal: Rehearsal
    processor: Processor
    load_average: float
    """Processes that wanted to run in the minute before."""
    cores: int
    within: float | None
    """Seconds that were asked for."""
    may_have: float | None
    """Bytes of memory that were asked for."""

    @property
    def stride_within(self) -> int | None:
        """Smallest `pattern_stride` with which a worker fits into its memory; None if nothing was asked, or none."""
        room = self.memory.patterns_within
        if room is None or room <= 0:
            return None
        return max(self.stride, math.ceil(self.extent.patterns * self.stride / room))

    def text(self) -> str:
        """The plan for a terminal."""
        memory, extent = self.memory, self.extent
        lines = [
            f"counted: {extent.symbols:,} symbols, {extent.bars:,} bars, {extent.patterns:,} patterns; "
            f"{extent.new_patterns:,.0f} patterns more a day",
            f"computed: memory of a {self._worker} {_gb(memory.loaded)}, {_gb(memory.peak)} while it loads, "
            f"of which {_gb(memory.program)} are the program's",
            "computed: disk " + ", ".join(f"{_gb(size)} {name}" for name, size in self.disk.items()),
            *self._vector_lines(),
            *self._memory_lines(),
            "",
            f"projected, with one worker on this machine{'' if memory.shards == 1 else ', which holds all'}:",
            self._table(),
            *self._worker_lines(),
            "",
            f"measured in {self.rehearsal.took:.0f} s by {self.rehearsal.threads} threads on {self.processor}; before, "
            f"{self.load_average:.1f} processes wanted its {self.cores} cores: the seconds hold while it is as busy.",
            "Not in them: the ingest of files, Prefect, and what travels to other machines.",
        ]
        return "\n".join(lines)

    def _table(self) -> str:
        head = ["job", "samples", "windows encoded", "seconds"]
        rows: list[list[object]] = [
            [job.name, f"{job.samples:,}", f"{job.encoded:,}", _seconds(job.seconds)] for job in self.jobs
        ]
        if self.within is not None:
            head.append(f"workers for {self.within:g} s")
            for row, job in zip(rows, self.jobs, strict=True):
                row.append(job.workers(self.within) or "none")
        head.append("what")
        return table(head, [[*row, _JOBS[job.name]] for row, job in zip(rows, self.jobs, strict=True)])

    def _worker_lines(self) -> list[str]:
        if self.within is None:
            return []
        never = [job for job in self.jobs if job.workers(self.within) is None]
        if not never:
            return []
        parts = ", ".join(f"{_seconds(job.fixed)} s of {job.name}" for job in never)
        return [f"none: {parts} cannot be divided, since each worker loads everything and one process stores"]

    def _vector_lines(self) -> list[str]:
        size = self.memory.vectors_on_disk
        return [f"computed: {_gb(size)} of vectors are read from disk, 8 bits of each number are held"] if size else []

    @property
    def _worker(self) -> str:
        shards = self.memory.shards
        return "worker" if shards == 1 else f"worker with one of {shards} shards"

    def _memory_lines(self) -> list[str]:
        room, enough = self.memory.patterns_within, self.memory.shards_within
        if room is None or self.may_have is None:
            return []
        if room >= self.extent.patterns:
            return [f"computed: a {self._worker} fits into {_gb(round(self.may_have))}, with up to {room:,} patterns"]
        no = f"computed: no {self._worker} fits into {_gb(round(self.may_have))}"
        if self.stride_within is None:
            return [f"{no}, even without patterns"]
        others = f"{room:,} patterns would, as with --pattern-stride {self.stride_within}"
        shards = "no number of shards would do"
        if enough is not None:
            shards = f"all would in {enough} shards, each on a worker of its own (--shards {enough})"
        return [f"{no}, since each loads {self._loads}; {others}; {shards}"]

    @property
    def _loads(self) -> str:
        return "all" if self.memory.shards == 1 else "all but the vectors, and its share of these"

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        within = self.within
        return {
            "home": self.home,
            "counted": asdict(self.extent),
            "computed": {
                "memory_bytes": asdict(self.memory),
                "disk_bytes": self.disk,
                "may_have_bytes": self.may_have,
                "pattern_stride_within": self.stride_within,
            },
            "projected": [
                asdict(job)
                | {"seconds": job.seconds}
                | ({} if within is None else {"within": within, "workers": job.workers(within)})
                for job in self.jobs
            ],
            "measured": asdict(self.rehearsal),
            "machine": {
                "processor": str(self.processor),
                "cores": self.cores,
                "load_average": self.load_average,
            },
        }


def _gb(size: int) -> str:
    return f"{size / GB:.2f} GB" if size >= GB / 100 else f"{size / 10**6:.1f} MB"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}"
