"""What a quant would use instead of an encoder, on the same samples and the same history.

* `stumpy.match`: for each sample the five windows whose z-normalised closes are nearest to its own, among all symbols'
  closes joined into one series (a NaN between symbols, so that no window spans two), of each symbol only as much as was
  known on the sample's date with its outcomes.
* FAISS on z-normalised closes: a flat index of 20 numbers a pattern, one query a sample for its five nearest, confined
  to the patterns known on its date. Neither overlaps nor isolation of matches are looked after, which costs it nothing.

Neither of the two looks outcomes up.
"""

import warnings
from time import perf_counter

import faiss
import numpy as np
from numpy.typing import NDArray

from kline_core.typing import Floats32, Floats64
from kline_core.windows.similarity import z_normalise
from tests.benchmarks.measured import Measured
from tests.benchmarks.question import Loaded, Question

MATCHES = 5


class Closes:
    """FAISS on z-normalised closes."""

    def __init__(self, question: Question) -> None:
        self.loaded = question.load()
        patterns = self.loaded.state.patterns
        self.bars = question.key.settings.patterns.window_bars
        vectors = np.empty((len(patterns), self.bars), np.float32)
        for code, symbol in enumerate(patterns.symbols):
            rows = np.flatnonzero(patterns.code == code)
            vectors[rows] = self.vectors(self.loaded.state.frames[symbol].close, patterns.bar[rows])
        self.index = faiss.IndexFlatIP(self.bars)
        self.index.add(vectors)

    def close(self) -> None:
        """Nothing to end."""

    def measure(self, round_: int) -> Measured:  # noqa: ARG002  all samples in every round
        """All samples, from their closes to their five nearest."""
        started = perf_counter()
        queries = self.vectors(self.loaded.bars.close, self.loaded.ends)
        known = self.loaded.state.patterns.n_known(self.loaded.dates)
        for query, count in zip(queries, known.tolist(), strict=True):
            inside = faiss.SearchParameters(sel=faiss.IDSelectorRange(0, count))
            self.index.search(query[None], MATCHES, params=inside)
        return Measured(perf_counter() - started, len(queries))

    def vectors(self, close: Floats64, ends: NDArray[np.integer]) -> Floats32:
        """Z-normalised closes of the windows that end on these bars, each of length 1."""
        windows = close[ends.astype(np.int64)[:, None] + np.arange(1 - self.bars, 1)]
        return z_normalise(windows, windows.min(axis=1, keepdims=True)) / np.float32(np.sqrt(self.bars))


class Stumpy:
    """`stumpy.match`."""

    def __init__(self, question: Question, samples: int) -> None:
        self.loaded, self.samples = question.load(), samples

    def close(self) -> None:
        """Nothing to end."""

    def measure(self, round_: int) -> Measured:
        """Some samples, scaled up."""
        import stumpy

        settings = self.loaded.state.key.settings.patterns
        chosen = self.loaded.some(self.samples, round_)
        started = perf_counter()
        for at in chosen:
            end = int(self.loaded.ends[at]) + 1
            query = self.loaded.bars.close[end - settings.window_bars : end]
            with warnings.catch_warnings():
                # Windows that hold a NaN, which is how the symbols are kept apart.
                warnings.simplefilter("ignore", RuntimeWarning)
                history = known_closes(self.loaded, self.loaded.dates[at])
                # It refuses a history that is shorter than a window.
                if len(history) > settings.window_bars:
                    stumpy.match(query, history, max_matches=MATCHES)
        return Measured.scaled(perf_counter() - started, {}, len(chosen), len(self.loaded.dates))


def known_closes(loaded: Loaded, date: np.datetime64) -> Floats64:
    """All symbols' closes up to the last window whose outcomes are known on a date, a NaN after each symbol."""
    outcome_bars = loaded.state.key.settings.patterns.outcome_bars
    parts: list[Floats64] = []
    for bars in loaded.state.frames.values():
        count = int(np.searchsorted(bars.dates, date, side="right")) - outcome_bars
        if count > 0:
            parts += [bars.close[:count], np.array([np.nan])]
    return np.concatenate(parts) if parts else np.full(1, np.nan)
