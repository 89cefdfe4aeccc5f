"""Scoring of samples: from bars to factor rows, out of a loaded state alone.

1. Look up each sample date among the symbol's bars; a date without a bar, or without a usable window, fails with its
   reason.
2. Skip the samples whose stored value has the same lineage: the same bars and the same visible patterns.
3. Take the vectors of the others from the patterns, and from the recent windows that are none yet; render and encode
   together those that are in neither.
4. Find their matches under the point-in-time rule, and weigh these into values; and, where the settings ask for it, the
   second values, from many (`kline_core.factor.many`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from kline_core._clock import StageClock
from kline_core._hashing import text_hash
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.errors import DateError, UnknownSymbolError
from kline_core.factor.batch import MOST_COMPUTED, Batch, LargeBatchError, PreparedBatch, Scored, SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED, NO_BAR, SEEN, sample_history
from kline_core.factor.many import ManyValues
from kline_core.factor.match_digest import match_digests, value_digests
from kline_core.factor.rows import factor_rows, failed_rows, match_rows
from kline_core.factor.sample_dates import choose_dates
from kline_core.factor.state import LoadedState
from kline_core.factor.weighting import factor_values, match_columns
from kline_core.patterns.encode import joined_vectors
from kline_core.search.candidates import Queries
from kline_core.search.search import search
from kline_core.settings import PatternSettings
from kline_core.store.schemas import FAILED
from kline_core.symbol_lookup import did_you_mean
from kline_core.typing import Dates, Flags, Hashes, Int8s, Int64s
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import WindowPrices, window_prices
from kline_core.windows.windows import HOLE, JUMP, TOO_FEW_BARS, USABLE, usable_ends, usable_windows, window_content


def symbol_bars(state: LoadedState, symbol: str) -> SymbolBars:
    """Bars of a symbol. Raises `UnknownSymbolError` if there are none."""
    bars = state.frames.get(symbol)
    if bars is None:
        raise UnknownSymbolError(
            f"symbol {symbol!r} has no bars in {state.key.home}; "
            f"it holds {len(state.frames)} symbols, ingest this one or check its name"
            f"{did_you_mean([symbol], state.frames)}",
            symbols=[symbol],
            home=state.key.home,
        )
    return bars


def plan_dates(state: LoadedState, symbol: str, samples: int, as_of: np.datetime64 | None) -> Dates:
    """Sample dates of a symbol: `samples` of its usable dates up to `as_of`, or all if there are fewer.

    datetime64[D], increasing; empty if no window of the symbol is usable. Raises as `symbol_bars` and `choose_dates`.
    """
    bars, settings = symbol_bars(state, symbol), state.key.settings.patterns
    dates = bars.dates[usable_ends(bars, settings)]
    return choose_dates(symbol, dates if as_of is None else dates[dates <= as_of], samples)


def score_batch(state: LoadedState, batch: Batch) -> Scored:
    """Factor values of a batch of samples.

    Each value is the one that its sample has by itself; rendering, encoding and searching a batch together only costs
    less. A sample without a value is a row with its reason, not an error.

    Raises `UnknownSymbolError`, and `LargeBatchError` before anything is computed.
    """
    return finish_batch(state, prepare_batch(state, batch))


def prepare_batch(state: LoadedState, batch: Batch) -> PreparedBatch:
    """Steps 1 to 3 of this module: all but the search and what comes after it. Raises as `score_batch`."""
    clock = StageClock()
    steps = state.key.settings.patterns
    with clock.stage("plan"):
        checked = [_check_samples(state, part) for part in batch.parts]
        new = sum(len(each.ends) for each in checked)
        if len(checked) > 1 and new > MOST_COMPUTED:
            raise LargeBatchError(f"{new} samples of {batch} are to be computed, and at most {MOST_COMPUTED} together")
    which = np.repeat(np.arange(len(checked)), [len(each.ends) for each in checked])
    dates, ends, content, history, seen = (
        np.concatenate([getattr(each, name) for each in checked])
        for name in ("dates", "ends", "content", "history", "seen")
    )
    codes, bars = state.patterns.codes_of(batch.symbols)[which], ends.astype(np.int32)
    # The same numbers as encoded anew, and by the device that encoded what they are compared with.
    stored = state.patterns.rows_of(codes, bars)
    recent = np.where(stored < 0, state.recent.find(content), -1)
    unknown = (stored < 0) & (recent < 0)
    vectors = np.empty((len(stored), state.patterns.dim), dtype=np.float32)
    if (known := stored >= 0).any():
        # Before anything is drawn, since an index whose vectors lie elsewhere may break off here.
        vectors[known] = state.index.vectors_of(stored[known])
    with clock.stage("render"):
        prices = _prices(checked, steps.window_bars, 1)
        candles = (prices if scale == 1 else _prices(checked, steps.window_bars, scale) for scale in steps.scales)
        charts = [render_charts(*(price[unknown] for price in each)) for each in candles]
    with clock.stage("encode"):
        if (kept := recent >= 0).any():
            vectors[kept] = state.recent.vectors[recent[kept]]
        # The network is loaded with the first window that needs it.
        if unknown.any():
            vectors[unknown] = joined_vectors(map(state.encoder.encode, charts), steps.weights_of_scales)
    return PreparedBatch(
        symbols=batch.symbols,
        which=which,
        queries=Queries(vectors, dates, codes, bars, prices),
        history=history,
        seen=seen,
        failed=[each.failed for each in checked if each.failed is not None],
        reused=[each.reused for each in checked],
        seconds=clock.seconds,
    )


def finish_batch(state: LoadedState, batch: PreparedBatch) -> Scored:
    """Step 4 of this module: values of the samples of a prepared batch."""
    clock = StageClock()
    settings, queries = state.key.settings, batch.queries
    steps = settings.patterns
    many = None
    if wanted := settings.factor.many:
        many = ManyValues(state.patterns, state.ranks.over(state.key.return_column), wanted, len(queries))
    with clock.stage("search"):
        found = search(
            *(state.index, state.patterns, queries, settings.factor),
            *(steps.window_bars, state.shapes, steps.span_bars, None if many is None else many.take),
        )
    with clock.stage("factor"):
        rows = factor_values(state.patterns, found, queries.dates, settings)
        names = np.array(batch.symbols, dtype=object)
        columns = {"symbol": names[batch.which], **rows.columns()}
        marked = batch.seen & (columns["status"] != FAILED)
        mark = f"encoder trained through {state.encoder.trained_through}"
        columns["reason"] = np.where(marked, mark, columns["reason"])
        pairs = match_columns(state.patterns, found, rows, steps.horizons)
        sample = pairs.pop("sample")
        matches = match_rows({"symbol": names[batch.which[sample]], **pairs})
        digests = match_digests(matches, batch.history[sample].view(np.uint64))
        place = matches.schema.get_field_index("digest")
        matches = matches.set_column(place, matches.schema.field(place), pa.array(digests.view(np.int64)))
        second, figures = ({}, []) if many is None else (many.columns(), many.figures)
        ties = value_digests(rows.value, digests, sample, figures)
        factors = factor_rows(columns | second | {"history": batch.history, "match_digest": ties.view(np.int64)})
        if batch.failed:
            factors = pa.concat_tables([factors, *batch.failed])
    return Scored(factors, matches, batch.reused, batch.seconds | clock.seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _CheckedSamples:
    """Samples of one symbol after steps 1 and 2 of this module.

    `dates`, `ends`, `content`, `history` and `seen` have one entry for each sample that is still to be computed.
    """

    bars: SymbolBars
    dates: Dates
    ends: Int64s
    content: Hashes
    """Hash of the bars that the window spans."""
    history: Int64s
    seen: Flags
    reused: Dates
    failed: pa.Table | None
    """Rows of the samples without a value; None if all of them are stored already."""


def _prices(checked: Sequence[_CheckedSamples], window_bars: int, scale: int) -> WindowPrices:
    """Prices of all windows to be computed, in candles of `scale` bars."""
    gathered = [window_prices(each.bars, each.ends, window_bars, scale) for each in checked]
    return WindowPrices(*(np.concatenate(parts) for parts in zip(*gathered, strict=True)))


def _check_samples(state: LoadedState, samples: SymbolSamples) -> _CheckedSamples:
    dates, stored = samples.dates, samples.stored
    bars, settings = symbol_bars(state, samples.symbol), state.key.settings
    codes, ends = _classify(state, bars, dates)
    scorable = (codes == USABLE) | (codes == SEEN) & settings.factor.allow_seen
    refused = np.flatnonzero(~scorable)
    reasons = np.array([_reason(state, bars, dates[at], codes[at], ends[at]) for at in refused], dtype=object)
    content, hashes = np.zeros((2, len(dates)), dtype=np.uint64)
    content[scorable] = window_content(bars.content, ends[scorable], 1 - settings.patterns.span_bars, 0)
    visible = state.patterns.history[state.patterns.n_known(dates[scorable])]
    hashes[scorable] = sample_history(codes[scorable], content[scorable], visible)
    # By the reason, so that a changed one is stored again, as when a holiday no longer lies after the last bar.
    hashes[refused] = [text_hash(reason) for reason in reasons]
    history = hashes.view(np.int64)
    reused = (stored == history) & (stored != NEVER_REUSED)
    usable, fresh = np.flatnonzero(scorable & ~reused), ~reused[refused]
    failed = None
    if fresh.any():
        rest = refused[fresh]
        failed = failed_rows(samples.symbol, dates[rest], reasons[fresh], history[rest])
    seen = codes[usable] == SEEN
    return _CheckedSamples(
        bars, dates[usable], ends[usable], content[usable], history[usable], seen, dates[reused], failed
    )


def _classify(state: LoadedState, bars: SymbolBars, dates: Dates) -> tuple[Int8s, Int64s]:
    """Code and bar of each date.

    int8 (n,): `USABLE`, `TOO_FEW_BARS`, `HOLE`, `JUMP`, `NO_BAR` or `SEEN`. int64 (n,): ordinal of its bar, -1 if it
    has none.
    """
    settings = state.key.settings.patterns
    ends = bars.find(dates)
    there = ends >= 0
    codes = np.full(len(dates), NO_BAR, dtype=np.int8)
    if there.any():
        # Only the bars that the windows span, since a history is long.
        asked = ends[there]
        first = max(0, asked.min() - settings.span_bars + 1)
        codes[there] = usable_windows(bars.part(first, asked.max() + 1), settings)[asked - first]
    through = state.encoder.trained_through
    if through is not None:
        codes[(codes == USABLE) & (dates <= through)] = SEEN
    return codes, ends


def _reason(state: LoadedState, bars: SymbolBars, date: np.datetime64, code: np.int8, end: np.int64) -> str:
    settings: PatternSettings = state.key.settings.patterns
    if code == TOO_FEW_BARS:
        return too_few_bars(int(end) + 1, settings)
    if code == HOLE:
        return f"a hole of more than {settings.max_gap_days} days inside the window"
    if code == JUMP:
        return "an unexplained jump of the price inside the window"
    if code == SEEN:
        return f"the encoder was trained through {state.encoder.trained_through}"
    return no_bar_reason(bars, date)


def too_few_bars(bars: int, settings: PatternSettings) -> str:
    """The reason for which a date with so many bars up to it has no window."""
    largest = max(settings.scales)
    return f"too few bars: {bars} of {settings.span_bars}" + (f" (scale {largest})" if largest > 1 else "")


def no_bar_reason(bars: SymbolBars, date: np.datetime64) -> str:
    """The reason for which a symbol has no bar on a date."""
    if len(bars) == 0:
        return f"{bars.symbol} never traded"
    if date < bars.dates[0]:
        return f"before the first bar ({bars.dates[0]})"
    if date > bars.dates[-1]:
        return f"after the last bar ({bars.dates[-1]})"
    before = bars.dates[bars.count_until(date) - 1]
    return f"no trading day of {bars.symbol} (the one before is {before})"


def check_as_of(state: LoadedState, as_of: np.datetime64) -> None:
    """Refuse a day on which no symbol has a bar. Raises `DateError` that names the nearest days."""
    # Most often the first symbol has one; all days of all symbols are millions.
    asked = np.array([as_of])
    if any(bars.find(asked)[0] >= 0 for bars in state.frames.values()):
        return
    days = np.unique(np.concatenate([np.zeros(0, as_of.dtype), *(bars.dates for bars in state.frames.values())]))
    if len(days) == 0:
        raise DateError(
            f"as-of {as_of} is no trading day: {state.key.home} holds no traded bars; ingest some",
            parameter="as_of",
            value=as_of,
        )
    at = int(np.searchsorted(days, as_of))
    if at in (0, len(days)):
        raise DateError(
            f"as-of {as_of} lies outside the bars, which run from {days[0]} to {days[-1]}",
            parameter="as_of",
            value=as_of,
        )
    raise DateError(
        f"as-of {as_of} is no trading day of any symbol; the nearest are {days[at - 1]} and {days[at]}",
        parameter="as_of",
        value=as_of,
    )
