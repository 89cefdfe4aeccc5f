"""What was measured: costs by the unit that they are for."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Line:
    """A cost that grows evenly: `fixed` however little there is, and `each` for every one."""

    fixed: float
    each: float

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> Self:
        """The line through two measurements, (number, cost) each; neither part is below zero."""
        each = max(0.0, (large[1] - small[1]) / max(1.0, large[0] - small[0]))
        return cls(max(0.0, small[1] - each * small[0]), each)

    def at(self, number: float) -> float:
        """The cost of so many."""
        return self.fixed + self.each * number


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was measured: seconds and bytes, by the unit that they are for."""

    threads: int
    """Threads that compute at once."""
    batches: tuple[int, int]
    """Samples of a batch that `scan_daily` and `scan_many` hold for."""
    took: float
    """Seconds of the rehearsal."""
    start: float
    bars: Line
    """Seconds by bars."""
    catalogue: Line
    """Seconds by bars."""
    encode: float
    """Seconds of a window."""
    store: Line
    """Seconds by patterns: outcomes worked out, rows written."""
    compare: Line
    """Seconds by patterns."""
    load: Line
    """Seconds by patterns, index included."""
    run: float
    symbol: float
    """Seconds of a symbol of a run."""
    sample: float
    """Seconds of a sample beside its encoding, the patterns that it may see, and `write`."""
    write: float
    """Seconds of storing a sample's value and matches."""
    scan_daily: float
    """Seconds of a pattern that a sample may see."""
    scan_many: float
    base_bytes: int
    """Memory of the process before anything was loaded but libraries, cluster and encoder."""
    bar_bytes: float
    """Bytes of a bar in memory."""
    pattern_bytes: float
    """Bytes of a pattern in memory, those of the catalogue among them, without its vector and the index's scan."""
    bar_row_bytes: float
    """Bytes of a bar as it is read."""
    pattern_row_bytes: float
    """Bytes of a pattern as it is read, without its vector."""
    vector_bytes: int
    scan_bytes: float
    """Bytes of a pattern in the scan of an index whose vectors are in memory."""
    bars_disk: Line
    """Bytes of the files, by bars; likewise the others."""
    patterns_disk: Line
    values_disk: Line
    """By samples, their matches among them."""
