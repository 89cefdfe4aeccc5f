"""Record of a run from its begin to its end; see `kline_core.store.run_records`."""

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from kline_core import __version__
from kline_core._logging import logger, one_line
from kline_core._processor import Processor
from kline_core.bars.bars_cache import files_hash
from kline_core.compute.request import Request
from kline_core.compute.run_report import RunReport
from kline_core.errors import RunFailedError
from kline_core.factor.state_key import StateKey
from kline_core.patterns.pattern_table import FIRST
from kline_core.settings import METHOD
from kline_core.store.home import Home
from kline_core.store.run_records import (
    CUT_OFF,
    DONE,
    FAILED,
    RUNNING,
    RecordedCluster,
    RecordedDates,
    RecordedEncoder,
    RecordedProcess,
    RecordedRequest,
    RecordedYear,
    RunRecord,
    TableState,
    write_record,
)
from kline_core.typing import Dates

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster

FEW_DATES = 10_000
"""Sample dates up to which a record holds them themselves; beyond it holds their hash alone."""
NAMED_REASONS = 50
_PROCESS_SECONDS = 2.0
"""Two clocks for the begin of a process may differ by this much."""

_LOG = logger(__name__)


class Recorder:
    """Writes the record of one run: when it begins, and in its place when it ends."""

    def __init__(
        self,
        home: Home,
        key: StateKey,
        request: Request,
        cluster: "Cluster",
        run_id: str,
        started: datetime,
        years: Mapping[int, StateKey] | None = None,
    ) -> None:
        """`years`: keys of a run with an encoder for each year; `key` is then that of the last."""
        self._home, self._key, self._request, self._cluster = home, key, request, cluster
        self._started, self._years = started, dict(years or {})
        self.run_id = run_id
        self._record: RunRecord | None = None

    def begin(self, symbols: int, patterns: int, processor: Processor) -> None:
        """Record that the run is at work. Raises `HomeError`, before any work is done, if it cannot be written."""
        key, request = self._key, self._request
        self._record = RunRecord(
            run_id=self.run_id,
            state=RUNNING,
            started=self._started.isoformat(timespec="milliseconds"),
            package=__version__,
            method=METHOD,
            settings={"patterns": asdict(key.settings.patterns), "factor": asdict(key.settings.factor)},
            fingerprint=key.fingerprint,
            encoder=_encoder_of(key),
            tables={
                "bars": TableState(key.bars.version, key.bars.identity, key.bars.files),
                "patterns": self._patterns_of(key),
            },
            request=RecordedRequest(
                symbols=None if request.symbols is None else sorted(set(request.symbols)),
                samples=int(request.samples),
                as_of=None if request.as_of is None else str(request.as_of),
                max_failed_share=float(request.max_failed_share),
                dates=None if request.dates is None else recorded_dates(request.dates),
            ),
            symbols=symbols,
            patterns=patterns,
            process=RecordedProcess(socket.gethostname(), os.getpid(), psutil.Process().create_time()),
            cluster=RecordedCluster(self._cluster.address, self._cluster.threads, processor),
            years=[
                RecordedYear(year, each.fingerprint, _encoder_of(each), self._patterns_of(each))
                for year, each in sorted(self._years.items())
            ],
        )
        write_record(self._home, self._record)

    def end(self, report: RunReport, rows: int, unreported: int) -> None:
        """Record how the run ended. Where the home does not take that, a warning says so: the values are stored.

        `rows`: values that were computed and stored. `unreported`: symbols without a result, for which the run was cut
        off.
        """
        state, problem = DONE, None
        if unreported:
            state, problem = CUT_OFF, f"{unreported} symbols were not reached; run again for the rest"
        else:
            try:
                report.check(self._request.max_failed_share)
            except RunFailedError as error:
                state, problem = FAILED, str(error)
        named = report.reasons.most_common(NAMED_REASONS)
        counts = ("samples", "done", "failed", "reused", "refreshed")
        self._complete(
            state,
            problem,
            seconds={name: round(value, 4) for name, value in report.seconds.items()},
            counts={name: report.count(name) for name in counts} | {"rows": rows},
            reasons=dict(named),
            other_reasons=report.reasons.total() - sum(count for _, count in named),
            stored={table: self._home.version(table) for table in ("factors", "matches")},
        )

    def broke(self, error: Exception) -> None:
        """Record that the run was cut off by an error, if the home still takes it: most likely it was the cause."""
        self._complete(CUT_OFF, one_line(error))

    def _complete(self, state: str, problem: str | None, **changes: Any) -> None:
        try:
            self._replace(state, problem, **changes)
        except Exception as error:  # noqa: BLE001  what the run did, or broke by, is what has to be told
            _LOG.warning("the record of run %s could not be completed: %s", self.run_id, one_line(error))

    def _replace(self, state: str, problem: str | None, **changes: Any) -> None:
        assert self._record is not None, "it has begun"
        ended = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._record = replace(self._record, state=state, problem=problem, ended=ended, **changes)
        write_record(self._home, self._record)

    def _patterns_of(self, key: StateKey) -> TableState:
        table, version = key.patterns_table, key.patterns_version
        files = None if version is None else files_hash(self._home.files(table, version))
        return TableState(version, key.patterns_identity, files, None if table == FIRST else table)


def _encoder_of(key: StateKey) -> RecordedEncoder:
    return RecordedEncoder(key.encoder.path, key.encoder.fingerprint, key.encoder.device)


def recorded_dates(dates: Mapping[str, Dates]) -> RecordedDates:
    """Sample dates by symbol as a record holds them: their number, their hash, and if they are few themselves."""
    days = {symbol: np.unique(dates[symbol]).astype("datetime64[D]") for symbol in sorted(dates)}
    digest = hashlib.sha256()
    for symbol, some in days.items():
        digest.update(f"{symbol} {len(some)} ".encode() + some.astype("<i8").tobytes())
    count = sum(map(len, days.values()))
    named = {symbol: some.astype(str).tolist() for symbol, some in days.items()} if count <= FEW_DATES else None
    return RecordedDates(count, digest.hexdigest()[:16], named)


def state_of(record: RunRecord) -> str:
    """State of a run as it is now: one that was never ended is cut off if its process is gone.

    Only on the host of the run can that be told; elsewhere such a run is "running or cut off".
    """
    if record.state != RUNNING:
        return record.state
    if record.process.host != socket.gethostname():
        return f"{RUNNING} or {CUT_OFF}"
    try:
        began = psutil.Process(record.process.pid).create_time()
    except psutil.Error:
        return CUT_OFF
    # Another process may have been given the same number.
    return RUNNING if abs(began - record.process.began) <= _PROCESS_SECONDS else CUT_OFF
