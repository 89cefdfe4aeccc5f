"""A run: factor values for many symbols, computed on a cluster and stored as they come.

1. Name the state of the home that is to be read (`ResourceKey`), and have the workers load it.
2. For every symbol choose the sample dates, and cut them into chunks, as many at a time as the cluster has threads.
3. Workers compute the chunks whose stored values no longer hold; they return rows and write nothing.
4. One writer, here, stores the rows of several symbols in one commit each of `matches` and `factors`, in this order, so
   that a stored value has its matches. What was stored stays, whatever happens afterwards.
5. Where more than `max_failed_share` of the samples failed, the run fails, with the count of each reason.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from time import perf_counter
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.cluster import Cluster
from kline_core.errors import KlineError, RunFailedError, SettingError, UnknownSymbolError
from kline_core.keys import ResourceKey
from kline_core.patterns import as_days
from kline_core.schemas import FAILED
from kline_core.tables import TOMBSTONE, Home
from kline_core.worker import Dates, Overview

Stored = dict[date, tuple[int, str | None]]
"""Of one symbol's stored samples by date: the history they were computed from, and why there is no value if so."""
FLUSH_ROWS = 12_000
KEY = ["symbol", "date", "fingerprint"]


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


@dataclass(slots=True)
class SymbolResult:
    """What became of one symbol's samples: `samples = done + failed + reused`.

    A sample that has no value counts as failed, whether that was found now or stands in the store.
    """

    symbol: str
    samples: int = 0
    done: int = 0
    failed: int = 0
    reused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Failed samples by reason."""
    problem: str | None = None
    """Why there are no samples at all."""
    broke: bool = False
    """The problem is an error, not a lack of bars; what was stored before stands."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Time by stage, added up over chunks."""

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values, without times."""
        counts = {name: getattr(self, name) for name in ("symbol", "samples", "done", "failed", "reused")}
        return counts | {"problem": self.problem, "broke": self.broke, "reasons": dict(self.reasons)}


@dataclass(slots=True)
class RunReport:
    """What a run did."""

    run_id: str
    fingerprint: str
    versions: dict[str, int | None]
    """Versions of the tables that it read."""
    n_patterns: int
    symbols: list[SymbolResult]
    seconds: dict[str, float]
    """`load` and `total` by the clock; the stages of the computation added up over threads."""

    def count(self, name: str) -> int:
        """Samples, done, failed or reused over all symbols."""
        return sum(getattr(result, name) for result in self.symbols)

    @property
    def reasons(self) -> Counter[str]:
        """Failed samples by reason, over all symbols."""
        return sum((result.reasons for result in self.symbols), Counter())

    @property
    def broken(self) -> list[SymbolResult]:
        """Symbols without samples."""
        return [result for result in self.symbols if result.problem is not None]

    def check(self, max_failed_share: float) -> None:
        """Raise `RunFailedError` where a symbol broke, too many samples failed, or no symbol had any."""
        samples, failed = self.count("samples"), self.count("failed")
        if broke := [f"{result.symbol} ({result.problem})" for result in self.symbols if result.broke]:
            raise RunFailedError(
                f"{len(broke)} of {len(self.symbols)} symbols broke: {', '.join(broke[:3])}"
                f"{' ...' if len(broke) > 3 else ''}; the values of the others are stored, run again for the rest"
            )
        if samples == 0:
            problems = "; ".join(sorted({f"{result.symbol}: {result.problem}" for result in self.broken})[:3])
            raise RunFailedError(f"no symbol has a sample ({problems or 'no symbols'}); ingest more bars")
        # Divided, since 0.29 * 100 is less than 29.
        if failed / samples > max_failed_share:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common(5))
            raise RunFailedError(
                f"{failed} of {samples} samples failed, more than max_failed_share {max_failed_share:g} allows: "
                f"{reasons}; the values that could be computed are stored"
            )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        totals = {name: self.count(name) for name in ("samples", "done", "failed", "reused")}
        return {
            "run_id": self.run_id,
            "fingerprint": self.fingerprint,
            "versions": self.versions,
            "patterns": self.n_patterns,
            **totals,
            "reasons": dict(self.reasons.most_common()),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "symbols": [result.to_dict() for result in self.symbols],
        }


Progress = Callable[[SymbolResult], None]
"""Called after every chunk with the counts of its symbol so far; from several threads, one at a time.

Where it raises, it is not called again, and `Run.finish` raises the same after it has stored everything.
"""


class Run:
    """A run in progress: `score` may be called for its symbols from several threads, `finish` once at the end."""

    def __init__(
        self, home: Home, cluster: Cluster, key: ResourceKey, request: Request, progress: Progress | None = None
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
        self._stored = self._read_stored()
        self.progress = progress
        self._progress_error: Exception | None = None
        self._lock = threading.Lock()
        # By symbol, so that a symbol that is scored again takes its own place.
        self._results: dict[str, SymbolResult] = {}
        self._waiting: dict[str, tuple[pa.Table, pa.Table]] = {}
        self._write_seconds = 0.0

    def score(self, symbol: str, chunks: int = 1) -> SymbolResult:
        """Compute one symbol and hand its rows to the writer. May be called again for a symbol that broke."""
        result = SymbolResult(symbol)
        if self.request.dates is not None:
            dates = np.unique(self.request.dates[symbol])
        else:
            dates = self.cluster.plan(self.key, symbol, self.request.samples, self.request.as_of)
        result.samples = len(dates)
        if len(dates) == 0:
            result.problem = self._why_no_dates()
        stored = self._stored_of(symbol)
        history = np.array([stored[day][0] if day in stored else 0 for day in dates.tolist()], dtype=np.int64)
        factors, matches = [], []
        for scored in self.cluster.score(self.key, symbol, dates, history, chunks):
            factors.append(scored.factors)
            matches.append(scored.matches)
            failed = scored.factors.filter(pc.equal(scored.factors["status"], FAILED))
            result.failed += failed.num_rows
            result.done += scored.factors.num_rows - failed.num_rows
            without = [stored[day][1] for day in scored.reused.tolist() if stored[day][1] is not None]
            result.failed += len(without)
            result.reused += len(scored.reused) - len(without)
            result.reasons.update(failed["reason"].to_pylist() + without)
            result.seconds.update(scored.seconds)
            self._report(result)
        if len(dates) == 0:
            self._report(result)
        with self._lock:
            self._results[symbol] = result
        if factors:
            self._store(symbol, pa.concat_tables(factors), pa.concat_tables(matches))
        return result

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
        with self._lock:
            self._flush()
        if self._progress_error is not None:
            raise self._progress_error
        seconds: Counter[str] = Counter()
        for result in self._results.values():
            seconds.update(result.seconds)
        return RunReport(
            run_id=self.run_id,
            fingerprint=self.key.fingerprint,
            versions={"bars": self.key.bars_version, "patterns": self.key.patterns_version},
            n_patterns=self.overview.n_patterns,
            symbols=sorted(self._results.values(), key=lambda result: result.symbol),
            seconds={
                "load": self._load_seconds,
                **seconds,
                "write": self._write_seconds,
                "total": perf_counter() - self._started,
            },
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

    def _why_no_dates(self) -> str:
        if self.request.dates is not None:
            return "no dates were asked for"
        bars = self.key.settings.patterns.window_bars
        until = "" if self.request.as_of is None else f" up to {self.request.as_of}"
        return f"too few bars: no window of {bars} consecutive bars{until}"

    def _read_stored(self) -> dict[str, pa.Table]:
        """What is stored for these symbols under this fingerprint: date, history and reason by symbol."""
        table = self.home.read(
            "factors",
            ["symbol", "date", "history", "status", "reason"],
            symbols=self.symbols,
            fingerprint=self.key.fingerprint,
        )
        # As slices of one table: as Python objects, millions of values would take a gigabyte.
        code = pc.index_in(table["symbol"].cast(pa.string()), pa.array(self.symbols, pa.string())).to_numpy()
        order = np.argsort(code, kind="stable")
        table = table.drop_columns(["symbol"]).take(pa.array(order))
        bounds = np.searchsorted(code[order], np.arange(len(self.symbols) + 1)).tolist()
        return {
            symbol: table.slice(first, last - first)
            for symbol, first, last in zip(self.symbols, bounds[:-1], bounds[1:], strict=True)
        }

    def _stored_of(self, symbol: str) -> Stored:
        columns = (self._stored[symbol][name].to_pylist() for name in ("date", "history", "status", "reason"))
        return {
            day: (history, reason if status == FAILED else None)
            for day, history, status, reason in zip(*columns, strict=True)
        }

    def _report(self, result: SymbolResult) -> None:
        with self._lock:
            if self.progress is None or self._progress_error is not None:
                return
            try:
                self.progress(result)
            except Exception as error:  # noqa: BLE001  it is the caller's, and `finish` hands it back
                self._progress_error = error

    def _store(self, symbol: str, factors: pa.Table, matches: pa.Table) -> None:
        if factors.num_rows == 0:
            return
        matches = _with_tombstones(factors, matches, self.key.settings.factor.top_k)
        with self._lock:
            self._waiting[symbol] = factors, matches
            if sum(rows.num_rows for rows, _ in self._waiting.values()) >= FLUSH_ROWS:
                self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        started = perf_counter()
        factors, matches = (self._stamped(pa.concat_tables(part)) for part in zip(*self._waiting.values(), strict=True))
        metadata = {"run_id": self.run_id, "versions": [self.key.bars_version, self.key.patterns_version]}
        if matches.num_rows:
            self.home.upsert("matches", matches, [*KEY, "rank"], metadata)
        self.home.upsert("factors", factors, KEY, metadata)
        self._waiting.clear()
        self._write_seconds += perf_counter() - started

    def _stamped(self, rows: pa.Table) -> pa.Table:
        for name, value in (("fingerprint", self.key.fingerprint), ("run_id", self.run_id)):
            rows = rows.append_column(pa.field(name, pa.string(), nullable=False), pa.repeat(value, rows.num_rows))
        return rows


def check_symbols(home: Home, asked: Iterable[str], known: Collection[str] | None = None) -> None:
    """Raise `UnknownSymbolError` where a symbol is not among `known`, by default those with bars in the home."""
    if known is None:
        known = home.read("bars", ["symbol"])["symbol"].unique().to_pylist()
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise UnknownSymbolError(
            f"symbol {', '.join(map(repr, unknown[:5]))}{' ...' if len(unknown) > 5 else ''} has no bars in "
            f"{home.uri}, which holds {len(known)} symbols; ingest it or check the name"
        )


def run_symbols(run: Run) -> RunReport:
    """Score all symbols of a run, several at a time, and finish it.

    A symbol that breaks does not stop the others; the error is its `problem`.
    """
    at_a_time = max(1, min(len(run.symbols), 2 * run.cluster.threads))
    chunks = max(1, run.cluster.threads // max(1, len(run.symbols)))

    def score(symbol: str) -> None:
        try:
            run.score(symbol, chunks)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this symbol's
            run.give_up(symbol, error)

    with ThreadPoolExecutor(at_a_time, "symbol") as pool:
        list(pool.map(score, run.symbols))
    return run.finish()


def _with_tombstones(factors: pa.Table, matches: pa.Table, top_k: int) -> pa.Table:
    """The matches, and a mark for each rank that an earlier computation may have stored and this one has not."""
    matches = matches.append_column(pa.field(TOMBSTONE, pa.bool_(), nullable=False), pa.repeat(False, matches.num_rows))
    again = [
        (symbol, day, count)
        for symbol, day, count in zip(*(factors[c].to_pylist() for c in ("symbol", "date", "matches")), strict=True)
        if count < top_k
    ]
    gone = [(symbol, day, rank) for symbol, day, count in again for rank in range(count + 1, top_k + 1)]
    if not gone:
        return matches
    symbols, days, ranks = zip(*gone, strict=True)
    dates = pa.array(days, pa.date32())
    filler: dict[str, Any] = {
        "symbol": symbols,
        "date": dates,
        "rank": ranks,
        "match_symbol": symbols,
        "match_end": dates,
    }
    columns = []
    for kind in matches.schema:
        if kind.name == TOMBSTONE:
            columns.append(pa.repeat(True, len(gone)))
        elif kind.name in filler:
            columns.append(pa.array(filler[kind.name], kind.type))
        elif kind.nullable:
            columns.append(pa.nulls(len(gone), kind.type))
        else:
            columns.append(pa.repeat(pa.scalar(0, kind.type), len(gone)))
    return pa.concat_tables([matches, pa.Table.from_arrays(columns, schema=matches.schema)])
