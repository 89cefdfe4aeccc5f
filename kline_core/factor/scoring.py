"""Samples of a symbol, or of several, from bars to factor rows, with everything it needs handed in.

1. Each sample date is looked up among the symbol's bars; one that is no trading day, or ends no usable window, fails
   with its reason.
2. A sample whose stored value came from the same bars and the same visible patterns is left as it is.
3. The windows of the others are drawn and encoded together.
4. Their matches are found under the point-in-time rule, and weighed into values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kline_core._hashing import text_hash
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.errors import DateError, UnknownSymbolError
from kline_core.factor.lineage import NEVER_REUSED, NO_BAR, SEEN, sample_history
from kline_core.factor.results import Asked, Scored, ScoredTogether
from kline_core.factor.sample_dates import choose_dates
from kline_core.factor.state import LoadedState
from kline_core.factor.weighting import factor_values, match_columns
from kline_core.search.search import Queries, search
from kline_core.settings import PatternSettings
from kline_core.store.schemas import FAILED, table_schema
from kline_core.typing import Dates, Flags, Hashes, Int8s, Int64s, Objects
from kline_core.windows.charts import render
from kline_core.windows.windows import HOLE, TOO_FEW_BARS, USABLE, usable_ends, usable_windows, window_content


def symbol_bars(resources: LoadedState, symbol: str) -> SymbolBars:
    """Bars of a symbol. Raises `UnknownSymbolError` where there are none."""
    bars = resources.frames.get(symbol)
    if bars is None:
        raise UnknownSymbolError(
            f"symbol {symbol!r} has no bars in {resources.key.home}; "
            f"it holds {len(resources.frames)} symbols, ingest this one or check its name"
        )
    return bars


def plan_dates(resources: LoadedState, symbol: str, samples: int, as_of: np.datetime64 | None) -> Dates:
    """The sample dates of a symbol: `samples` of its usable dates up to `as_of`, or all where there are fewer.

    datetime64[D], increasing; empty where no window of the symbol is usable. Raises as `symbol_bars` and
    `choose_dates`.
    """
    bars, settings = symbol_bars(resources, symbol), resources.key.settings.patterns
    dates = bars.dates[usable_ends(bars.dates, settings.window_bars, settings.max_gap_days)]
    return choose_dates(symbol, dates if as_of is None else dates[dates <= as_of], samples)


def score_samples(resources: LoadedState, symbol: str, dates: Dates, stored: Int64s) -> Scored:
    """Factor values of a symbol on `dates` (datetime64[D], increasing).

    `stored`: int64, the `history` under which each date's value is stored, `NEVER_REUSED` where it is not. Raises
    `UnknownSymbolError`; a sample that has no value is a row with its reason, not an error.
    """
    found = score_symbols(resources, [(symbol, dates, stored)])
    return Scored(found.factors, found.matches, found.reused[0], found.seconds)


def score_symbols(resources: LoadedState, asked: Sequence[Asked]) -> ScoredTogether:
    """Factor values of several symbols, each with dates and stored histories as for `score_samples`.

    The values are those that each symbol has by itself; drawn, encoded and searched together they cost less. Raises
    `UnknownSymbolError`.
    """
    started = perf_counter()
    settings = resources.key.settings
    looks = [_look(resources, *each) for each in asked]
    seconds = {"plan": perf_counter() - started}

    def stage(name: str, since: float) -> float:
        now = perf_counter()
        seconds[name] = now - since
        return now

    clock = perf_counter()
    charts = np.concatenate([render(look.bars, look.ends, settings.patterns.window_bars) for look in looks])
    clock = stage("render", clock)
    vectors = resources.encoder.encode(charts)
    clock = stage("encode", clock)
    symbols = [look.bars.symbol for look in looks]
    which = np.repeat(np.arange(len(looks)), [len(look.ends) for look in looks])
    dates, ends, history, seen = (
        np.concatenate([getattr(look, name) for look in looks]) for name in ("dates", "ends", "history", "seen")
    )
    queries = Queries(vectors, dates, resources.patterns.codes_of(symbols)[which], ends.astype(np.int32))
    found = search(resources.index, resources.patterns, queries, settings.factor, settings.patterns.window_bars)
    clock = stage("search", clock)
    rows = factor_values(resources.patterns, found, dates, settings)
    names = np.array(symbols, dtype=object)
    columns = {"symbol": names[which], **rows.columns()}
    marked = seen & (columns["status"] != FAILED)
    columns["reason"] = np.where(
        marked, f"encoder trained through {resources.encoder.trained_through}", columns["reason"]
    )
    pairs = match_columns(resources.patterns, found, rows, settings.patterns.horizons)
    matches = _table("matches", {"symbol": names[which[pairs.pop("sample")]], **pairs})
    factors = _table("factors", columns | {"history": history})
    failed = [look.failed for look in looks if look.failed is not None]
    if failed:
        factors = pa.concat_tables([factors, *failed])
    stage("factor", clock)
    return ScoredTogether(factors, matches, [look.reused for look in looks], seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What one symbol's samples are before anything is computed: steps 1 and 2 at the head of this module.

    The arrays `dates`, `ends`, `history` and `seen` are of the samples that are to be computed, one entry each.
    """

    bars: SymbolBars
    dates: Dates
    ends: Int64s
    history: Int64s
    seen: Flags
    reused: Dates
    failed: pa.Table | None
    """Rows of the samples that have no value, where these are not stored already."""


def _look(resources: LoadedState, symbol: str, dates: Dates, stored: Int64s) -> _Look:
    bars, settings = symbol_bars(resources, symbol), resources.key.settings
    codes, ends = _classify(resources, bars, dates)
    scorable = (codes == USABLE) | (codes == SEEN) & settings.factor.allow_seen
    refused = np.flatnonzero(~scorable)
    reasons = np.array([_reason(resources, bars, dates[at], codes[at], ends[at]) for at in refused], dtype=object)
    hashes = np.empty(len(dates), dtype=np.uint64)
    hashes[scorable] = _history(resources, bars, dates[scorable], codes[scorable], ends[scorable])
    # A reason that changes, as when a holiday no longer lies after the last bar, is stored again.
    hashes[refused] = [text_hash(reason) for reason in reasons]
    history = hashes.view(np.int64)
    reused = (stored == history) & (stored != NEVER_REUSED)
    usable, fresh = np.flatnonzero(scorable & ~reused), ~reused[refused]
    failed = None
    if fresh.any():
        rest = refused[fresh]
        failed = failed_table(symbol, dates[rest], reasons[fresh], history[rest])
    seen = codes[usable] == SEEN
    return _Look(bars, dates[usable], ends[usable], history[usable], seen, dates[reused], failed)


def failed_table(symbol: str, dates: Dates, reasons: Objects, history: Int64s) -> pa.Table:
    """Rows of samples that have no value, one reason each."""
    columns = {
        "date": dates,
        "status": np.full(len(dates), FAILED, dtype=object),
        "reason": reasons,
        "matches": np.zeros(len(dates), dtype=np.int16),
    }
    return factor_table(symbol, columns, history)


def factor_table(symbol: str, columns: dict[str, NDArray[Any]], history: Int64s) -> pa.Table:
    """Rows of the `factors` table without fingerprint and run_id; figures that are missing or NaN become nulls."""
    return _table("factors", {"symbol": np.full(len(history), symbol, dtype=object), **columns, "history": history})


def _table(name: str, columns: dict[str, NDArray[Any]]) -> pa.Table:
    horizons = [int(column[1:]) for column in columns if column[0] == "r" and column[1:].isdigit()]
    schema = table_schema(name, horizons or (1,))
    count = len(columns["symbol"])
    arrays, fields = [], []
    for field in schema:
        if field.name in ("fingerprint", "run_id"):
            continue
        values = columns.get(field.name)
        array = pa.nulls(count, field.type) if values is None else pa.array(values, field.type, from_pandas=True)
        arrays.append(array)
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _classify(resources: LoadedState, bars: SymbolBars, dates: Dates) -> tuple[Int8s, Int64s]:
    """What each date is (`USABLE`, `TOO_FEW_BARS`, `HOLE`, `NO_BAR` or `SEEN`) and its bar, where it has one."""
    settings = resources.key.settings.patterns
    ends = np.searchsorted(bars.dates, dates).astype(np.int64)
    there = ends < len(bars)
    there[there] = bars.dates[ends[there]] == dates[there]
    codes = np.full(len(dates), NO_BAR, dtype=np.int8)
    if there.any():
        # Of a long history only what the windows reach over.
        asked = ends[there]
        first = max(0, asked.min() - settings.window_bars + 1)
        reach = bars.dates[first : asked.max() + 1]
        codes[there] = usable_windows(reach, settings.window_bars, settings.max_gap_days)[asked - first]
    through = resources.encoder.trained_through
    if through is not None:
        codes[(codes == USABLE) & (dates <= through)] = SEEN
    return codes, ends


def _history(resources: LoadedState, bars: SymbolBars, dates: Dates, codes: Int8s, ends: Int64s) -> Hashes:
    """Identifies what each sample's value depends on beside the settings: its window and the patterns it may see."""
    window = window_content(bars.content, ends, 1 - resources.key.settings.patterns.window_bars, 0)
    visible = resources.patterns.history[resources.patterns.n_known(dates)]
    return sample_history(codes, window, visible)


def _reason(resources: LoadedState, bars: SymbolBars, date: np.datetime64, code: np.int8, end: np.int64) -> str:
    settings: PatternSettings = resources.key.settings.patterns
    if code == TOO_FEW_BARS:
        return f"too few bars: {end + 1} of {settings.window_bars}"
    if code == HOLE:
        return f"a hole of more than {settings.max_gap_days} days inside the window"
    if code == SEEN:
        return f"the encoder was trained through {resources.encoder.trained_through}"
    return no_bar_reason(bars, date)


def no_bar_reason(bars: SymbolBars, date: np.datetime64) -> str:
    """Why a symbol has no sample on a date on which it has no bar."""
    if len(bars) == 0:
        return f"{bars.symbol} never traded"
    if date < bars.dates[0]:
        return f"before the first bar ({bars.dates[0]})"
    if date > bars.dates[-1]:
        return f"after the last bar ({bars.dates[-1]})"
    before = bars.dates[np.searchsorted(bars.dates, date) - 1]
    return f"no trading day of {bars.symbol} (the one before is {before})"


def check_as_of(resources: LoadedState, as_of: np.datetime64) -> None:
    """Refuse a day on which none of the symbols has a bar. Raises `DateError` that names the nearest days."""
    days = np.unique(np.concatenate([np.zeros(0, as_of.dtype), *(bars.dates for bars in resources.frames.values())]))
    if len(days) == 0:
        raise DateError(f"as-of {as_of} is no trading day: {resources.key.home} holds no traded bars; ingest some")
    at = int(np.searchsorted(days, as_of))
    if at < len(days) and days[at] == as_of:
        return
    if at in (0, len(days)):
        raise DateError(f"as-of {as_of} lies outside the bars, which run from {days[0]} to {days[-1]}")
    raise DateError(f"as-of {as_of} is no trading day of any symbol; the nearest are {days[at - 1]} and {days[at]}")
