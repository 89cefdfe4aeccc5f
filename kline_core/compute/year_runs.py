"""A run with an encoder for each year: one run, of which each year is a part.

1. Choose the sample dates of every symbol over all years, as for one encoder. They depend on the bars alone.
2. Each year's encoder scores the dates for which its year answers (`kline_core.by_year`), as a run of these dates by
   itself. The newest year comes first, since its state chose the dates, and its values are waited for. Workers hold one
   year's state at a time, or two.
3. The parts share the id of the run and its record, which has the keys of all years, and the request as it was asked.
   The whole is judged, not a part.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from kline_core._processor import Processor
from kline_core._text import abbreviated
from kline_core.by_year import YearFingerprints, year_of, year_spans
from kline_core.compute import tasks
from kline_core.compute.recording import Recorder
from kline_core.compute.request import Request
from kline_core.compute.results import Progress
from kline_core.compute.run import Run
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.compute.workload import no_window
from kline_core.encoder.year_folder import YearFolder
from kline_core.errors import SettingError
from kline_core.factor.state_key import StateKey
from kline_core.settings import Settings
from kline_core.store.home import Home
from kline_core.store.run_records import new_run_id
from kline_core.typing import Dates

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster
    from kline_core.patterns.update import PatternsUpdate

Shown = Callable[[int, Mapping[str, int]], AbstractContextManager[Progress]]
"""Progress of a year, from the year and the number of each symbol's samples."""
_BLOCK: Final = 256
"""Symbols whose dates are chosen by one call."""


@dataclass(frozen=True, slots=True)
class YearKeys:
    """The states of one home, one for each year's encoder, all of the same bars."""

    by_year: dict[int, StateKey]
    """Years ascending."""

    @classmethod
    def of_home(
        cls,
        home: Home,
        settings: Settings,
        folder: YearFolder,
        device: str = "auto",
        patterns: "PatternsUpdate | None" = None,
    ) -> Self:
        """Keys of the home's present states, or of those that an update of the patterns of all years left.

        Raises as `StateKey.newest` and `StateKey.of_update`, and `SettingError` if the update is of other years.
        """
        weights = {year: folder.weights(year) for year in folder.fingerprints}
        if patterns is not None:
            if patterns.years.keys() != weights.keys():
                made, wanted = (abbreviated(list(map(str, years))) for years in (patterns.years, weights))
                raise SettingError(
                    f"patterns are of {made or 'one encoder'}, and {folder.folder} has encoders of {wanted}; update "
                    "those of this folder",
                    parameter="patterns",
                    value=list(patterns.years),
                    bound=str(list(weights)),
                )
            updates = patterns.years
            return cls({y: StateKey.of_update(updates[y], settings, path, device) for y, path in weights.items()})
        while True:
            keys = {year: StateKey.newest(home, settings, path, device) for year, path in weights.items()}
            # Bars may have come between two looks.
            if len({key.bars for key in keys.values()}) == 1:
                return cls(keys)

    @property
    def last(self) -> StateKey:
        """Key of the newest year."""
        return self.by_year[max(self.by_year)]

    def on(self, date: np.datetime64) -> StateKey:
        """Key of the year that answers for a date, datetime64[D]."""
        return self.by_year[year_of(date, self.by_year)]

    @property
    def fingerprints(self) -> YearFingerprints:
        """What values are stored under."""
        return YearFingerprints(tuple((year, key.fingerprint) for year, key in self.by_year.items()))


class _PartRecorder(Recorder):
    """The record of a run whose parts begin and end one after the other, and their reports."""

    def __init__(self, home: Home, keys: YearKeys, chosen: "_Chosen", cluster: "Cluster") -> None:
        super().__init__(home, keys.last, chosen.request, cluster, new_run_id(chosen.began), chosen.began, keys.by_year)
        self._keys, self._chosen = keys, chosen
        self._reports: list[RunReport] = []
        self._rows = 0
        self._began = self._ended = False

    def begin(self, symbols: int, patterns: int, processor: Processor) -> None:  # noqa: ARG002  those of a part
        """Record that the run is at work, when its first part begins."""
        if not self._began:
            # Encoders change vectors alone, so that all years have the same number of patterns.
            super().begin(len(self._chosen.dates), patterns, processor)
        self._began = True

    def end(self, report: RunReport, rows: int, unreported: int) -> None:
        """Record how the run ended, when its last part does, or one is cut off."""
        self._reports.append(report)
        self._rows += rows
        if unreported or len(self._reports) == len(self._chosen.parts):
            self._ended = True
            super().end(self.joined(), self._rows, unreported)

    def broke(self, error: Exception) -> None:
        """Record that the run was cut off by an error, unless it has not begun, or its end is recorded."""
        if self._began and not self._ended:
            self._ended = True
            super().broke(error)

    def stopped(self) -> None:
        """Record the same of a run that was interrupted between two parts, of which neither records it."""
        if self._reports and not self._ended:
            left = list(self._chosen.parts.values())[len(self._reports) :]
            self._ended = True
            super().end(self.joined(), self._rows, len({symbol for part in left for symbol in part}))

    def joined(self) -> RunReport:
        """The reports of the parts so far as one."""
        keys, chosen, last = self._keys, self._chosen, self._reports[-1]
        seconds: defaultdict[str, float] = defaultdict(float, load=chosen.seconds)
        for report in self._reports:
            for stage, spent in report.seconds.items():
                seconds[stage] += spent
        recalls = [report.recall for report in self._reports if report.recall is not None]
        return replace(
            last,
            fingerprint=keys.last.fingerprint,
            versions={"bars": keys.last.bars.version, "patterns": keys.last.patterns_version},
            symbols=joined_results((each for report in self._reports for each in report.symbols), chosen.problem),
            seconds=dict(seconds) | {"total": perf_counter() - chosen.started},
            recall=min(recalls, key=lambda recall: recall.share, default=None),
            years={year: key.fingerprint for year, key in keys.by_year.items()},
        )


def joined_results(parts: Iterable[SymbolResult], problem: str | None = None) -> list[SymbolResult]:
    """Results of parts of a run as one for each symbol, ordered by symbol.

    `problem`: why a symbol has no samples in any part; None for what the part says.
    """
    found: dict[str, SymbolResult] = {}
    for part in parts:
        whole = found.setdefault(part.symbol, SymbolResult(part.symbol))
        for name in (each.name for each in fields(SymbolResult)):
            count, more = getattr(whole, name), getattr(part, name)
            if isinstance(count, Counter):
                count.update(more)
            elif isinstance(count, int) and not isinstance(count, bool):
                setattr(whole, name, count + more)
        if part.broke or not whole.broke:
            whole.problem = part.problem
        whole.broke |= part.broke
    for whole in found.values():
        if not whole.broke:
            whole.problem = (problem or whole.problem) if whole.samples == 0 else None
    return [found[symbol] for symbol in sorted(found)]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The samples of a run."""

    request: Request
    """What was asked, by the names that the home knows."""
    dates: dict[str, Dates]
    """Sample dates of each symbol, datetime64[D], increasing."""
    parts: dict[int, dict[str, Dates]]
    """The same by year, newest first, without symbols that have none in a year. Those that have none at all are in the
    newest of these years."""
    problem: str | None
    """Why a symbol has no dates; None if they were named."""
    began: datetime
    started: float
    seconds: float
    """Seconds that it took to choose."""

    @classmethod
    def of(cls, home: Home, cluster: "Cluster", keys: YearKeys, request: Request) -> Self:
        """Choose the samples. Raises as `Run`."""
        began, started = datetime.now(UTC), perf_counter()
        key, problem = cluster.sharded(keys.last), None
        if request.dates is not None:
            request = request.resolved(home)
            dates = {symbol: np.unique(days) for symbol, days in sorted((request.dates or {}).items())}
        else:
            overview = cluster.load(key, request.as_of)
            request = request.resolved(home, overview.symbols)
            symbols = overview.symbols if request.symbols is None else sorted(set(request.symbols))
            blocks = [symbols[at : at + _BLOCK] for at in range(0, len(symbols), _BLOCK)]
            calls = ((key, block, request.samples, request.as_of) for block in blocks)
            dates = dict(zip(symbols, chain(*cluster.answers_in_order(tasks.plan, calls)), strict=True))
            problem = no_window(key, request)
        parts = {}
        for year, span in reversed(year_spans(keys.by_year).items()):
            found = {symbol: days[span.holds(days)] for symbol, days in dates.items()}
            if some := {symbol: days for symbol, days in found.items() if len(days)}:
                parts[year] = some
        newest = next(iter(parts), max(keys.by_year))
        parts[newest] = parts.get(newest, {}) | {symbol: days for symbol, days in dates.items() if len(days) == 0}
        return cls(request, dates, parts, problem, began, started, perf_counter() - started)


def run_by_year(
    home: Home,
    cluster: "Cluster",
    keys: YearKeys,
    request: Request,
    shown: Shown,
    execute: Callable[[Run], RunReport],
) -> tuple[RunReport, dict[str, Dates]]:
    """Score the samples of each year by the year's encoder, as one run.

    Args:
        home: Home with the bars and patterns.
        cluster: Cluster that computes.
        keys: States of the years.
        request: What is asked of the run.
        shown: Progress of a year.
        execute: Scores the symbols of a part and finishes it.

    Returns:
        The report of the whole, and the sample dates of each symbol that was scored, datetime64[D].

    Raises what `Run` and `execute` raise.
    """
    chosen = _Chosen.of(home, cluster, keys, request)
    recorder = _PartRecorder(home, keys, chosen, cluster)
    asked: dict[str, Dates] = {}
    try:
        for year, dates in chosen.parts.items():
            part = Request(dates=dates, max_failed_share=request.max_failed_share)
            run = Run(home, cluster, keys.by_year[year], part, recorder=recorder)
            with shown(year, run.workload.expected) as run.results.progress:
                execute(run)
            for symbol, days in run.asked.items():
                asked[symbol] = np.union1d(asked[symbol], days) if symbol in asked else days
    except Exception as error:
        recorder.broke(error)
        raise
    finally:
        recorder.stopped()
    return recorder.joined(), asked
