"""A run: factor values of many symbols, computed on a cluster and stored as they arrive.

1. Name the state of the home to read (`StateKey`), have the workers load it, and record that the run begins.
2. Cut the samples of every symbol into chunks, enough for all workers of the cluster. Symbols with little to compute
   share a batch.
3. Workers choose the sample dates, and compute the samples that are not stored, or whose lineage has changed; these
   include the symbol's dates of earlier runs, so that no outdated value stays. They return rows and write nothing.
4. One writer, in this process, upserts the rows of several symbols in one commit each of `matches` and `factors`, in
   this order, so that a stored value has its matches. Stored values stay, whatever happens afterwards.
5. The end of the run is recorded, with what it read, counted and stored.
6. The run fails if more than `max_failed_share` of the samples failed, with the count of each reason.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import pyarrow as pa

from kline_core._logging import listening, logger, one_line
from kline_core.compute.batches import BatchScorer
from kline_core.compute.patience import WorkerLostError
from kline_core.compute.program import ProgramError
from kline_core.compute.recording import Recorder
from kline_core.compute.request import Request
from kline_core.compute.results import COMPUTED, Computed, Progress, Results, count_samples
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.compute.tasks import BrokenBatchError, Overview
from kline_core.compute.workload import Workload
from kline_core.errors import HomeError, SchedulerError
from kline_core.factor.batch import chunks_of_each
from kline_core.factor.state_key import StateKey
from kline_core.factor.stored_values import ValueWriter
from kline_core.store.home import Home
from kline_core.store.run_records import new_run_id
from kline_core.typing import Dates

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster

_LOG = logger(__name__)


class Run:
    """A run in progress: several threads may call `score` for its symbols; `finish` ends it."""

    def __init__(
        self,
        home: Home,
        cluster: "Cluster",
        key: StateKey,
        request: Request,
        progress: Progress | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Have the workers load the state and check the request against it.

        `recorder`: that of the run of which this one is a part; None for a run by itself.

        Raises `UnknownSymbolError`, `AmbiguousSymbolError`, `DateError`, `SettingError` if the settings do not go with
        the cluster's shards, and what loading raises.
        """
        self._started, started = perf_counter(), datetime.now(UTC)
        self.home, self.cluster = home, cluster
        self.key = key = cluster.sharded(key)
        self.run_id = new_run_id(started) if recorder is None else recorder.run_id
        self.overview: Overview = cluster.load(key, None if request.dates is not None else request.as_of)
        self._load_seconds = perf_counter() - self._started
        # What is computed, stored and recorded goes by the names that the home knows.
        self.request = request.resolved(home, self.overview.symbols)
        self.workload = Workload(home, key, self.request, self.overview)
        self.symbols = self.workload.symbols
        self.writer = ValueWriter(home, key, self.run_id)
        self.results = Results(progress)
        self._lock = threading.Lock()
        self.ended: Exception | None = None
        """Why nothing more is computed: values cannot be stored, or a worker runs other code."""
        self._suspects: list[str] = []
        self._unstored = False
        self._scorer = BatchScorer(cluster, key, self._warn)
        self.asked: dict[str, Dates] = {}
        """Sample dates of the symbols scored so far, datetime64[D]."""
        self._rows = 0
        self._recorder = recorder or Recorder(home, key, self.request, cluster, self.run_id, started)
        # Only now: a request that is refused is no run.
        self._recorder.begin(len(self.symbols), self.overview.n_patterns, self.overview.processor)

    def score(self, symbols: Sequence[str], chunks: int = 1) -> tuple[list[SymbolResult], dict[str, Exception]]:
        """Score some symbols as one batch, and hand their rows to the writer.

        A single symbol is cut into `chunks` chunks. If a batch breaks, the error is logged and the batch is scored
        again in smaller ones: each symbol by itself, and each sample by itself if the computation of one symbol broke.
        Symbols that broke may be scored again. If a batch killed worker after worker, its symbols wait for
        `score_suspects`.

        Returns the results of the symbols that were scored, and the errors of the others, which are marked as broken.
        Raises `SchedulerError` if the cluster is lost, `ProgramError` if a worker runs other code, and what storing
        raises twice in a row; after either of these two every call raises it.
        """
        if self.ended is not None:
            raise self.ended
        scored = self._score(symbols, chunks)
        self._store()
        return scored

    def score_suspects(self) -> list[SymbolResult]:
        """Score the symbols whose batches killed workers, one batch at a time, to find the samples that do.

        To be called when no other work of the run is in flight, since Dask blames all work on a worker that dies. A
        sample that kills its worker again fails. Returns the results; raises as `score`.
        """
        results = []
        while self._suspects:
            if self.ended is not None:
                raise self.ended
            results += self._score([self._suspects[0]], 1, alone=True)[0]
            del self._suspects[0]
            self._store()
        return results

    def _score(
        self, symbols: Sequence[str], chunks: int, alone: bool = False
    ) -> tuple[list[SymbolResult], dict[str, Exception]]:
        try:
            results = self._score_batch(symbols, chunks, alone)
        except WorkerLostError as error:
            if alone:
                self.ended = error
                raise
            self._warn("%s: they are done one by one at the end (%s)", _named(symbols), one_line(error))
            with self._lock:
                self._suspects += [symbol for symbol in symbols if symbol not in self._suspects]
            return [], {}
        except Exception as error:
            if isinstance(error, ProgramError):
                self.ended = error
                raise
            if isinstance(error, SchedulerError) and self.cluster.lost:
                raise
            if len(symbols) == 1:
                self.mark_broken(symbols[0], error)
                return [], {symbols[0]: error}
            self._warn(
                "%d symbols from %s on broke together (%s), so each is done by itself",
                *(len(symbols), symbols[0], one_line(error)),
            )
        else:
            self.results.add(results)
            return results, {}
        results = []
        broke: dict[str, Exception] = {}
        for symbol in symbols:
            done, broken = self._score([symbol], chunks)
            results += done
            broke |= broken
        return results, broke

    def _store(self) -> None:
        """Store what waits, if it is much. A failure is the run's, not that of the symbols that happened to be last.

        What could not be stored is stored with what comes next; the run ends if that fails too, or at once if another
        home took the place.
        """
        try:
            self.writer.flush_full()
        except Exception as error:
            if self._unstored or not isinstance(error, HomeError):
                self.ended = error
                raise
            self._unstored = True
            self._warn("%d values wait for the next commit (%s)", self.writer.waiting, one_line(error))
        else:
            self._unstored = False

    def _score_batch(self, symbols: Sequence[str], chunks: int, alone: bool) -> list[SymbolResult]:
        results = {symbol: SymbolResult(symbol) for symbol in symbols}
        stored = {symbol: self.workload.stored.of(symbol) for symbol in symbols}
        asked: dict[str, Dates] = {}

        def note(dates: Mapping[str, Dates]) -> None:
            for symbol in dates.keys() - asked.keys():
                asked[symbol] = dates[symbol]
                results[symbol].samples = len(dates[symbol])
                if len(dates[symbol]) == 0:
                    results[symbol].problem = self.workload.why_no_dates()

        named = self.workload.named(symbols)
        note(named)
        factors, matches = [], []
        for batch, scored in self._scorer.scored(self.workload.batch(stored, named).chunks(chunks), alone=alone):
            if scored.chosen is not None:
                note(dict(zip(batch.symbols, scored.chosen, strict=True)))
            factors.append(scored.factors)
            matches.append(scored.matches)
            computed: dict[str, list[Computed]] = {symbol: [] for symbol in batch.symbols}
            columns = (scored.factors[name].to_pylist() for name in ("symbol", *COMPUTED))
            for symbol, *row in zip(*columns, strict=True):
                computed[symbol].append(tuple(row))
            share = 1 / len(batch.parts)
            for symbol, reused in zip(batch.symbols, scored.reused, strict=True):
                count_samples(results[symbol], asked[symbol], stored[symbol], computed[symbol], reused)
                results[symbol].seconds.update({name: share * spent for name, spent in scored.seconds.items()})
                self.results.tell(results[symbol])
        for result in results.values():
            if (told := result.done + result.failed + result.reused) != result.samples:
                raise BrokenBatchError(f"of {result.samples} samples of {result.symbol} {told} came back")
        if not factors:
            for result in results.values():
                self.results.tell(result)
        else:
            self.writer.add(symbols, pa.concat_tables(factors), pa.concat_tables(matches))
        with self._lock:
            self.asked.update(asked)
            self._rows += sum(part.num_rows for part in factors)
        return list(results.values())

    def _warn(self, message: str, *arguments: object) -> None:
        with listening(self.cluster.log):
            _LOG.warning(message, *arguments)

    def has(self, symbol: str) -> bool:
        """Whether the symbol was scored without breaking, or waits for `score_suspects`."""
        result = self.results.get(symbol)
        return symbol in self._suspects or (result is not None and not result.broke)

    def chunks(self, symbols: int) -> int:
        """Chunks of each symbol where so many are at work at a time, so that every worker has one.

        A worker computes a chunk on all of its cores that nobody uses.
        """
        return chunks_of_each(len(self.cluster.workers), symbols)

    @property
    def parallel(self) -> int:
        """Batches that are computed in parallel: one per thread, and no more than there are cores."""
        return max(1, min(self.cluster.threads, self.overview.cores * len(self.cluster.workers)))

    def unreported(self) -> list[str]:
        """Symbols without a result, neither scored nor broken."""
        return [symbol for symbol in self.symbols if self.results.get(symbol) is None]

    def mark_broken(self, symbol: str, error: Exception) -> SymbolResult:
        """Report a symbol as broken by `error`."""
        return self.results.mark_broken(symbol, error)

    def finish(self) -> RunReport:
        """Store the rest of the rows, record the end of the run, and report.

        Does not raise for what the report says (see `RunReport.check`). Raises what `progress` raised, and what storing
        raises; what could not be stored is kept and may be tried again.
        """
        try:
            self.writer.flush()
        except Exception as error:
            if waiting := self.writer.waiting:
                self._warn("%d values were computed and could not be stored", waiting)
            self._recorder.broke(error)
            raise
        report = self._report_of_all()
        self._recorder.end(report, self._rows, len(self.unreported()))
        if self.results.progress_error is not None:
            raise self.results.progress_error
        return report

    def _report_of_all(self) -> RunReport:
        seconds: Counter[str] = Counter()
        results, bars = self.results.all(), self.key.bars.version
        for result in results:
            seconds.update(result.seconds)
        return RunReport(
            run_id=self.run_id,
            fingerprint=self.key.fingerprint,
            versions={"bars": bars, "patterns": self.key.patterns_version},
            n_patterns=self.overview.n_patterns,
            symbols=sorted(results, key=lambda result: result.symbol),
            seconds={
                "load": self._load_seconds,
                **seconds,
                "write": self.writer.seconds,
                "total": perf_counter() - self._started,
            },
            recall=self.overview.recall,
            newer_bars=None if bars is None else self.home.changed_since("bars", bars),
        )


def _named(symbols: Sequence[str]) -> str:
    return symbols[0] if len(symbols) == 1 else f"{len(symbols)} symbols from {symbols[0]} on"


def run_symbols(run: Run) -> RunReport:
    """Score all symbols of a run, several in parallel, and finish it.

    A symbol that breaks does not stop the others; the error is its `problem`. Raises `SchedulerError` if the cluster is
    lost or a worker runs other code, and what storing raises; values computed until then are stored if they can be.
    """
    at_a_time = max(1, min(len(run.symbols), 2 * run.cluster.threads))
    chunks = run.chunks(min(len(run.symbols), at_a_time))
    # Groups are small enough that every thread has work to the end.
    groups = run.workload.groups(run.symbols, max(1, len(run.symbols) // (2 * at_a_time)))

    try:
        with ThreadPoolExecutor(at_a_time, "symbol") as pool:
            list(pool.map(partial(run.score, chunks=chunks), groups))
        run.score_suspects()
    finally:
        # An interrupted run still stores the symbols that are done.
        report = run.finish()
    return report
