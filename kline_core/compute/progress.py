"""How far a run is, counted from the results of its symbols as they grow."""

import threading
from collections.abc import Mapping

from kline_core.compute.run_report import SymbolResult


class SampleCount:
    """Samples so far; may be fed by several threads.

    `expected`: by symbol, at most how many samples it has; that many count until it says how many they are.
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
        """Symbols that have been heard of."""
        return len(self._seen)

    def update(self, result: SymbolResult) -> None:
        """Take in what a symbol has come to, in the place of what it said before."""
        now = result.done, result.failed, result.reused
        with self._lock:
            # A symbol that broke says nothing of how many samples it has.
            if not result.broke:
                self.total += result.samples - self._samples[result.symbol]
                self._samples[result.symbol] = result.samples
            before = self._seen.get(result.symbol, (0, 0, 0))
            self._seen[result.symbol] = now
            self.done, self.failed, self.reused = (
                count + new - old
                for count, new, old in zip((self.done, self.failed, self.reused), now, before, strict=True)
            )
