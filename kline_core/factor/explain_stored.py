"""A sample of a past run with its matches, as the run stored or re-used them: no encoder and no index is needed.

1. The settings are those of the run's record.
2. Value and matches are the rows of the run in the tables `factors` and `matches`, and those of earlier runs that it
   found there (`kline_core.factor.stored_run`). They must be tied to each other (`kline_core.factor.match_digest`).
3. The bars, and which part of history was searchable, come from the versions of the tables that the run read. If that
   of the bars is gone, the present bars are shown, and the explanation says so. A match is then shown without candles
   if its bars are gone, or if they no longer give the outcome that was stored.
"""

import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core._text import abbreviated, counted
from kline_core.bars.bars_cache import COLUMNS
from kline_core.bars.jumps import released
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars, bars_by_symbol
from kline_core.dates import optional_date
from kline_core.errors import DateError, HomeError, UnknownSymbolError
from kline_core.factor.comparison import CLOSE
from kline_core.factor.explanation import Explanation, larger_candle_dates, larger_candles, matches_of, outcome_of
from kline_core.factor.match_digest import are_tied, match_digests
from kline_core.factor.recorded import VersionGoneError, check_version, checked_settings
from kline_core.factor.sample_dates import choose_dates
from kline_core.factor.searchable import Searchable
from kline_core.factor.stored_run import Rows, StoredRun
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.store.run_records import RunRecord, read_record
from kline_core.store.schemas import horizons_of_columns, table_schema
from kline_core.symbol_lookup import did_you_mean, resolve_symbols
from kline_core.typing import Dates
from kline_core.windows.windows import usable_ends

_SAMPLE: Final = ["symbol", "date"]
_MATCH: Final = [*_SAMPLE, "rank"]


def explain_stored(
    home: Home, symbol: str, date: str | datetime.date | np.datetime64 | None, run_id: str
) -> Explanation:
    """The stored value and matches of a symbol on a date, of a past run. Computes no value, and stores nothing.

    Args:
        home: Home with the run.
        symbol: Symbol of the sample, as `resolve_symbols` takes it.
        date: Date of the sample; None for the newest that the run has of the symbol.
        run_id: Id of the run.

    Raises:
        UnknownSymbolError: The home has no bars of the symbol.
        AmbiguousSymbolError: Several symbols may be meant.
        DateError: The date cannot be parsed, or the run has no such sample, or none with a window.
        HomeError: There is no record of the run, its rows are gone, or the bars of the sample.
        FingerprintError: The run was made by a version of the package that computes otherwise.
    """
    record = read_record(home, run_id)
    settings = checked_settings(home, record, "show it")
    steps = settings.patterns
    version = _kept_version(home, record)
    names = home.symbols(version)
    (name,) = resolve_symbols([symbol], names)
    if name not in names:
        raise UnknownSymbolError(
            f"symbol {symbol!r} has no bars in {home.uri}, so that nothing of run {run_id} can be shown"
            f"{did_you_mean([name], names)}",
            symbols=[name],
            home=home.uri,
        )
    own_bars = _bars(home, version, [name])[name]
    planned = _planned(record, name, own_bars if version is not None else None, steps)
    samples = _Samples(home, record, name, planned)
    day = samples.chosen(optional_date(date, "date"))
    record = record.on(day)
    factor, pairs = samples.rows(day)
    (end,) = own_bars.find(np.array([day])).tolist()
    if end < steps.span_bars - 1:
        _refuse_without_window(home, record, name, day, factor, version is not None)
    needed = None if steps.market_relative else sorted({name, *(pair["match_symbol"] for pair in pairs)})
    frames = _bars(home, version, needed)
    gone = [pair["rank"] for pair in pairs if not _shows(frames, pair, steps, exactly=version is not None)]
    searchable = None if version is None else _searchable(home, record, own_bars, end, steps)
    return Explanation(
        symbol=name,
        date=day,
        settings=settings,
        fingerprint=record.fingerprint,
        factor=factor,
        window=own_bars.part(end + 1 - steps.window_bars, end + 1),
        after=own_bars.part(end + 1, end + 1 + steps.outcome_bars),
        outcome=outcome_of(frames, name, end, steps),
        # On another processor full mode's similarity may have other last bits.
        matches=matches_of(frames, name, end, pairs, settings, gone, CLOSE),
        candles=larger_candles(own_bars, end, steps),
        candle_dates=larger_candle_dates(own_bars, end, steps),
        searchable=searchable,
        run=run_id,
        notes=(
            *samples.notes(day, factor),
            *_notes_on_bars(record, version),
            *([] if searchable is not None else ["which part of history was searchable is not known any more"]),
            *(
                [f"without candles: match {', '.join(map(str, gone))}, whose bars are gone or others now"]
                if gone
                else []
            ),
        ),
    )


class _Samples:
    """Samples of one symbol that a run stored, and those that it re-used."""

    def __init__(self, home: Home, record: RunRecord, symbol: str, planned: Dates | None) -> None:
        self._home, self._record, self._symbol = home, record, symbol
        self._planned = planned
        self._factors, self._matches = (StoredRun(home, table, record) for table in ("factors", "matches"))
        self._own = _days(self._factors.own([symbol], _SAMPLE, _SAMPLE))
        found = self._factors.found([symbol])
        others = np.zeros(0, "datetime64[D]") if found is None else _days(found)
        self._re_used = others if planned is None else np.intersect1d(others, planned)
        self._dates = np.union1d(self._own, self._re_used)

    def chosen(self, date: np.datetime64 | None) -> np.datetime64:
        """The date, or the newest one. Raises `DateError` if the run has no such sample, with those that there are."""
        run, symbol, dates = self._record.run_id, self._symbol, self._dates
        if len(dates) == 0:
            raise DateError(
                f"run {run} has no sample of {symbol} any more, or never had one; `kline runs {run}` says what it was "
                "asked",
                parameter="date",
                value=date,
                symbol=symbol,
            )
        if date is None:
            newest: np.datetime64 = dates[-1]
            return newest
        if date in dates:
            return date
        lost = self._planned is not None and date in self._planned
        nearest = np.sort(dates[np.argsort(np.abs(dates - date), kind="stable")[:5]]).astype(str).tolist()
        raise DateError(
            f"date {date} of symbol {symbol}: "
            + (f"the rows of run {run} are gone, overwritten by later runs" if lost else f"no sample of run {run}")
            + f"; it has {counted(len(dates), 'sample')} from {dates[0]} to {dates[-1]}, the nearest "
            f"{abbreviated(nearest)}",
            parameter="date",
            value=date,
            symbol=symbol,
        )

    def rows(self, date: np.datetime64) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The sample's row of `factors`, and those of its matches by rank. Raises `HomeError` if some are gone."""
        which = [self._symbol]
        found: Rows | None
        if date in self._own:
            values = self._factors.own(which, _SAMPLE, date=date)
            found = self._matches.own(which, _MATCH, date=date)
        else:
            re_used = self._factors.found(which, date)
            assert re_used is not None, "the date is one of them"
            values, found = re_used, self._matches.found(which, date)
        factors = pa.Table.from_pandas(values, table_schema("factors"), preserve_index=False)
        gone = HomeError(
            f"the matches that run {self._record.run_id} stored for {self._symbol} on {date} are gone, or are not "
            "those of its value any more: overwritten by later runs, or damaged (`kline verify`); see those of a later "
            "run, or compute them live, without --run",
            home=self._home.uri,
            table="matches",
        )
        if found is None:
            raise gone
        schema = table_schema("matches", horizons_of_columns(found.columns))
        matches = pa.Table.from_pandas(found.sort_values("rank"), schema, preserve_index=False)
        history = np.repeat(factors["history"].to_numpy().view(np.uint64), len(matches))
        tied = are_tied(factors, match_digests(matches, history), np.zeros(len(matches), np.int64))
        # A value of an older home is not tied to its matches, and names only their number.
        untied = factors["match_digest"].null_count > 0
        if not (len(matches) == factors["matches"][0].as_py() if untied else tied[0]):
            raise gone
        (factor,) = factors.to_pylist()
        return factor, matches.to_pylist()

    def notes(self, date: np.datetime64, factor: dict[str, Any]) -> list[str]:
        """Where the value comes from."""
        if date in self._own:
            return ["value and matches as it stored them"]
        notes = [f"value and matches of run {factor['run_id']}, which it re-used"]
        if self._planned is None:
            notes = [
                f"value and matches of run {factor['run_id']}, as it found them; whether it was asked for this "
                "date cannot be told any more"
            ]
        return notes


def _kept_version(home: Home, record: RunRecord) -> int | None:
    """Version of the bars that the run read; None if it is gone."""
    try:
        check_version(home, record, record.tables["bars"], "bars")
    except VersionGoneError:
        return None
    return record.tables["bars"].version


def _notes_on_bars(record: RunRecord, version: int | None) -> list[str]:
    if version is not None:
        return [f"bars of version {version}, which it read"]
    read = record.tables["bars"].version
    return [f"bars as they are now, perhaps restated since, for version {read}, which it read, is gone"]


def _bars(home: Home, version: int | None, symbols: list[str] | None) -> BarsBySymbol:
    """Bars of some symbols or of all, as of a version or as they are now."""
    version = home.version("bars") if version is None else version
    rows = home.read("bars", COLUMNS, version=version, symbols=symbols)
    return bars_by_symbol(rows, releases=released(home.notes(version)))


def _planned(record: RunRecord, symbol: str, bars: SymbolBars | None, steps: PatternSettings) -> Dates | None:
    """Dates of a symbol that the run was asked for; None if that cannot be told: its bars (None) or dates are gone."""
    request = record.request
    if request.dates is not None:
        named = request.dates.named
        return None if named is None else np.array(named.get(symbol, []), dtype="datetime64[D]")
    if request.symbols is not None and symbol not in request.symbols:
        return np.zeros(0, "datetime64[D]")
    if bars is None:
        return None
    dates = bars.dates[usable_ends(bars, steps)]
    if request.as_of is not None:
        dates = dates[dates <= np.datetime64(request.as_of, "D")]
    return choose_dates(symbol, dates, request.samples)


def _shows(frames: BarsBySymbol, pair: dict[str, Any], steps: PatternSettings, exactly: bool) -> bool:
    """Whether the bars of a match are there; if they are not `exactly` those of the run, whether its outcome is."""
    bars = frames.get(pair["match_symbol"])
    if bars is None:
        return False
    (end,) = bars.find(np.array([pair["match_end"]], dtype="datetime64[D]")).tolist()
    if end < steps.span_bars - 1 or end + steps.outcome_bars >= len(bars):
        return False
    if exactly:
        return True
    now = outcome_of(frames, bars.symbol, end, steps)
    names = [] if steps.market_relative else [f"r{h}" for h in steps.horizons]
    return now["barrier"] == pair["barrier"] and all(
        abs(value - pair[name]) <= CLOSE for name in names if (value := now[name]) is not None
    )


def _searchable(home: Home, record: RunRecord, bars: SymbolBars, end: int, steps: PatternSettings) -> Searchable | None:
    """Which part of history was searchable, from the version of the patterns that the run read; None if it is gone."""
    state, day = record.tables["patterns"], bars.dates[end]
    if state.version is None:
        return Searchable(0, 0, 0, None, None, None)
    table = record.table_of("patterns")
    try:
        check_version(home, record, state, table)
    except VersionGoneError:
        return None
    until = pc.field("known_on") <= pa.scalar(day.astype(object), pa.date32())
    rows = home.read(table, ["symbol", "end", "known_on"], version=state.version, where=until)
    symbols = rows["symbol"].cast(pa.string())
    ends, known_on = (rows[name].to_numpy().astype("datetime64[D]") for name in ("end", "known_on"))
    own = pc.equal(symbols, bars.symbol).to_numpy()
    own[own] = np.abs(bars.find(ends[own]) - end) < steps.span_bars
    codes = symbols.combine_chunks().dictionary_encode().indices.to_numpy()
    return Searchable.of(day, codes, ends, known_on, own)


def _refuse_without_window(
    home: Home, record: RunRecord, symbol: str, date: np.datetime64, factor: dict[str, Any], kept: bool
) -> None:
    """Raise for a sample whose window is not among the bars."""
    if kept:
        raise DateError(
            f"date {date} of symbol {symbol} has no window to show: run {record.run_id} says {factor['reason']}",
            parameter="date",
            value=date,
            symbol=symbol,
        )
    raise HomeError(
        f"the bars of {symbol} up to {date} are gone, and so is version {record.tables['bars'].version} of bars, which "
        f"run {record.run_id} read; restore a copy of the home from that time",
        home=home.uri,
        table="bars",
    )


def _days(rows: Rows) -> Dates:
    return np.unique(rows["date"].to_numpy().astype("datetime64[D]"))
