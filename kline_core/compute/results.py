"""The results of a run's symbols as they come, and who is told of them."""

import threading
from collections.abc import Callable, Iterable
from datetime import date

from kline_core._logging import one_line
from kline_core.compute.run_report import SymbolResult
from kline_core.factor.batch import BROKE
from kline_core.factor.stored_values import Stored
from kline_core.store.schemas import FAILED
from kline_core.typing import Dates

COMPUTED = ("date", "status", "reason", "many_rank", "many_reason")
"""Columns of `Computed`."""
Computed = tuple[date, str, str | None, float | None, str | None]
"""A computed sample: date, status and reason, and a second value, or why there is none; both None without one."""

Progress = Callable[[SymbolResult], None]
"""Called after every chunk with the counts of its symbol so far; from several threads, one at a time.

If it raises, it is not called again, and `Run.finish` raises the same error after storing everything.
"""


class Results:
    """The results of the symbols that were scored, or broke. Thread-safe."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.progress_error: Exception | None = None
        """What `progress` raised."""
        self._lock = threading.Lock()
        # Keyed by symbol, so that scoring a symbol again replaces its result.
        self._by_symbol: dict[str, SymbolResult] = {}

    def get(self, symbol: str) -> SymbolResult | None:
        """Result of a symbol; None if there is none yet."""
        return self._by_symbol.get(symbol)

    def all(self) -> list[SymbolResult]:
        """Results of all symbols, in the order in which they came."""
        return list(self._by_symbol.values())

    def add(self, results: Iterable[SymbolResult]) -> None:
        """Take results, in the place of those that these symbols have."""
        with self._lock:
            self._by_symbol.update({result.symbol: result for result in results})

    def mark_broken(self, symbol: str, error: Exception) -> SymbolResult:
        """Take a symbol as broken by `error`, and tell."""
        result = SymbolResult(symbol, problem=one_line(error), broke=True)
        self.add([result])
        self.tell(result)
        return result

    def tell(self, result: SymbolResult) -> None:
        """Call `progress` with a result, which may be one that still grows."""
        with self._lock:
            if self.progress is None or self.progress_error is not None:
                return
            try:
                self.progress(result)
            except Exception as error:  # noqa: BLE001  it is the caller's, and `Run.finish` hands it back
                self.progress_error = error


def count_samples(
    result: SymbolResult, dates: Dates, stored: Stored, computed: Iterable[Computed], reused: Dates
) -> None:
    """Add computed and re-used samples to the result of a symbol; `dates` are its samples.

    A date of an earlier run whose computation broke is one sample more: it has lost its value, which must show.
    """
    asked = set(dates.tolist())
    for day, status, reason, rank, why_none in computed:
        if day not in asked:
            if status != FAILED or not str(reason).startswith(BROKE):
                result.refreshed += 1
                continue
            result.samples += 1
        if status == FAILED:
            result.failed += 1
            result.reasons[str(reason)] += 1
        else:
            result.done += 1
        result.many += rank is not None
        if why_none is not None:
            result.many_reasons[why_none] += 1
    # Of a day's run it holds those of the day before, which are no samples.
    holding = reused[[day in asked for day in reused.tolist()]]
    if len(holding) == 0:
        return
    without = stored.reasons_on(holding)
    result.failed += len(without)
    result.reused += len(holding) - len(without)
    result.reasons.update(without)
    second, why_not = stored.many_on(holding)
    result.many += second
    result.many_reasons.update(why_not)
