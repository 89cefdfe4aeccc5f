"""A query with its matches and their outcomes, computed live for a person to inspect.

`kline_core.factor.scoring.score_batch` gives matches and value, so they equal those of a run over the same tables.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kline_core._text import percent
from kline_core._threads import single_threaded
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.dates import parse_date
from kline_core.errors import DateError, EncoderError
from kline_core.factor.batch import Batch, SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.scoring import no_bar_reason, score_batch, symbol_bars, too_few_bars
from kline_core.factor.state import LoadedState, loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.search.full_mode import PART_NAMES, similarity_parts
from kline_core.settings import PatternSettings, Settings
from kline_core.store.home import Home
from kline_core.symbol_lookup import resolve_symbols
from kline_core.windows.market import market_returns_of, relative_returns
from kline_core.windows.outcomes import UNDECIDED, outcomes
from kline_core.windows.prices import WindowPrices, window_prices
from kline_core.windows.windows import HOLE, JUMP, TOO_FEW_BARS, USABLE, usable_ends, usable_windows

_FIGURES = ("value", "status", "reason", "effective_matches", "barrier_win_rate", "return_win_rate", "similarity")
_DISTRIBUTION = ("return_mean", "return_median", "return_q05", "return_q25", "return_q75", "return_cvar")


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A pattern matched with a query."""

    rank: int
    """From 1, most similar first."""
    symbol: str
    end: np.datetime64
    """datetime64[D]: last bar of its window."""
    known_on: np.datetime64
    """datetime64[D]: first date on which its whole outcome was known; never after the query's date."""
    similarity: float
    weight: float
    """Similarity times time decay."""
    share: float
    """Weight as a share of the weights of all matches; NaN if these are all 0."""
    returns: dict[str, float]
    """Forward returns from the entry, as fractions, by horizon: r1, r5, ..."""
    barrier: int
    """+1 upper barrier touched first, -1 lower barrier first, 0 neither."""
    window: SymbolBars
    """The `window_bars` bars of its window."""
    after: SymbolBars
    """The `outcome_bars` bars after the window, the entry bar among them."""
    parts: dict[str, float | None]
    """In full mode the parts of the similarity, 0..1 each: dtw, price, return, shape, pixels, edges; the last two are
    None, and count as 0, if the chart was not looked at. Empty in fast mode, whose similarity has no parts."""
    candles: Mapping[int, WindowPrices] = field(default_factory=dict)
    """Its chart in each time scale above 1, by the scale: float64 (1, window_bars)."""

    def to_dict(self) -> dict[str, Any]:
        """The match as plain JSON values, without its bars."""
        share = None if np.isnan(self.share) else self.share
        columns = {"rank": self.rank, "symbol": self.symbol, "end": str(self.end), "known_on": str(self.known_on)}
        return columns | {
            "similarity": self.similarity,
            **self.parts,
            "weight": self.weight,
            "share": share,
            **self.returns,
            "barrier": self.barrier,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A query, its value, and its matches."""

    symbol: str
    date: np.datetime64
    settings: Settings
    fingerprint: str
    """Fingerprint under which a run would store the value."""
    factor: dict[str, Any]
    """The query's row of the `factors` table: value, status, reason, win rates, return distribution."""
    window: SymbolBars
    """The query's `window_bars` bars."""
    after: SymbolBars
    """Bars after the window, at most `outcome_bars`, as far as stored: unknown on `date`, and not used."""
    outcome: dict[str, float | int | None]
    """Outcome of the query itself: r1, r5, ... and barrier, each None if not known yet."""
    matches: list[Match]
    """Best first; fewer than `top_k` if the history is short."""
    candles: Mapping[int, WindowPrices] = field(default_factory=dict)
    """The query's chart in each time scale above 1, by the scale: float64 (1, window_bars)."""

    def text(self) -> str:
        """The explanation as text for a terminal."""
        steps, factor = self.settings.patterns, self.factor
        said = f"no value: {factor['reason']}"
        if factor["value"] is not None:
            weights = self.settings.factor
            said = (
                f"value {factor['value']:.3f} = {weights.barrier_weight:g} x {factor['barrier_win_rate']:.3f} "
                f"({percent(steps.barrier_up)} before {percent(-steps.barrier_down)}) + {weights.return_weight:.3g} x "
                f"{factor['return_win_rate']:.3f} ({'above the market' if steps.market_relative else 'higher'} "
                f"{weights.return_horizon} bars after entry)"
            )
            # A value may have a reason too: the mark of a seen date.
            said += f"; {factor['reason']}" if factor["reason"] else ""
        known = [
            f"{name} {percent(value, 1)}"
            for name, value in self.outcome.items()
            if name != "barrier" and value is not None
        ]
        lines = [
            f"{self.symbol} {self.date}: {said}",
            f"{self._scales()}window {self.window.dates[0]} to {self.date}; "
            f"what followed it: {', '.join(known) or 'not known yet'}",
        ]
        if not self.matches:
            return "\n".join([*lines, "no matches"])
        if factor["effective_matches"] is not None:
            effective = f"{factor['effective_matches']:.2f}"
            lines.append(f"effective matches {effective} of {len(self.matches)} (the value is no probability)")
        barrier = {1: f"{percent(steps.barrier_up)} first", -1: f"{percent(-steps.barrier_down)} first", 0: "neither"}
        frame = self.to_frame().drop(columns="weight")
        frame["share"] = [_or_dash(share, ".0%") for share in frame["share"]]
        frame["barrier"] = frame["barrier"].map(barrier)
        for name in self._parts():
            frame[name] = [_or_dash(part, ".3f") for part in frame[name]]
        formats = {"similarity": "{:.3f}".format} | {name: lambda value: percent(value, 1) for name in self._horizons()}
        shown = frame.rename(columns={"share": "weight"}).to_string(index=False, formatters=formats)
        return "\n".join([*lines, "", shown])

    def to_frame(self) -> pd.DataFrame:
        """One row per match: rank, symbol, end, known_on, similarity (in full mode followed by its parts), weight,
        share, r<h> of each horizon, barrier."""
        columns = ["rank", "symbol", "end", "known_on", "similarity", *self._parts(), "weight", "share"]
        columns += [*self._horizons(), "barrier"]
        return pd.DataFrame([match.to_dict() for match in self.matches], columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON values, with the query's bars and without those of its matches."""
        return {
            "symbol": self.symbol,
            "date": str(self.date),
            "fingerprint": self.fingerprint,
            **{name: self.factor[name] for name in (*_FIGURES, *_DISTRIBUTION)},
            "outcome": self.outcome,
            "window": [
                {"date": str(day), "open": o, "high": h, "low": low, "close": c}
                for day, o, h, low, c in zip(
                    self.window.dates,
                    *(getattr(self.window, name).tolist() for name in ("open", "high", "low", "close")),
                    strict=True,
                )
            ],
            "matches": [match.to_dict() for match in self.matches],
        }

    def _parts(self) -> tuple[str, ...]:
        return PART_NAMES if self.settings.factor.mode == "full" else ()

    def _scales(self) -> str:
        steps = self.settings.patterns
        if steps.scales == (1,):
            return ""
        pairs = zip(steps.scales, steps.weights_of_scales, strict=True)
        named = ", ".join(f"{scale} (weight {weight:.3g})" for scale, weight in pairs)
        return f"charts of {named} bars per candle, {steps.span_bars} bars in all; "

    def _horizons(self) -> list[str]:
        return [f"r{bars}" for bars in self.settings.patterns.horizons]


def explain_sample(
    home: Home,
    symbol: str,
    date: str | datetime.date | np.datetime64 | None,
    settings: Settings,
    encoder_path: str | Path | None = None,
    device: str = "auto",
) -> Explanation:
    """Find the matches of a symbol on a date, in the newest state of a home. Stores nothing.

    Args:
        home: Home with the bars and patterns.
        symbol: Symbol of the query, as `resolve_symbols` takes it.
        date: Last day of the query's window; None for the newest usable day.
        settings: As for a run.
        encoder_path: Weights of the encoder; None for the default ones.
        device: Device of the encoder: auto, cpu, cuda or mps.

    Raises:
        UnknownSymbolError: The home has no bars of the symbol.
        AmbiguousSymbolError: Several symbols may be meant.
        DateError: The date cannot be parsed, or the symbol has no bar or no usable window on it.
        EncoderError: The encoder was trained through the date, and `allow_seen` is false.
        StaleError, FingerprintError, HomeError: As for a run.
    """
    return explain_loaded(loaded_state(StateKey.newest(home, settings, encoder_path, device)), symbol, date)


def explain_loaded(loaded: LoadedState, symbol: str, date: str | datetime.date | np.datetime64 | None) -> Explanation:
    """`explain_sample` in a loaded state. Raises as it does, except for what loading raises."""
    # A run computes under the same thread limit and must give the same value.
    single_threaded()
    bars = symbol_bars(loaded, *resolve_symbols([symbol], loaded.frames))
    end = _query_end(loaded, bars, date)
    day = bars.dates[end]
    sample = SymbolSamples(bars.symbol, bars.dates[end : end + 1], np.array([NEVER_REUSED]))
    scored = score_batch(loaded, Batch((sample,)))
    pairs = scored.matches.to_pylist()
    total = sum(pair["weight"] for pair in pairs)
    settings = loaded.key.settings
    steps = settings.patterns
    followed = outcomes(bars.dates, bars.open, bars.high, bars.low, bars.close, np.array([end]), steps)
    returns = followed.returns[0]
    if steps.market_relative:
        own, market = market_returns_of(loaded.frames, [bars.symbol], np.zeros(1, np.int32), np.array([end]), steps)
        returns = relative_returns(own, market)[0].astype(np.float32)
    known = [None if np.isnan(value) else value for value in returns.astype(np.float64).tolist()]
    label = int(followed.barrier[0])
    return Explanation(
        symbol=bars.symbol,
        date=day,
        settings=settings,
        fingerprint=loaded.key.fingerprint,
        factor=scored.factors.to_pylist()[0],
        window=bars.part(end + 1 - steps.window_bars, end + 1),
        after=bars.part(end + 1, end + 1 + steps.outcome_bars),
        outcome={f"r{h}": value for h, value in zip(steps.horizons, known, strict=True)}
        | {"barrier": None if label == UNDECIDED else label},
        matches=[
            _match(loaded, pair, total, parts)
            for pair, parts in zip(pairs, _parts(loaded, bars, end, pairs), strict=True)
        ],
        candles=_larger_candles(bars, end, steps),
    )


def _parts(
    loaded: LoadedState, bars: SymbolBars, end: int, pairs: list[dict[str, Any]]
) -> list[dict[str, float | None]]:
    """Parts of the similarity of each match with the window of `bars` that ends on the bar `end`."""
    settings = loaded.key.settings
    if settings.factor.mode != "full" or not pairs:
        return [{} for _ in pairs]
    steps = settings.patterns
    query = window_prices(bars, np.array([end]), steps.window_bars)
    rows = [
        window_prices(frame, frame.find(np.array([pair["match_end"]], dtype="datetime64[D]")), steps.window_bars)
        for pair in pairs
        for frame in [loaded.frames[pair["match_symbol"]]]
    ]
    found = similarity_parts(query, WindowPrices(*map(np.concatenate, zip(*rows, strict=True))))
    twice = found.similarity(settings.factor)
    parts = []
    for at, pair in enumerate(pairs):
        named: dict[str, float | None] = dict(zip(PART_NAMES, (float(part[at]) for part in found), strict=True))
        if pair["similarity"] != twice[at]:
            named |= {"pixels": None, "edges": None}
        parts.append(named)
    return parts


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


def _match(loaded: LoadedState, pair: dict[str, Any], total: float, parts: dict[str, float | None]) -> Match:
    """A match from its row of the `matches` table, with its bars."""
    settings = loaded.key.settings.patterns
    bars = loaded.frames[pair["match_symbol"]]
    end = int(bars.find(np.array([pair["match_end"]], dtype="datetime64[D]"))[0])
    return Match(
        rank=pair["rank"],
        symbol=bars.symbol,
        end=bars.dates[end],
        known_on=bars.dates[end + settings.outcome_bars],
        similarity=pair["similarity"],
        weight=pair["weight"],
        share=pair["weight"] / total if total > 0 else float("nan"),
        returns={f"r{h}": pair[f"r{h}"] for h in settings.horizons},
        barrier=pair["barrier"],
        window=bars.part(end + 1 - settings.window_bars, end + 1),
        after=bars.part(end + 1, end + 1 + settings.outcome_bars),
        parts=parts,
        candles=_larger_candles(bars, end, settings),
    )


def _larger_candles(bars: SymbolBars, end: int, steps: PatternSettings) -> dict[int, WindowPrices]:
    larger = (scale for scale in steps.scales if scale > 1)
    return {scale: window_prices(bars, np.array([end]), steps.window_bars, scale) for scale in larger}


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None or np.isnan(value) else format(value, form)
