"""Stored values at the start of a run, and the one writer of new ones.

Rows of several symbols are upserted in one commit each of `matches` and `factors`, in this order, so that a stored
value has its matches. A run that is cut off in between, or another one that commits at the same time, may leave matches
that are not those of the value: the two are tied (`kline_core.factor.match_digest`), and a value whose tie does not
hold counts as not stored, so that it is computed again and overwrites both.
"""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.bars_cache import table_replaced
from kline_core.bars.symbol_bars import days_of, row_keys
from kline_core.by_year import Fingerprint
from kline_core.errors import HomeError
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.match_digest import are_tied
from kline_core.factor.state_key import StateKey
from kline_core.store.home import TOMBSTONE, Home
from kline_core.store.remedies import NEW_VALUES
from kline_core.store.run_records import RunRecord, read_records, recorded_runs
from kline_core.store.schemas import FAILED, MANY
from kline_core.typing import Dates, Flags, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Stored samples of one symbol, by date."""

    dates: Dates
    """datetime64[D] (n,), increasing."""
    history: Int64s
    """int64 (n,): lineage of each sample."""
    failed: Flags
    """bool (n,): true if there is no value."""
    reason: pa.ChunkedArray
    """Why there is no value, null if there is one."""
    many: Flags
    """bool (n,): true if there is a second value, from many."""
    many_reason: pa.ChunkedArray
    """Why there is none, null if there is one, or none was asked for."""

    def reasons_on(self, dates: Dates) -> list[str]:
        """Reasons of the samples on `dates` that are stored without a value."""
        at, there = self._places(dates)
        rows = at[there]
        reasons: list[str] = self.reason.take(pa.array(rows[self.failed[rows]])).to_pylist()
        return reasons

    def many_on(self, dates: Dates) -> tuple[int, list[str]]:
        """Of the samples that are stored on `dates`: how many have a second value, and the reasons of the others."""
        at, there = self._places(dates)
        rows = at[there]
        reasons: list[str] = self.many_reason.take(pa.array(rows)).drop_null().to_pylist()
        return int(self.many[rows].sum()), reasons

    def _places(self, dates: Dates) -> tuple[Int64s, Flags]:
        """Insertion position of each date, int64 (n,), and whether it is stored, bool (n,)."""
        at = np.searchsorted(self.dates, dates)
        there = at < len(self.dates)
        there[there] = self.dates[at[there]] == dates[there]
        return at, there


FLUSH_ROWS = 12_000
FLUSH_SECONDS = 30.0
"""From this long after a commit on, what comes is stored at once: of slow work too, little is lost if it is cut off."""
KEY = ["symbol", "date", "fingerprint"]


class StoredValues:
    """Snapshot of what is stored for some symbols under one fingerprint.

    A value whose matches are not its own has the lineage `NEVER_REUSED`. So have samples of which only matches are
    stored, since the run that stored them was cut off.
    """

    def __init__(self, home: Home, symbols: Sequence[str], fingerprint: str) -> None:
        check_not_lost(home)
        # Matches first, since they are committed first: values that come meanwhile then do not fit, and are computed
        # again, which costs time alone.
        matches = home.read("matches", ["symbol", "date", "digest"], symbols=symbols, fingerprint=fingerprint)
        columns = ["symbol", "date", "value", "history", "status", "reason", "matches", "match_digest", *MANY]
        table = home.read("factors", columns, symbols=symbols, fingerprint=fingerprint)
        # Slices of one table, since millions of values as Python objects would take a gigabyte.
        key, match_key = row_keys(table, symbols), row_keys(matches, symbols)
        sample, own = samples_of(match_key, key)
        left = np.unique(match_key[~own])
        history = np.where(_tied(table, matches, sample, own), table["history"].to_numpy(), NEVER_REUSED)
        key = np.concatenate([key, left])
        order = np.argsort(key, kind="stable")
        bounds: list[int] = np.searchsorted(key[order], np.arange(len(symbols) + 1, dtype=np.int64) << 32).tolist()
        self._slices = dict(zip(symbols, pairwise(bounds), strict=True))
        self._dates = _dates(key[order])
        self._history = np.concatenate([history, np.full(len(left), NEVER_REUSED)])[order]
        failed = pc.equal(table["status"].cast(pa.string()), FAILED).to_numpy()
        self._failed = np.concatenate([failed, np.zeros(len(left), dtype=bool)])[order]
        second = table["many_rank"].is_valid().to_numpy()
        self._many = np.concatenate([second, np.zeros(len(left), dtype=bool)])[order]
        self._reason, self._many_reason = (
            pa.chunked_array([*table[name].cast(pa.string()).chunks, pa.nulls(len(left), pa.string())]).take(
                pa.array(order)
            )
            for name in ("reason", "many_reason")
        )

    def count(self, symbol: str) -> int:
        """Number of stored samples of a symbol."""
        first, last = self._slices[symbol]
        return last - first

    def of(self, symbol: str) -> Stored:
        """Stored samples of a symbol."""
        first, last = self._slices[symbol]
        part = slice(first, last)
        reason, many_reason = (each.slice(first, last - first) for each in (self._reason, self._many_reason))
        return Stored(
            *(self._dates[part], self._history[part], self._failed[part], reason),
            *(self._many[part], many_reason),
        )


def check_not_lost(home: Home) -> None:
    """Raise `HomeError` if `factors` is gone, though a run has stored values there and its matches are left.

    Values with matches would be computed again, and samples without a value forgotten. Before the first run ends
    `factors` is not there either.
    """
    if home.version("factors") is not None or home.version("matches") is None:
        return
    for record in read_records(home, recorded_runs(home)):
        if isinstance(record, RunRecord) and record.stored.get("factors") is not None:
            raise HomeError(
                f"home {home.uri} has lost its table factors, in which run {record.run_id} stored values; {NEW_VALUES}",
                home=home.uri,
                table="factors",
            )


def _dates(key: Int64s) -> Dates:
    days: Dates = days_of(key).astype("datetime64[D]")
    return days


def samples_of(match_key: Int64s, key: Int64s) -> tuple[Int64s, Flags]:
    """Position in `key` of the sample of each of m matches, int64 (m,), and whether there is one, bool (m,).

    Keys are those of `row_keys`. A position without a sample has no meaning.
    """
    if len(key) == 0:
        return np.zeros(len(match_key), dtype=np.int64), np.zeros(len(match_key), dtype=bool)
    # Once for matches of one sample that stand together, as they are stored.
    begins = np.append(True, match_key[1:] != match_key[:-1])[: len(match_key)]
    asked, order = match_key[begins], np.argsort(key, kind="stable")
    place = order[np.minimum(np.searchsorted(key, asked, sorter=order), len(key) - 1)]
    which = np.cumsum(begins) - 1
    return place[which], (key[place] == asked)[which]


def _tied(factors: pa.Table, matches: pa.Table, sample: Int64s, own: Flags) -> Flags:
    """Whether each value and its matches are those that were stored: bool (n,). The last two as from `samples_of`."""
    digests = pc.fill_null(matches["digest"], 0).to_numpy().view(np.uint64)
    sample = sample[own]
    tied = are_tied(factors, digests[own], sample)
    # The number of matches stands in a cell of its own, which the digest does not see.
    tied &= np.bincount(sample, minlength=factors.num_rows) == factors["matches"].to_numpy()
    return tied


class ValueWriter:
    """Buffers rows and upserts them in large commits. Thread-safe."""

    def __init__(self, home: Home, key: StateKey, run_id: str) -> None:
        self.home, self.key, self.run_id = home, key, run_id
        self.seconds = 0.0
        """Seconds spent storing."""
        self._lock = threading.Lock()
        # Held while rows are stored, so that others can be added meanwhile.
        self._storing = threading.Lock()
        self._committed = monotonic()
        # Keyed by symbols, each of which stands in one key only; the second is being stored.
        self._waiting: dict[tuple[str, ...], tuple[pa.Table, pa.Table]] = {}
        self._taken: dict[tuple[str, ...], tuple[pa.Table, pa.Table]] = {}

    def add(self, symbols: Sequence[str], factors: pa.Table, matches: pa.Table) -> None:
        """Buffer rows of symbols, without fingerprint and run_id; they replace buffered rows of the same symbols."""
        if factors.num_rows == 0:
            return
        matches = _with_tombstones(factors, matches, self.key.settings.factor.top_k)
        with self._lock:
            self._waiting = _without(self._waiting, symbols) | {tuple(symbols): (factors, matches)}

    @property
    def waiting(self) -> int:
        """Number of values in the buffer, those included that are being stored."""
        with self._lock:
            return sum(rows.num_rows for held in (self._taken, self._waiting) for rows, _ in held.values())

    def flush_full(self) -> None:
        """Upsert the buffer if it holds `FLUSH_ROWS` values, or the last commit is `FLUSH_SECONDS` old.

        Raises as `flush`.
        """
        with self._lock:
            waiting = sum(rows.num_rows for rows, _ in self._waiting.values())
        if waiting >= FLUSH_ROWS or (waiting and monotonic() - self._committed >= FLUSH_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Upsert the buffer; it is kept if that fails, and may be tried again.

        Raises `StaleError` if another home took the place of the one that the values are of, and what `Home.upsert`
        raises.
        """
        with self._storing:
            self.home.check_there()
            if self.home.identity("bars") != self.key.bars.identity:
                raise table_replaced(self.home.uri)
            try:
                with self._lock:
                    self._taken, self._waiting = self._waiting, {}
                if self._taken:
                    self._upsert(self._taken)
            except BaseException:
                with self._lock:
                    newer = [symbol for symbols in self._waiting for symbol in symbols]
                    self._waiting |= _without(self._taken, newer)
                raise
            finally:
                with self._lock:
                    self._taken = {}

    def _upsert(self, rows: Mapping[tuple[str, ...], tuple[pa.Table, pa.Table]]) -> None:
        started = perf_counter()
        factors, matches = (self._stamped(pa.concat_tables(part)) for part in zip(*rows.values(), strict=True))
        metadata = {"run_id": self.run_id, "versions": [self.key.bars.version, self.key.patterns_version]}
        if matches.num_rows:
            self.home.upsert("matches", matches, [*KEY, "rank"], metadata)
        self.home.upsert("factors", factors, KEY, metadata)
        self._committed = monotonic()
        self.seconds += perf_counter() - started

    def _stamped(self, rows: pa.Table) -> pa.Table:
        for name, value in (("fingerprint", self.key.fingerprint), ("run_id", self.run_id)):
            rows = rows.append_column(pa.field(name, pa.string(), nullable=False), pa.repeat(value, rows.num_rows))
        return rows


def _without(
    held: Mapping[tuple[str, ...], tuple[pa.Table, pa.Table]], symbols: Collection[str]
) -> dict[tuple[str, ...], tuple[pa.Table, pa.Table]]:
    """Buffered rows without those of some symbols."""
    left, gone = {}, set(symbols)
    for key, rows in held.items():
        if gone.isdisjoint(key):
            left[key] = rows
        elif rest := tuple(symbol for symbol in key if symbol not in gone):
            left[rest] = _of_symbols(rows[0], rest), _of_symbols(rows[1], rest)
    return left


def _of_symbols(rows: pa.Table, symbols: Sequence[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows["symbol"].cast(pa.string()), pa.array(symbols, pa.string())))


def _with_tombstones(factors: pa.Table, matches: pa.Table, top_k: int) -> pa.Table:
    """The matches, and a tombstone for each rank that an earlier computation may have stored and this one lacks."""
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


_COLUMNS = ["symbol", "date", "value", "status", "reason", "matches", "return_mean"]


def latest_values(
    home: Home, symbols: Sequence[str], fingerprint: Fingerprint, as_of: np.datetime64 | None = None
) -> pd.DataFrame:
    """Newest stored sample of each symbol, none after `as_of`.

    One row per symbol that has any, ordered by symbol: symbol, date (datetime64[s]), value (0..1, NaN if the sample
    failed), status, reason, matches (number), return_mean (mean return of the matches over the return horizon, a
    fraction).
    """
    rows = home.read("factors", _COLUMNS, symbols=symbols, fingerprint=fingerprint)
    if as_of is not None:
        rows = rows.filter(pc.less_equal(rows["date"], pa.scalar(as_of.astype(object), pa.date32())))
    frame = rows.to_pandas().astype({"date": "datetime64[s]"})
    newest: pd.DataFrame = frame.sort_values(["symbol", "date"]).drop_duplicates("symbol", keep="last")
    newest = newest.reset_index(drop=True)
    return newest


def ranking(latest: pd.DataFrame, shown: int = 20) -> pd.DataFrame:
    """Symbols with the highest and the lowest values on the newest date of `latest`, best first.

    Columns rank (from 1), symbol, date, value, matches, return_mean; at most `shown` rows from either end. Symbols
    without a value on that date are left out; equal values are ordered by symbol.
    """
    there = latest[(latest["date"] == latest["date"].max()) & (latest["status"] != FAILED)]
    ranked = there.sort_values(["value", "symbol"], ascending=[False, True]).reset_index(drop=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    picked = ranked if len(ranked) <= 2 * shown else pd.concat([ranked.head(shown), ranked.tail(shown)])
    shortened: pd.DataFrame = picked[["rank", "symbol", "date", "value", "matches", "return_mean"]]
    return shortened.reset_index(drop=True)
