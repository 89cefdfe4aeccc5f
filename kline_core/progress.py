"""How far a run is, counted from the results of its symbols as they grow."""

import threading

from kline_core.run_report import SymbolResult


class SampleCount:
    """Samples so far; may be fed by several threads.

    `expected` samples are taken for granted of each symbol until it says how many it has.
    """

    def __init__(self, symbols: int, expected: int) -> None:
        self.expected = expected
        self.total = symbols * expected
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
            if result.symbol not in self._seen:
                self.total += result.samples - self.expected
            before = self._seen.get(result.symbol, (0, 0, 0))
            self._seen[result.symbol] = now
            self.done, self.failed, self.reused = (
                count + new - old
                for count, new, old in zip((self.done, self.failed, self.reused), now, before, strict=True)
            )
