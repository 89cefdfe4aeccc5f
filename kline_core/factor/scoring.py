"""Scoring of samples: from bars to factor rows, out of a loaded state alone.

1. Choose the sample dates, where they are not given. Look up each of them among the symbol's bars; a date without a
   bar, or without a usable window, fails with its reason.
2. Skip the samples whose stored value has the same lineage: the same bars and the same visible patterns.
3. Take the vectors of the others from the patterns, and from the recent windows that are none yet; render and encode
   together those that are in neither.
4. Find their matches under the point-in-time rule, and weigh these into values; and, where the settings ask for it, the
   second values, from many (`kline_core.factor.many`).
"""

import numpy as np
import pyarrow as pa

from kline_core._clock import StageClock
from kline_core._cores import put_together, spread
from kline_core._threads import single_threaded
from kline_core.encoder.encoder_cache import KeptEncoder
from kline_core.errors import DateError
from kline_core.factor.batch import MOST_COMPUTED, Batch, LargeBatchError, PreparedBatch, Scored
from kline_core.factor.checked_samples import check_samples, symbol_bars
from kline_core.factor.many import ManyValues
from kline_core.factor.match_digest import match_digests, value_digests
from kline_core.factor.rows import factor_rows, match_rows
from kline_core.factor.sample_dates import choose_dates
from kline_core.factor.state import LoadedState
from kline_core.factor.weighting import factor_values, match_columns
from kline_core.patterns.encode import WHOLE, AnyEncoder, joined_vectors
from kline_core.search.candidates import Queries
from kline_core.search.modes import MODES
from kline_core.search.search import search
from kline_core.store.schemas import FAILED
from kline_core.typing import Dates, Floats32, Pixels
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import prices_of_windows
from kline_core.windows.windows import usable_ends


def plan_dates(state: LoadedState, symbol: str, samples: int, as_of: np.datetime64 | None) -> Dates:
    """Sample dates of a symbol: `samples` of its usable dates up to `as_of`, or all if there are fewer.

    datetime64[D], increasing; empty if no window of the symbol is usable. Raises as `symbol_bars` and `choose_dates`.
    """
    bars, settings = symbol_bars(state, symbol), state.key.settings.patterns
    if samples == 1:
        # The newest usable date, which is the last one as a rule: no other window is looked at then.
        count = len(bars) if as_of is None else bars.count_until(as_of)
        newest = bars.part(max(0, count - settings.span_bars), count)
        if len(usable_ends(newest, settings)):
            return newest.dates[-1:].copy()
    dates = bars.dates[usable_ends(bars, settings)]
    return choose_dates(symbol, dates if as_of is None else dates[dates <= as_of], samples)


def score_batch(state: LoadedState, batch: Batch) -> Scored:
    """Factor values of a batch of samples.

    Each value is the one that its sample has by itself; rendering, encoding and searching a batch together only costs
    less. A sample without a value is a row with its reason, not an error.

    Raises `UnknownSymbolError`, `LargeBatchError` before anything is computed, and what `plan_dates` raises.
    """
    return finish_batch(state, prepare_batch(state, batch))


def prepare_batch(state: LoadedState, batch: Batch) -> PreparedBatch:
    """Steps 1 to 3 of this module: all but the search and what comes after it. Raises as `score_batch`."""
    clock = StageClock()
    steps = state.key.settings.patterns
    chosen = None
    with clock.stage("plan"):
        if batch.choice is not None:
            choice = batch.choice.samples, batch.choice.as_of
            chosen = [plan_dates(state, symbol, *choice) for symbol in batch.symbols]
            batch = batch.with_dates(chosen)
        checked = check_samples(state, batch)
        new = len(checked.which)
        if len(batch.parts) > 1 and new > MOST_COMPUTED:
            raise LargeBatchError(f"{new} samples of {batch} are to be computed, and at most {MOST_COMPUTED} together")
    which, content = checked.which, checked.content
    codes, bars = state.patterns.codes_of(batch.symbols)[which], checked.ends.astype(np.int32)
    # The same numbers as encoded anew, and by the device that encoded what they are compared with.
    stored = state.patterns.rows_of(codes, bars)
    recent = np.where(stored < 0, state.recent.find(content), -1)
    unknown = (stored < 0) & (recent < 0)
    vectors = np.empty((len(stored), state.patterns.dim), dtype=np.float32)
    if (known := stored >= 0).any():
        # Before anything is drawn, since an index whose vectors lie elsewhere may break off here.
        vectors[known] = state.index.vectors_of(stored[known])
    prices, charts = None, []
    with clock.stage("render"):
        of, ends = which.astype(np.int32), checked.ends
        if MODES[state.key.settings.factor.mode] is not None:
            # For it to compare bars.
            prices = prices_of_windows(state.frames, batch.symbols, of, ends, steps.window_bars)
        if unknown.any():
            windows = (state.frames, batch.symbols, of[unknown], ends[unknown], steps.window_bars)
            charts = [render_charts(*prices_of_windows(*windows, scale)) for scale in steps.scales]
    with clock.stage("encode"):
        if (kept := recent >= 0).any():
            vectors[kept] = state.recent.vectors[recent[kept]]
        # The network is loaded with the first window that needs it.
        if unknown.any():
            encoded = (_encoded(state.encoder, each) for each in charts)
            vectors[unknown] = joined_vectors(encoded, steps.weights_of_scales)
    return PreparedBatch(
        symbols=batch.symbols,
        which=which,
        queries=Queries(vectors, checked.dates, codes, bars, prices),
        history=checked.history,
        seen=checked.seen,
        failed=checked.failed,
        reused=checked.reused,
        seconds=clock.seconds,
        chosen=chosen,
    )


def _encoded(encoder: AnyEncoder, charts: Pixels) -> Floats32:
    """Vectors of charts, made on all cores that nobody uses."""
    if isinstance(encoder, KeptEncoder):
        # Before other threads begin, which set the limits of what is imported by then.
        encoder.loaded()
        single_threaded()
    parts = spread(len(charts), WHOLE, lambda part: encoder.encode(np.ascontiguousarray(charts[part])))
    vectors: Floats32 = put_together(parts)
    return vectors


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
    return Scored(factors, matches, batch.reused, batch.seconds | clock.seconds, batch.chosen)


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
