"""A run: factor values for many symbols, computed on a cluster and stored as they come.

1. Name the state of the home that is to be read (`StateKey`), and have the workers load it.
2. For every symbol choose the sample dates, and cut them into chunks, as many as the cluster has cores to compute with.
   Symbols with little to compute share a piece of work.
3. Workers compute what is not stored, or was stored from other bars or patterns than there are now; that includes the
   symbol's dates of earlier runs, so that nothing outdated stays. They return rows and write nothing.
4. One writer, here, stores the rows of several symbols in one commit each of `matches` and `factors`, in this order, so
   that a stored value has its matches. What was stored stays, whatever happens afterwards.
5. Where more than `max_failed_share` of the samples failed, the run fails, with the count of each reason.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from time import perf_counter
from uuid import uuid4

import numpy as np
import pyarrow as pa

from kline_core.compute.cluster import Cluster
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.compute.tasks import Overview
from kline_core.dates import as_days
from kline_core.errors import KlineError, SchedulerError, SettingError, UnknownSymbolError
from kline_core.factor.state_key import StateKey
from kline_core.factor.stored_values import Stored, StoredValues, ValueWriter
from kline_core.store.home import Home
from kline_core.store.schemas import FAILED
from kline_core.typing import Dates, Int64s


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a run."""

    symbols: Sequence[str] | None = None
    """None: every symbol with bars."""
    samples: int = 600
    as_of: np.datetime64 | None = None
    """Newest date that may be a sample."""
    dates: Mapping[str, Dates] | None = None
    """Sample dates by symbol, datetime64[D], in the place of `samples` and `as_of`."""
    max_failed_share: float = 0.2

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise SettingError(f"samples is {self.samples}; it must be at least 1")
        if not 0 <= self.max_failed_share <= 1:
            raise SettingError(f"max_failed_share is {self.max_failed_share}; it must be between 0 and 1")
        for symbol, dates in (self.dates or {}).items():
            as_days(dates, f"dates of {symbol}")


GROUP_SAMPLES = 512
"""New samples that are worth a piece of work: their search makes full use of matrix products."""
GROUP_DATES = 10_000
"""Sample dates of a group, new or stored. Where what is stored no longer holds, all of them are computed."""
_Computed = tuple[date, str, str | None]
"""Date, status and reason of a sample that was computed."""

Progress = Callable[[SymbolResult], None]
"""Called after every chunk with the counts of its symbol so far; from several threads, one at a time.

Where it raises, it is not called again, and `Run.finish` raises the same after it has stored everything.
"""


class Run:
    """A run in progress: `score` may be called for its symbols from several threads, `finish` once at the end."""

    def __init__(
        self, home: Home, cluster: Cluster, key: StateKey, request: Request, progress: Progress | None = None
    ) -> None:
        """Have the workers load the state and check the request against it.

        Raises `UnknownSymbolError`, `DateError` and what loading raises.
        """
        self._started = perf_counter()
        self.home, self.cluster, self.key, self.request = home, cluster, key, request
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
        self.overview: Overview = cluster.load(key, None if request.dates is not None else request.as_of)
        self._load_seconds = perf_counter() - self._started
        self.symbols = self._check_symbols()
        self.expected = self._expected()
        """By symbol, at most how many samples it has; fewer where holes in its bars leave fewer windows."""
        self._stored = StoredValues(home, self.symbols, key.fingerprint)
        self.writer = ValueWriter(home, key, self.run_id)
        self.progress = progress
        self._progress_error: Exception | None = None
        self._lock = threading.Lock()
        # By symbol, so that a symbol that is scored again takes its own place.
        self._results: dict[str, SymbolResult] = {}

    def score(self, symbol: str, chunks: int = 1) -> SymbolResult:
        """Compute one symbol and hand its rows to the writer. May be called again for a symbol that broke."""
        result = SymbolResult(symbol)
        if self.request.dates is not None:
            dates = np.unique(self.request.dates[symbol])
        else:
            dates = self.cluster.plan(self.key, symbol, self.request.samples, self.request.as_of)
        stored, every, history = self._asked(result, dates)
        factors, matches = [], []
        for scored in self.cluster.score(self.key, symbol, every, history, chunks):
            factors.append(scored.factors)
            matches.append(scored.matches)
            computed = (scored.factors[name].to_pylist() for name in ("date", "status", "reason"))
            _count(result, dates, stored, list(zip(*computed, strict=True)), scored.reused)
            result.seconds.update(scored.seconds)
            self._report(result)
        if len(dates) == 0:
            self._report(result)
        if factors:
            self.writer.add([symbol], pa.concat_tables(factors), pa.concat_tables(matches))
        with self._lock:
            self._results[symbol] = result
        return result

    def groups(self, symbols: Sequence[str], at_most: int) -> list[list[str]]:
        """Symbols in the same order, cut into groups for `score_together`: alone where there is enough to compute.

        As much as `GROUP_SAMPLES` new samples make a group, and no more than `at_most` symbols.
        """
        groups: list[list[str]] = [[]]
        new = asked = 0
        for symbol in symbols:
            symbol_new = self._new_samples(symbol)
            symbol_asked = max(self.expected[symbol], self._stored.count(symbol))
            new, asked = new + symbol_new, asked + symbol_asked
            if groups[-1] and (new > GROUP_SAMPLES or asked > GROUP_DATES or len(groups[-1]) == at_most):
                groups.append([])
                new, asked = symbol_new, symbol_asked
            groups[-1].append(symbol)
        return [group for group in groups if group]

    def score_together(
        self, symbols: Sequence[str], chunks: int = 1
    ) -> tuple[list[SymbolResult], dict[str, Exception]]:
        """Compute several symbols as one piece of work, or each by itself, in `chunks`, where that breaks or is one.

        Returns the results of those that were computed, and what the others raised; these are given up. Raises
        `SchedulerError` where the cluster was lost.
        """
        results = self._all_at_once(symbols) if len(symbols) > 1 else None
        if results is not None:
            return results, {}
        results, broke = [], {}
        for symbol in symbols:
            try:
                results.append(self.score(symbol, chunks))
            except Exception as error:
                if isinstance(error, SchedulerError) and self.cluster.lost:
                    raise
                self.give_up(symbol, error)
                broke[symbol] = error
        return results, broke

    def _all_at_once(self, symbols: Sequence[str]) -> list[SymbolResult] | None:
        """The symbols computed as one piece of work; None where that broke."""
        try:
            if self.request.dates is not None:
                planned = [np.unique(self.request.dates[symbol]) for symbol in symbols]
            else:
                samples, as_of = self.request.samples, self.request.as_of
                planned = self.cluster.plan_together(self.key, symbols, samples, as_of)
            results = [SymbolResult(symbol) for symbol in symbols]
            looked = [self._asked(result, dates) for result, dates in zip(results, planned, strict=True)]
            asked = [(symbol, every, history) for symbol, (_, every, history) in zip(symbols, looked, strict=True)]
            scored = self.cluster.score_together(self.key, asked)
            if scored is None:
                return None
            computed: dict[str, list[_Computed]] = {symbol: [] for symbol in symbols}
            columns = (scored.factors[name].to_pylist() for name in ("symbol", "date", "status", "reason"))
            for symbol, *row in zip(*columns, strict=True):
                computed[symbol].append(tuple(row))
            share = 1 / len(symbols)
            for result, dates, (stored, _, _), reused in zip(results, planned, looked, scored.reused, strict=True):
                _count(result, dates, stored, computed[result.symbol], reused)
                result.seconds.update({name: share * seconds for name, seconds in scored.seconds.items()})
                self._report(result)
            self.writer.add(symbols, scored.factors, scored.matches)
        except Exception as error:
            # Whatever it is comes out again, and is reported, where each symbol is done by itself.
            if isinstance(error, SchedulerError) and self.cluster.lost:
                raise
            return None
        with self._lock:
            self._results.update({result.symbol: result for result in results})
        return results

    def _asked(self, result: SymbolResult, dates: Dates) -> tuple[Stored, Dates, Int64s]:
        """What is stored of a symbol; the dates to look at, and the history stored for each."""
        result.samples = len(dates)
        if len(dates) == 0:
            result.problem = self._why_no_dates()
        stored = self._stored.of(result.symbol)
        # Dates of earlier runs too: what was stored from other bars or patterns than there are now must not stay.
        every = np.union1d(dates, stored.dates)
        return stored, every, stored.history_on(every)

    def has(self, symbol: str) -> bool:
        """Whether the symbol was scored, and did not break."""
        result = self._results.get(symbol)
        return result is not None and not result.broke

    @property
    def at_once(self) -> int:
        """Pieces of work that are computed at a time: one a thread, and no more than there are cores."""
        return max(1, min(self.cluster.threads, self.overview.cores * len(self.cluster.workers)))

    @property
    def new_samples(self) -> int:
        """About how many samples there are to compute."""
        return sum(map(self._new_samples, self.symbols))

    def unreported(self) -> list[str]:
        """Symbols of which nothing is known, neither that they are done nor that they broke."""
        return [symbol for symbol in self.symbols if symbol not in self._results]

    def give_up(self, symbol: str, error: Exception) -> SymbolResult:
        """Report a symbol as broken by what `score` raised."""
        text = (str(error).splitlines() or [""])[0]
        problem = text if isinstance(error, KlineError) else f"{type(error).__name__}: {text}"
        result = SymbolResult(symbol, problem=problem, broke=True)
        with self._lock:
            self._results[symbol] = result
        self._report(result)
        return result

    def finish(self) -> RunReport:
        """Store what is still waiting, and report; does not judge (see `RunReport.check`)."""
        self.writer.flush()
        if self._progress_error is not None:
            raise self._progress_error
        seconds: Counter[str] = Counter()
        for result in self._results.values():
            seconds.update(result.seconds)
        return RunReport(
            run_id=self.run_id,
            fingerprint=self.key.fingerprint,
            versions={"bars": self.key.bars.version, "patterns": self.key.patterns_version},
            n_patterns=self.overview.n_patterns,
            symbols=sorted(self._results.values(), key=lambda result: result.symbol),
            seconds={
                "load": self._load_seconds,
                **seconds,
                "write": self.writer.seconds,
                "total": perf_counter() - self._started,
            },
            recall=self.overview.recall,
        )

    def _check_symbols(self) -> list[str]:
        if self.request.dates is not None:
            asked = sorted(self.request.dates)
        elif self.request.symbols is None:
            return self.overview.symbols
        else:
            asked = sorted(set(self.request.symbols))
        check_symbols(self.home, asked, self.overview.symbols)
        return asked

    def _expected(self) -> dict[str, int]:
        if self.request.dates is not None:
            return {symbol: len(np.unique(self.request.dates[symbol])) for symbol in self.symbols}
        windows = dict(zip(self.overview.symbols, self.overview.windows, strict=True))
        return {symbol: min(self.request.samples, windows[symbol]) for symbol in self.symbols}

    def _new_samples(self, symbol: str) -> int:
        # What is stored may be of other dates, such as those of the day before.
        return max(1, self.expected[symbol] - self._stored.count(symbol))

    def _why_no_dates(self) -> str:
        if self.request.dates is not None:
            return "no dates were asked for"
        bars = self.key.settings.patterns.window_bars
        until = "" if self.request.as_of is None else f" up to {self.request.as_of}"
        return f"too few bars: no window of {bars} consecutive bars{until}"

    def _report(self, result: SymbolResult) -> None:
        with self._lock:
            if self.progress is None or self._progress_error is not None:
                return
            try:
                self.progress(result)
            except Exception as error:  # noqa: BLE001  it is the caller's, and `finish` hands it back
                self._progress_error = error


def _count(result: SymbolResult, dates: Dates, stored: Stored, computed: Iterable[_Computed], reused: Dates) -> None:
    """Add samples of a symbol that was asked for `dates` to its result."""
    asked = set(dates.tolist())
    for day, status, reason in computed:
        if day not in asked:
            result.refreshed += 1
        elif status == FAILED:
            result.failed += 1
            result.reasons[str(reason)] += 1
        else:
            result.done += 1
    holding = np.intersect1d(reused, dates, assume_unique=True)
    without = stored.reasons_on(holding)
    result.failed += len(without)
    result.reused += len(holding) - len(without)
    result.reasons.update(without)


def check_symbols(home: Home, asked: Iterable[str], known: Collection[str] | None = None) -> None:
    """Raise `UnknownSymbolError` where a symbol is not among `known`, by default those with bars in the home."""
    if known is None:
        known = home.read("bars", ["symbol"])["symbol"].unique().to_pylist()
    unknown = sorted(set(asked) - set(known))
    if unknown:
        named = ", ".join(map(repr, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
        what, fix = (f"symbol {named} has", "it or check the name")
        if len(unknown) > 1:
            what, fix = (f"symbols {named} have", "them or check the names")
        raise UnknownSymbolError(f"{what} no bars in {home.uri}, which holds {len(known)} symbols; ingest {fix}")


def run_symbols(run: Run) -> RunReport:
    """Score all symbols of a run, several at a time, and finish it.

    A symbol that breaks does not stop the others; the error is its `problem`. Raises `SchedulerError` where the cluster
    is lost; what was computed until then is stored.
    """
    at_a_time = max(1, min(len(run.symbols), 2 * run.cluster.threads))
    chunks = max(1, run.at_once // max(1, len(run.symbols)))
    # Every thread has work to the end.
    groups = run.groups(run.symbols, max(1, len(run.symbols) // (2 * at_a_time)))

    try:
        with ThreadPoolExecutor(at_a_time, "symbol") as pool:
            list(pool.map(partial(run.score_together, chunks=chunks), groups))
    finally:
        # Interrupted, the run still stores the symbols that are done.
        report = run.finish()
    return report
