"""A query with its matches and their outcomes, computed live for a person to inspect.

`kline_core.factor.scoring.score_batch` gives matches and value, so they equal those of a run over the same tables.
"""

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from kline_core._threads import single_threaded
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.dates import parse_date
from kline_core.errors import DateError, EncoderError
from kline_core.factor.attention import Attention, attention_map
from kline_core.factor.batch import Batch, SymbolSamples
from kline_core.factor.checked_samples import no_bar_reason, symbol_bars, too_few_bars
from kline_core.factor.explanation import Explanation, larger_candle_dates, larger_candles, matches_of, outcome_of
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.scoring import score_batch
from kline_core.factor.searchable import Searchable
from kline_core.factor.state import LoadedState, loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.settings import Settings
from kline_core.store.home import Home
from kline_core.symbol_lookup import resolve_symbols
from kline_core.windows.prices import WindowPrices, window_prices
from kline_core.windows.windows import HOLE, JUMP, TOO_FEW_BARS, USABLE, usable_ends, usable_windows


def explain_sample(
    home: Home,
    symbol: str,
    date: str | datetime.date | np.datetime64 | None,
    settings: Settings,
    encoder_path: str | Path | None = None,
    device: str = "auto",
    attention: bool = False,
) -> Explanation:
    """Find the matches of a symbol on a date, in the newest state of a home. Stores nothing.

    Args:
        home: Home with the bars and patterns.
        symbol: Symbol of the query, as `resolve_symbols` takes it.
        date: Last day of the query's window; None for the newest usable day.
        settings: As for a run.
        encoder_path: Weights of the encoder; None for the default ones.
        device: Device of the encoder: auto, cpu, cuda, mps or onnx.
        attention: Whether the attention map is made too (`kline_core.factor.attention`).

    Raises:
        UnknownSymbolError: The home has no bars of the symbol.
        AmbiguousSymbolError: Several symbols may be meant.
        DateError: The date cannot be parsed, or the symbol has no bar or no usable window on it.
        EncoderError: The encoder was trained through the date, and `allow_seen` is false.
        StaleError, FingerprintError, HomeError: As for a run.
    """
    return explain_loaded(loaded_state(StateKey.newest(home, settings, encoder_path, device)), symbol, date, attention)


def explain_loaded(
    loaded: LoadedState, symbol: str, date: str | datetime.date | np.datetime64 | None, attention: bool = False
) -> Explanation:
    """`explain_sample` in a loaded state. Raises as it does, except for what loading raises."""
    # A run computes under the same thread limit and must give the same value.
    single_threaded()
    bars = symbol_bars(loaded, *resolve_symbols([symbol], loaded.frames))
    end = _query_end(loaded, bars, date)
    day = bars.dates[end]
    sample = SymbolSamples(bars.symbol, bars.dates[end : end + 1], np.array([NEVER_REUSED]))
    scored = score_batch(loaded, Batch((sample,)))
    pairs = scored.matches.to_pylist()
    settings = loaded.key.settings
    steps = settings.patterns
    return Explanation(
        symbol=bars.symbol,
        date=day,
        settings=settings,
        fingerprint=loaded.key.fingerprint,
        factor=scored.factors.to_pylist()[0],
        window=bars.part(end + 1 - steps.window_bars, end + 1),
        after=bars.part(end + 1, end + 1 + steps.outcome_bars),
        outcome=outcome_of(loaded.frames, bars.symbol, end, steps),
        matches=matches_of(loaded.frames, bars.symbol, end, pairs, settings),
        candles=larger_candles(bars, end, steps),
        candle_dates=larger_candle_dates(bars, end, steps),
        searchable=Searchable.among(loaded.patterns, bars.symbol, day, end, steps.span_bars),
        attention=_attention(loaded, bars, end, pairs) if attention and pairs else None,
    )


def _attention(loaded: LoadedState, bars: SymbolBars, end: int, pairs: list[dict[str, Any]]) -> Attention:
    steps = loaded.key.settings.patterns
    frames = [loaded.frames[pair["match_symbol"]] for pair in pairs]
    days = [np.array([pair["match_end"]], dtype="datetime64[D]") for pair in pairs]
    sample, matches = {}, {}
    for scale in steps.scales:
        sample[scale] = window_prices(bars, np.array([end]), steps.window_bars, scale)
        windows = [
            window_prices(frame, frame.find(day), steps.window_bars, scale)
            for frame, day in zip(frames, days, strict=True)
        ]
        matches[scale] = WindowPrices(*map(np.concatenate, zip(*windows, strict=True)))
    return attention_map(loaded.encoder, sample, matches, steps.weights_of_scales)


def _query_end(loaded: LoadedState, bars: SymbolBars, date: str | datetime.date | np.datetime64 | None) -> int:
    """Ordinal of the bar on which the query's window ends."""
    settings = loaded.key.settings.patterns
    needed = settings.span_bars
    ends = usable_ends(bars, settings)
    if len(ends) == 0:
        raise DateError(
            f"symbol {bars.symbol} has {len(bars)} bars and no window of {needed} consecutive ones; ingest more bars",
            parameter="date",
            value=date,
            symbol=bars.symbol,
        )
    if date is None:
        end = int(ends[-1])
    else:
        day = parse_date(date, "date")
        end = int(bars.find(np.array([day]))[0])
        if end < 0:
            raise DateError(
                f"date {day} of symbol {bars.symbol} has no bar: {no_bar_reason(bars, day)}; "
                f"give a trading day from {bars.dates[ends[0]]} to {bars.dates[ends[-1]]}",
                parameter="date",
                value=date,
                symbol=bars.symbol,
            )
        code = usable_windows(bars, settings)[end]
        if code != USABLE:
            why = {
                TOO_FEW_BARS: too_few_bars(end + 1, settings),
                HOLE: f"a hole of more than {settings.max_gap_days} days lies inside its window",
                JUMP: "an unexplained jump of the price lies inside its window (`kline check`)",
            }[int(code)]
            nearest = bars.dates[ends[np.abs(ends - end).argmin()]]
            raise DateError(
                f"date {day} of symbol {bars.symbol} ends no usable window: {why}; the nearest is {nearest}",
                parameter="date",
                value=date,
                symbol=bars.symbol,
            )
    through = loaded.encoder.trained_through
    if through is not None and bars.dates[end] <= through and not loaded.key.settings.factor.allow_seen:
        raise EncoderError(
            f"the encoder was trained through {through}, and {bars.dates[end]} is not after it; "
            "give a later date, or allow seen ones (--allow-seen, FactorSettings.allow_seen)",
            path=loaded.key.encoder.path,
            trained_through=through,
        )
    return end
