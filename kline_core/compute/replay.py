"""A past run, computed again from the versions of the tables that it recorded, and compared with what it stored.

1. Make the run's key: its settings, its encoder, and its versions of `bars` and `patterns`. Refuse if one of them is
   not to be had, or if this version of the package computes by another method.
2. Have the workers load that state.
3. Choose the sample dates again, and compute all of them, and those that the run stored beside them, as if nothing were
   stored.
4. Compare values and matches with the rows that the run stored, and with those of earlier runs that it re-used.

Nothing is stored.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core import __version__
from kline_core._logging import logger
from kline_core.bars.bars_cache import BarsKey
from kline_core.by_year import DateSpan
from kline_core.compute import tasks
from kline_core.compute.batches import BatchScorer
from kline_core.compute.replay_report import Compared, ReplayReport
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.encoder.year_folder import YearFolder, one_encoder
from kline_core.errors import EncoderError, HomeError
from kline_core.factor.batch import Batch, SymbolSamples, chunks_of_each
from kline_core.factor.comparison import compare_rows
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.recorded import check_version, checked_settings
from kline_core.factor.rows import no_matches
from kline_core.factor.state_key import StateKey
from kline_core.factor.stored_run import Rows, StoredRun, as_frame
from kline_core.store.home import Home
from kline_core.store.run_records import RunRecord
from kline_core.store.schemas import UNTIED_LATER, table_schema
from kline_core.typing import Dates

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster

_LOG = logger(__name__)
_SAMPLE = ["symbol", "date"]
_MATCH = [*_SAMPLE, "rank"]
_STAMPS = ["fingerprint", "run_id"]
_TOGETHER = 512
"""Samples of several symbols in one batch."""
_BLOCK = 20_000
"""Samples whose rows are held at a time."""


def replay_keys(home: Home, record: RunRecord, encoder_path: str | Path | None = None) -> list[StateKey]:
    """Keys of the states that a run read, one for each of `RunRecord.of_years`.

    `encoder_path`: where the run's weights lie now, a folder for a run with an encoder for each year; None for where
    they lay then.

    Raises as `replay_key`, and `EncoderError` if the folder cannot be used or lacks a year of the run.
    """
    if not record.years:
        return [replay_key(home, record, one_encoder(encoder_path, f"run {record.run_id}"))]
    places: list[Path | None] = [None] * len(record.years)
    if encoder_path is not None:
        if (folder := YearFolder.of(encoder_path)) is None:
            raise EncoderError(
                f"encoder {encoder_path} is a file, and run {record.run_id} had an encoder for each year; name their "
                "folder",
                path=str(encoder_path),
            )
        if lacking := {each.year for each in record.years} - folder.fingerprints.keys():
            raise EncoderError(
                f"folder {folder.folder} has no encoder of {min(lacking)}, which run {record.run_id} had; name that "
                "of the run",
                path=str(folder.folder),
            )
        places = [folder.weights(each.year) for each in record.years]
    return [replay_key(home, part, place) for (_, part), place in zip(record.of_years(), places, strict=True)]


def replay_key(home: Home, record: RunRecord, encoder_path: str | Path | None = None) -> StateKey:
    """Key of the state that a run with one encoder read.

    `encoder_path`: where the run's weights lie now; None for where they lay then.

    Raises `FingerprintError` if this version of the package has another method or other settings, `EncoderError` if the
    weights are not those of the run, and `HomeError` if a version of a table is gone.
    """
    settings = checked_settings(home, record)
    encoder = _encoder(record, encoder_path)
    bars, patterns = record.tables["bars"], record.tables["patterns"]
    table = record.table_of("patterns")
    check_version(home, record, bars, "bars")
    check_version(home, record, patterns, table)
    key = BarsKey(home.uri, bars.version, bars.identity, bars.files)
    return StateKey(key, patterns.version, patterns.identity, settings, encoder, table)


def _encoder(record: RunRecord, path: str | Path | None) -> EncoderKey:
    made, device = record.encoder.fingerprint, record.encoder.device
    named = record.encoder.path if path is None else path
    key = EncoderKey.of(named, device)
    if key.fingerprint != made:
        what = f"encoder weights {named}" if named is not None else f"the weights that come with version {__version__}"
        raise EncoderError(
            f"{what} have fingerprint {key.fingerprint}, run {record.run_id} used {made} (version {record.package}); "
            "name the run's weights with --encoder",
            path=None if named is None else str(named),
        )
    return key


def replay(
    home: Home,
    cluster: "Cluster",
    keys: Sequence[StateKey],
    record: RunRecord,
    progress: Callable[[int, int], None] | None = None,
) -> ReplayReport:
    """Compute a run again and compare it with what it stored; stores nothing.

    `keys`: see `replay_keys`. `progress`: called with the number of symbols that are done, and of all; each counts once
    for each encoder of the run.

    Raises `HomeError` if the run was cut off before it stored anything, what loading raises, and `SchedulerError`.
    """
    started = perf_counter()
    parts = []
    done = 0
    for key, (span, part) in zip(keys, record.of_years(), strict=True):
        key = cluster.sharded(key)
        again = _Replay(home, cluster, key, part, span)
        overview = cluster.load(key)
        symbols = again.symbols(overview.symbols)
        for block in again.blocks(symbols):
            again.compare(block)
            done += len(block)
            if progress is not None:
                progress(done, len(symbols) * len(keys))
        parts.append(again)
    own = sum((again.own for again in parts), Compared())
    return ReplayReport(
        run_id=record.run_id,
        fingerprint=str(record.stored_under),
        versions={table: state.version for table, state in record.tables.items()},
        own=own,
        reused=sum((again.reused for again in parts), Compared()),
        uncompared=_uncompared(record, own, sum(again.unknown for again in parts)),
        unstored=sum(again.unstored for again in parts),
        processors=(str(record.cluster.processor), str(overview.processor)),
        seconds=perf_counter() - started,
    )


class _Replay:
    """The comparisons of the values that one encoder of a run scored, which grow block by block of symbols."""

    def __init__(self, home: Home, cluster: "Cluster", key: StateKey, record: RunRecord, span: DateSpan) -> None:
        self._cluster, self._key, self._record, self._span = cluster, key, record, span
        self._factors, self._matches = (StoredRun(home, table, record) for table in ("factors", "matches"))
        if not record.stored and not self._factors.stored:
            raise HomeError(
                f"run {record.run_id} was cut off before it stored anything, so there is nothing to compare; "
                "run again with `kline run`",
                home=home.uri,
            )
        self._dates = record.request.dates
        self.own, self.reused = Compared(), Compared()
        self.unstored = 0
        """Samples that were asked for and never stored."""
        self.unknown = 0
        """Values that were re-used and are not known any more."""

    def symbols(self, all_symbols: list[str]) -> list[str]:
        """Symbols of the run."""
        if self._dates is None:
            asked: list[str] | None = self._record.request.symbols
            return all_symbols if asked is None else asked
        if self._dates.named is None:
            return sorted(set(self._factors.own(None, _SAMPLE, _SAMPLE)["symbol"]))
        return sorted(self._dates.named)

    def blocks(self, symbols: list[str]) -> Iterator[list[str]]:
        """Symbols in blocks of about `_BLOCK` samples."""
        each = max(1, self._record.counts.get("samples", 0) // max(1, self._record.symbols))
        if self._dates is None:
            each = max(each, self._record.request.samples)
        count = max(1, _BLOCK // each)
        for start in range(0, len(symbols), count):
            yield symbols[start : start + count]

    def compare(self, symbols: list[str]) -> None:
        """Compute all samples of some symbols, and compare them with what is stored of the run."""
        planned = self._planned(symbols)
        own = self._factors.own(symbols, _SAMPLE)
        stored_dates = {
            symbol: rows.to_numpy().astype("datetime64[D]") for symbol, rows in own.groupby("symbol")["date"]
        }
        none = np.zeros(0, "datetime64[D]")
        every = {symbol: np.union1d(planned[symbol], stored_dates.get(symbol, none)) for symbol in symbols}
        factors, matches = self._computed(every)
        keys = _keys(own)
        self.own += Compared(
            compare_rows(own, _only(factors, keys), _SAMPLE, UNTIED_LATER),
            compare_rows(_only(self._matches.own(symbols, _MATCH), keys), _only(matches, keys), _MATCH),
        )
        rest = _keys(factors).difference(keys)
        if len(rest) == 0:
            return
        others, their_matches = self._factors.found(symbols), self._matches.found(symbols)
        if others is None or their_matches is None:
            self.unknown += len(rest)
            return
        there = rest.intersection(_keys(others))
        self.unstored += len(rest) - len(there)
        self.reused += Compared(
            compare_rows(_only(others, there), _only(factors, there), _SAMPLE, UNTIED_LATER),
            compare_rows(_only(their_matches, there), _only(matches, there), _MATCH),
        )

    def _planned(self, symbols: list[str]) -> dict[str, Dates]:
        """Sample dates of each symbol that the encoder scored; none if the record holds only their hash."""
        if self._dates is None:
            request = self._record.request
            as_of = None if request.as_of is None else np.datetime64(request.as_of, "D")
            chosen = self._cluster.call(tasks.plan, self._key, symbols, request.samples, as_of)
        else:
            named = self._dates.named or {}
            chosen = [np.array(named.get(symbol, []), dtype="datetime64[D]") for symbol in symbols]
        return {symbol: days[self._span.holds(days)] for symbol, days in zip(symbols, chosen, strict=True)}

    def _computed(self, every: dict[str, Dates]) -> tuple[Rows, Rows]:
        """Rows of `factors` and `matches` of samples, without fingerprint and run_id."""
        batches = list(_batches(every, chunks_of_each(len(self._cluster.workers), len(every))))
        factors = [table_schema("factors").empty_table().drop_columns(_STAMPS)]
        matches = [no_matches(self._key.settings.patterns.horizons)]
        for _, scored in BatchScorer(self._cluster, self._key, _LOG.warning).scored(batches, split=True):
            factors.append(scored.factors)
            matches.append(scored.matches)
        return as_frame(pa.concat_tables(factors)), as_frame(pa.concat_tables(matches))


def _uncompared(record: RunRecord, own: Compared, unknown: int) -> dict[str, int]:
    """Number of values that could not be compared, by the reason."""
    counts, dates = record.counts, record.request.dates
    lost = max(0, counts.get("rows", 0) - own.values.total)
    reasons = {"overwritten by later runs, and the version before is gone": max(lost, unknown)}
    if dates is not None and dates.named is None:
        left = counts.get("samples", 0) + counts.get("refreshed", 0) - counts.get("rows", 0)
        reasons["re-used, and of its many dates the record holds only a hash"] = max(0, left)
    return {reason: count for reason, count in reasons.items() if count}


def _batches(every: dict[str, Dates], chunks: int) -> Iterator[Batch]:
    """Samples of symbols in batches; no value depends on how they are cut."""
    waiting: list[SymbolSamples] = []
    for symbol, dates in every.items():
        samples = SymbolSamples(symbol, dates, np.full(len(dates), NEVER_REUSED, dtype=np.int64))
        if len(dates) >= _TOGETHER:
            yield from Batch((samples,)).chunks(chunks)
        elif len(dates):
            waiting.append(samples)
            if sum(len(each.dates) for each in waiting) >= _TOGETHER:
                yield Batch(tuple(waiting))
                waiting = []
    if waiting:
        yield Batch(tuple(waiting))


def _keys(rows: Rows) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[_SAMPLE]).unique()


def _only(rows: Rows, keys: pd.MultiIndex) -> Rows:
    """Rows of some samples."""
    return rows[pd.MultiIndex.from_frame(rows[_SAMPLE]).isin(keys)]
