"""Progress of a run, counted from the results of its symbols as they grow."""

import threading
from collections.abc import Mapping

from kline_core.compute.run_report import SymbolResult


class SampleCount:
    """Counts of the samples of a run so far. Thread-safe.

    `expected`: upper bound of each symbol's samples, which counts until its first result tells the number.
    """

    def __init__(self, expected: Mapping[str, int]) -> None:
        self._samples = dict(expected)
        self.total = sum(self._samples.values())
        self.done = self.failed = self.reused = 0
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._lock = threading.Lock()

    @property
    def finished(self) -> int:
        """Samples that are done, failed or re-used."""
        return self.done + self.failed + self.reused

    @property
    def symbols(self) -> int:
        """Symbols with a result."""
        return len(self._seen)

    def update(self, result: SymbolResult) -> None:
        """Replace a symbol's counts by those of its newest result."""
        now = result.done, result.failed, result.reused
        with self._lock:
            # The result of a broken symbol does not tell how many samples it has.
            if not result.broke:
                self.total += result.samples - self._samples[result.symbol]
                self._samples[result.symbol] = result.samples
            before = self._seen.get(result.symbol, (0, 0, 0))
            self._seen[result.symbol] = now
            self.done, self.failed, self.reused = (
                count + new - old
                for count, new, old in zip((self.done, self.failed, self.reused), now, before, strict=True)
            )
