"""Records of runs: one small JSON file per run, `runs/RUN_ID.json` in the home.

A file, and not a commit of `factors`, since

1. a run that stores nothing leaves a record too, and must not add a version for which every worker would load again;
2. a record is written when the run begins and replaced when it ends, which a commit cannot be;
3. names begin with the run's time, so that the newest of thousands are found by one listing, and only these are read;
4. a copy of the home's folder takes the records along.

A record goes when the versions that it names are no longer kept (`forget_records`): nothing else bounds their number.

Files are written under another name and renamed, or put into an object store in one piece: a reader sees the record
before or the record after. Records name versions, identities and files of tables, never the place of the home.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from kline_core._processor import Processor
from kline_core.by_year import DateSpan, Fingerprint, YearFingerprints, year_spans
from kline_core.errors import HomeError
from kline_core.store.home import Home

FOLDER = "runs"
RUNNING, DONE, FAILED, CUT_OFF = "running", "done", "failed", "cut off"
"""States of a run: at work; ended; ended, but judged a failure; ended before all symbols had a result."""

_NAME = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
_READERS = 16
_STAGE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class TableState:
    """Version of a table that a run read."""

    version: int | None
    """None if the table was never made."""
    identity: str | None
    """Identity of the table at this version, see `Home.identity`."""
    files: str | None
    """Hash of the names of the version's data files, which a restored copy that went on does not share."""
    table: str | None = None
    """Name of the table, where it is not that of its kind: patterns of other settings than those in `patterns`."""


@dataclass(frozen=True, slots=True)
class RecordedEncoder:
    """Encoder of a run."""

    path: str | None
    """File of the weights; None for those that came with the package."""
    fingerprint: str
    device: str


@dataclass(frozen=True, slots=True)
class RecordedYear:
    """What a run with an encoder for each year had of its own for the dates of a year (`kline_core.by_year`)."""

    year: int
    fingerprint: str
    """Fingerprint of its values."""
    encoder: RecordedEncoder
    patterns: TableState


@dataclass(frozen=True, slots=True)
class RecordedDates:
    """Sample dates that were named one by one."""

    count: int
    hash: str
    named: dict[str, list[str]] | None
    """Dates by symbol; None if there are too many for a record."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """What a run was asked."""

    symbols: list[str] | None
    """None: every symbol with bars."""
    samples: int
    as_of: str | None
    max_failed_share: float
    dates: RecordedDates | None
    """Sample dates instead of `symbols`, `samples` and `as_of`."""


@dataclass(frozen=True, slots=True)
class RecordedProcess:
    """Process that ran a run."""

    host: str
    pid: int
    began: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class RecordedCluster:
    """Cluster that computed a run."""

    address: str
    threads: int
    processor: Processor
    """Of one of the workers."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Record of a run: what it was asked, what it read, and what became of it."""

    run_id: str
    state: str
    """One of `RUNNING`, `DONE`, `FAILED` and `CUT_OFF`."""
    started: str
    """UTC, ISO 8601."""
    package: str
    """Version of the package."""
    method: int
    """`METHOD` of the settings."""
    settings: dict[str, dict[str, Any]]
    """Groups `patterns` and `factor`, whole."""
    fingerprint: str
    encoder: RecordedEncoder
    tables: dict[str, TableState]
    """`bars` and `patterns` as the run read them."""
    request: RecordedRequest
    symbols: int
    """Number of symbols."""
    patterns: int
    """Number of patterns."""
    process: RecordedProcess
    cluster: RecordedCluster
    problem: str | None = None
    """Why the run failed or was cut off."""
    ended: str | None = None
    """UTC, ISO 8601; None if the end was never recorded."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds by stage."""
    counts: dict[str, int] = field(default_factory=dict)
    """samples, done, failed, reused and refreshed, and rows: values that were computed and stored."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Failed samples by reason, the most frequent ones."""
    other_reasons: int = 0
    """Failed samples with reasons that are not named."""
    stored: dict[str, int | None] = field(default_factory=dict)
    """Versions of `factors` and `matches` right after the run."""
    years: list[RecordedYear] = field(default_factory=list)
    """Encoders of a run that had one for each year, by year; `fingerprint`, `encoder` and `tables` are then those of
    the last. Empty for a run with one encoder."""

    @property
    def stored_under(self) -> Fingerprint:
        """What the values of the run are stored under."""
        if not self.years:
            return self.fingerprint
        return YearFingerprints(tuple((each.year, each.fingerprint) for each in self.years))

    def of_years(self) -> list[tuple[DateSpan, Self]]:
        """The dates that each encoder scored, with the record as if it were the only one."""
        if not self.years:
            return [(DateSpan(), self)]
        spans = year_spans(each.year for each in self.years)
        return [
            (
                spans[each.year],
                replace(
                    self,
                    fingerprint=each.fingerprint,
                    encoder=each.encoder,
                    tables=self.tables | {"patterns": each.patterns},
                    years=[],
                ),
            )
            for each in self.years
        ]

    def on(self, date: np.datetime64) -> Self:
        """The record as if the encoder that scored a date, datetime64[D], were the only one."""
        return next(record for span, record in self.of_years() if span.holds(np.array([date]))[0])

    def table_of(self, kind: str) -> str:
        """Name of the table that the run read of a kind, `bars` or `patterns`."""
        return self.tables[kind].table or kind

    @property
    def began(self) -> datetime:
        """Moment at which the run started."""
        return datetime.fromisoformat(self.started)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The record of plain JSON values; what a newer version wrote beside them is left out.

        Raises ValueError, which names what is wrong, if they are no record.
        """
        # Here, since it takes longer to import than all else of this module, and runs only write.
        from pydantic import ValidationError

        try:
            record: Self = _validator().validate_python(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the record"
            raise ValueError(f"{place}: {first['msg']}") from error
        if record.began.tzinfo is None:
            raise ValueError(f"started: {record.started} names no time zone")
        # What no JSON has, such as NaN, could not be shown as JSON either.
        json.dumps(record.to_dict(), allow_nan=False)
        if not {"bars", "patterns"} <= record.tables.keys():
            raise ValueError("tables: bars or patterns are missing")
        return record


@cache
def _validator() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(RunRecord)


def new_run_id(now: datetime | None = None) -> str:
    """An id that no other run has; ids are ordered by the second in which they were made."""
    return f"{datetime.now(UTC) if now is None else now:%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"


def write_record(home: Home, record: RunRecord) -> None:
    """Write a record, in the place of an earlier one of the same run. Raises `HomeError`."""
    text = json.dumps(record.to_dict(), ensure_ascii=False, allow_nan=False, indent=1)
    with (
        _explained(home, f"record {_path(record.run_id)}", "write", "check that it can be written"),
        home.root().open_output_stream(_path(record.run_id), buffer_size=_STAGE_BYTES + 4 * len(text)) as stream,
    ):
        # Within the buffer, since the storage takes bytes, which a large write would not hand to it.
        stream.write(text.encode())


def read_record(home: Home, run_id: str) -> RunRecord:
    """Record of a run. Raises `HomeError` if there is none, or if it cannot be read."""
    return _read(home, run_id)[0]


def _read(home: Home, run_id: str) -> tuple[RunRecord, bytes]:
    """Record of a run, and the content of its file."""
    unknown = HomeError(
        f"home {home.uri} has no record of a run {run_id!r}; `kline runs` lists those that it has "
        "(runs of earlier versions left none, and `maintain` removes those of runs whose versions it no longer keeps)",
        home=home.uri,
    )
    # The id becomes a path.
    if not _NAME.fullmatch(run_id):
        raise unknown
    with _explained(home, f"record {_path(run_id)}", "read", "restore it from a copy, or delete it: no value needs it"):
        try:
            with home.root().open_input_stream(_path(run_id)) as stream:
                content = bytes(stream.read())
        except FileNotFoundError as error:
            raise unknown from error
        record = RunRecord.from_dict(json.loads(content))
        if record.run_id != run_id:
            raise ValueError(f"it is the record of run {record.run_id}")
        return record, content


def copy_records(home: Home, place: Path, wanted: Callable[[RunRecord], bool]) -> tuple[int, int]:
    """Copy the records that are wanted, as they lie there, into the folder `place` of the home that the copy is to be.

    Returns how many were copied, and how many were not wanted. Raises `HomeError` if one cannot be read, and OSError if
    the folder cannot be written.
    """
    copied = left = 0
    for run_id in recorded_runs(home):
        try:
            record, content = _read(home, run_id)
        except HomeError:
            if run_id not in recorded_runs(home):
                # A vacuum has removed it meanwhile.
                continue
            raise
        if not wanted(record):
            left += 1
            continue
        (place / FOLDER).mkdir(exist_ok=True)
        (place / _path(run_id)).write_bytes(content)
        copied += 1
    return copied, left


def recorded_runs(home: Home) -> list[str]:
    """Ids of all runs with a record, newest first. Raises `HomeError`."""
    with _explained(home, f"folder {FOLDER}", "list", "check that the home can be read"):
        files = home.root().get_file_info(pafs.FileSelector(FOLDER, allow_not_found=True))
    names = [file.base_name.removesuffix(".json") for file in files if file.base_name.endswith(".json")]
    return sorted(filter(_NAME.fullmatch, names), reverse=True)


def read_records(home: Home, runs: Sequence[str]) -> Iterator[RunRecord | HomeError]:
    """Records of runs, in their order; the `HomeError` of one that cannot be read in its place."""

    def read(run_id: str) -> RunRecord | HomeError:
        try:
            return read_record(home, run_id)
        except HomeError as error:
            return error

    with ThreadPoolExecutor(_READERS, "records") as pool:
        yield from pool.map(read, runs)


def records_since(home: Home, moment: datetime) -> list[RunRecord]:
    """Records of all runs that started at a moment (UTC) or later. Raises `HomeError` if one cannot be read."""
    # A day before, since an id is made some time before the record, and by any clock.
    first = _id_time(moment - timedelta(days=1))
    runs = [run_id for run_id in recorded_runs(home) if run_id >= first]
    found = []
    for run_id, record in zip(runs, read_records(home, runs), strict=True):
        if isinstance(record, HomeError):
            if run_id not in recorded_runs(home):
                # Another vacuum has removed it meanwhile.
                continue
            raise record
        if record.began >= moment:
            found.append(record)
    return found


def forget_records(home: Home, moment: datetime, kept: Iterable[RunRecord]) -> int:
    """Remove the records of runs that started before a moment (UTC), and return how many there were.

    `kept`: what `records_since` found for this moment, which stays whatever its id says. Raises `HomeError`.
    """
    stay, last = {record.run_id for record in kept}, _id_time(moment)
    # An id names the second, within which `kept` decides.
    old = [run_id for run_id in recorded_runs(home) if run_id[: len(last)] <= last and run_id not in stay]
    for run_id in old:
        # Another vacuum may have removed it.
        with (
            _explained(home, f"record {_path(run_id)}", "remove", "check that the home can be written"),
            suppress(FileNotFoundError),
        ):
            home.root().delete_file(_path(run_id))
    return len(old)


def _id_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S}"


def _path(run_id: str) -> str:
    return f"{FOLDER}/{run_id}.json"


@contextmanager
def _explained(home: Home, what: str, action: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split("\x1b")[0].split()) or type(error).__name__
        raise HomeError(f"cannot {action} {what} of home {home.uri}: {reason}; {remedy}", home=home.uri) from error
