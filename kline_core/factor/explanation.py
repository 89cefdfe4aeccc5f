"""A sample with its value, its matches and their outcomes, as a person inspects them: as text, frame, and JSON."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from kline_core._text import percent
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars
from kline_core.factor.attention import Attention
from kline_core.factor.kernel_means import LEVEL
from kline_core.factor.searchable import Searchable
from kline_core.search.full_mode import PART_NAMES, similarity_parts
from kline_core.settings import PatternSettings, Settings
from kline_core.store.schemas import MANY
from kline_core.typing import Dates
from kline_core.windows.market import market_returns_of, relative_returns
from kline_core.windows.outcomes import UNDECIDED, outcomes
from kline_core.windows.prices import WindowPrices, window_prices

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
    known_on: np.datetime64 | None
    """datetime64[D]: first date on which its whole outcome was known; never after the query's date. None if its bars
    are gone."""
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
    """The `window_bars` bars of its window; none if they are gone, which only a past run's match may find."""
    after: SymbolBars
    """The `outcome_bars` bars after the window, the entry bar among them; none if they are gone."""
    parts: dict[str, float | None] = field(default_factory=dict)
    """In full mode the parts of the similarity, 0..1 each: dtw, price, return, shape, pixels, edges; the last two are
    None, and count as 0, if the chart was not looked at. Empty in fast mode, whose similarity has no parts."""
    candles: Mapping[int, WindowPrices] = field(default_factory=dict)
    """Its chart in each time scale above 1, by the scale: float64 (1, window_bars)."""

    def to_dict(self) -> dict[str, Any]:
        """The match as plain JSON values, without its bars."""
        share = None if np.isnan(self.share) else self.share
        columns = {"rank": self.rank, "symbol": self.symbol, "end": str(self.end)}
        columns["known_on"] = None if self.known_on is None else str(self.known_on)
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
    candle_dates: Mapping[int, Dates] = field(default_factory=dict)
    """datetime64[D] (window_bars,) by the scale: last bar of each of these candles."""
    searchable: Searchable | None = None
    """Which part of history was searchable; None if a past run's patterns are gone."""
    run: str | None = None
    """Id of the run whose stored value and matches these are; None if they were computed live."""
    notes: tuple[str, ...] = ()
    """What is to be known of a past run's explanation: of which version its bars are, what is gone."""
    attention: Attention | None = None
    """On which candles the likeness to each match rests; None unless it was asked for."""

    def text(self) -> str:
        """The explanation as text for a terminal."""
        steps, weights, factor = self.settings.patterns, self.settings.factor, self.factor
        said = f"no value: {factor['reason']}"
        if factor["value"] is not None:
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
            *([str(self.searchable)] if self.searchable is not None else []),
            *([f"run {self.run}: {'; '.join(self.notes)}"] if self.run is not None else []),
        ]
        if weights.many:
            lines.append(self._from_many())
        if not self.matches:
            return "\n".join([*lines, "no matches"])
        if factor["effective_matches"] is not None:
            effective = f"{factor['effective_matches']:.2f}"
            lines.append(f"effective matches {effective} of {len(self.matches)} (the value is no probability)")
        barrier = {1: f"{percent(steps.barrier_up)} first", -1: f"{percent(-steps.barrier_down)} first", 0: "neither"}
        frame = self.to_frame().drop(columns="weight")
        frame["share"] = [_or_dash(share, ".0%") for share in frame["share"]]
        frame["barrier"] = frame["barrier"].map(barrier)
        frame["known_on"] = frame["known_on"].fillna("-")
        for name in self._parts():
            frame[name] = [_or_dash(part, ".3f") for part in frame[name]]
        formats = {"similarity": "{:.3f}".format} | {name: lambda value: percent(value, 1) for name in self._horizons()}
        shown = frame.rename(columns={"share": "weight"}).to_string(index=False, formatters=formats)
        lines += ["", shown]
        if self.attention is not None:
            lines += ["", self._attended()]
        return "\n".join(lines)

    def to_frame(self) -> pd.DataFrame:
        """One row per match: rank, symbol, end, known_on, similarity (in full mode followed by its parts), weight,
        share, r<h> of each horizon, barrier."""
        columns = ["rank", "symbol", "end", "known_on", "similarity", *self._parts(), "weight", "share"]
        columns += [*self._horizons(), "barrier"]
        return pd.DataFrame([match.to_dict() for match in self.matches], columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON values, with the query's bars and candles and without those of its matches."""
        return {
            "symbol": self.symbol,
            "date": str(self.date),
            "fingerprint": self.fingerprint,
            "run": self.run,
            "notes": list(self.notes),
            "searchable": None if self.searchable is None else self.searchable.to_dict(),
            **{name: self.factor[name] for name in (*_FIGURES, *_DISTRIBUTION)},
            **({name: self.factor[name] for name in MANY} if self.settings.factor.many else {}),
            "outcome": self.outcome,
            "window": [
                {"date": str(day), "open": o, "high": h, "low": low, "close": c}
                for day, o, h, low, c in zip(
                    self.window.dates,
                    *(getattr(self.window, name).tolist() for name in ("open", "high", "low", "close")),
                    strict=True,
                )
            ],
            **({"candles": self._larger()} if self.candles else {}),
            "matches": [match.to_dict() for match in self.matches],
            **({} if self.attention is None else {"attention": self.attention.to_dict()}),
        }

    def _from_many(self) -> str:
        """The second value in words."""
        factor, settings = self.factor, self.settings.factor
        if factor["many_rank"] is None:
            # A sample whose computation broke has the reason of its value alone.
            return f"no mean of the nearest {settings.many}: {factor['many_reason'] or factor['reason']}"
        return (
            f"nearest {settings.many}: mean rank {factor['many_rank']:+.4f} ({LEVEL:.0%} {factor['many_low']:+.4f} to "
            f"{factor['many_high']:+.4f}) of the {settings.return_horizon}-bar returns among those of each day, of "
            f"{factor['many_windows']} windows with a rank, {factor['many_quarters']:.1f} effective quarters"
        )

    def _larger(self) -> dict[str, list[dict[str, Any]]]:
        """The query's candles in each time scale above 1, by the scale; a candle's date is that of its last bar."""
        return {
            str(scale): [
                {"date": str(day), "open": o, "high": h, "low": low, "close": c}
                for day, o, h, low, c in zip(
                    self.candle_dates[scale], *(price[0].tolist() for price in prices), strict=True
                )
            ]
            for scale, prices in self.candles.items()
        }

    def _attended(self) -> str:
        """The strongest candle of the attention map of the best match, in words."""
        assert self.attention is not None, "it was asked for"
        scale, at = self.attention.strongest()
        candle = f"candle {at + 1} of {self.settings.patterns.window_bars}"
        if scale == 1:
            candle += f" ({self.window.dates[at]})"
        else:
            candle += f" of the chart of {scale} bars per candle"
        drop = self.attention.drops[scale][0, at]
        return (
            f"attention: the likeness to match 1 ({self.attention.similarity[0]:.3f}) rests most on {candle}; without "
            f"it, it is {drop:.3f} less (by occlusion: a picture of the encoder, no proof)"
        )

    def _parts(self) -> tuple[str, ...]:
        return PART_NAMES if self.settings.factor.mode == "full" else ()

    def _scales(self) -> str:
        steps = self.settings.patterns
        if steps.scales == (1,):
            return ""
        pairs = zip(steps.scales, steps.weights_of_scales, strict=True)
        named = ", ".join(f"{scale} (weight {weight:.3g})" for scale, weight in pairs)
        said = f"charts of {named} bars per candle, {steps.span_bars} bars in all"
        # Full mode's own similarity is that of the daily bars.
        return f"{said}, choose the candidates; " if self.settings.factor.mode == "full" else f"{said}; "

    def _horizons(self) -> list[str]:
        return [f"r{bars}" for bars in self.settings.patterns.horizons]


def outcome_of(frames: BarsBySymbol, symbol: str, end: int, steps: PatternSettings) -> dict[str, float | int | None]:
    """What followed the window of a symbol that ends on its bar `end`: r1, r5, ... and barrier; None if not known yet.

    `frames`: bars of all symbols, if outcomes are relative to the market; those of the symbol are enough if not.
    """
    bars, ends = frames[symbol], np.array([end])
    followed = outcomes(bars.dates, bars.open, bars.high, bars.low, bars.close, ends, steps)
    returns = followed.returns[0]
    if steps.market_relative:
        own, market = market_returns_of(frames, [symbol], np.zeros(1, np.int32), ends, steps)
        returns = relative_returns(own, market)[0].astype(np.float32)
    known = [None if np.isnan(value) else value for value in returns.astype(np.float64).tolist()]
    label = int(followed.barrier[0])
    named: dict[str, float | int | None] = {f"r{h}": value for h, value in zip(steps.horizons, known, strict=True)}
    return named | {"barrier": None if label == UNDECIDED else label}


def matches_of(
    frames: BarsBySymbol,
    symbol: str,
    end: int,
    pairs: list[dict[str, Any]],
    settings: Settings,
    gone: Collection[int] = (),
    within: float = 0.0,
) -> list[Match]:
    """Matches from their rows of the `matches` table, best first, with their bars.

    Args:
        frames: Bars of the symbols.
        symbol: Symbol of the sample.
        end: Its bar on which the sample's window ends.
        pairs: Rows of the matches.
        settings: Settings of the sample.
        gone: Ranks of the matches whose bars are not to be had.
        within: Difference up to which the similarity of full mode is the same if it is computed again.
    """
    total = sum(pair["weight"] for pair in pairs)
    there = [pair for pair in pairs if pair["rank"] not in gone]
    parts = _parts_of(frames, frames[symbol], end, there, settings, within)
    found = {pair["rank"]: each for pair, each in zip(there, parts, strict=True)}
    none = dict.fromkeys(PART_NAMES if settings.factor.mode == "full" else ())
    no_bars = frames[symbol].part(0, 0)
    return [
        _match(frames, pair, total, found[pair["rank"]], settings.patterns)
        if pair["rank"] in found
        else _stored_match(pair, total, settings.patterns, no_bars, dict(none))
        for pair in pairs
    ]


def _parts_of(
    frames: BarsBySymbol, bars: SymbolBars, end: int, pairs: list[dict[str, Any]], settings: Settings, within: float
) -> list[dict[str, float | None]]:
    """Parts of the similarity of each match with the window of `bars` that ends on the bar `end`."""
    if settings.factor.mode != "full" or not pairs:
        return [{} for _ in pairs]
    steps = settings.patterns
    query = window_prices(bars, np.array([end]), steps.window_bars)
    rows = [
        window_prices(frame, frame.find(np.array([pair["match_end"]], dtype="datetime64[D]")), steps.window_bars)
        for pair in pairs
        for frame in [frames[pair["match_symbol"]]]
    ]
    found = similarity_parts(query, WindowPrices(*map(np.concatenate, zip(*rows, strict=True))))
    twice = found.similarity(settings.factor)
    parts = []
    for at, pair in enumerate(pairs):
        named: dict[str, float | None] = dict(zip(PART_NAMES, (float(part[at]) for part in found), strict=True))
        if abs(pair["similarity"] - twice[at]) > within:
            named |= {"pixels": None, "edges": None}
        parts.append(named)
    return parts


def _stored_match(
    pair: dict[str, Any], total: float, steps: PatternSettings, no_bars: SymbolBars, parts: dict[str, float | None]
) -> Match:
    """A match as its row says it, without bars."""
    return Match(
        rank=pair["rank"],
        symbol=pair["match_symbol"],
        end=np.datetime64(pair["match_end"], "D"),
        known_on=None,
        similarity=pair["similarity"],
        weight=pair["weight"],
        share=pair["weight"] / total if total > 0 else float("nan"),
        returns={f"r{h}": pair[f"r{h}"] for h in steps.horizons},
        barrier=pair["barrier"],
        window=no_bars,
        after=no_bars,
        parts=parts,
    )


def _match(
    frames: BarsBySymbol, pair: dict[str, Any], total: float, parts: dict[str, float | None], steps: PatternSettings
) -> Match:
    bars = frames[pair["match_symbol"]]
    end = int(bars.find(np.array([pair["match_end"]], dtype="datetime64[D]"))[0])
    return replace(
        _stored_match(pair, total, steps, bars.part(0, 0), parts),
        known_on=bars.dates[end + steps.outcome_bars],
        window=bars.part(end + 1 - steps.window_bars, end + 1),
        after=bars.part(end + 1, end + 1 + steps.outcome_bars),
        candles=larger_candles(bars, end, steps),
    )


def larger_candles(bars: SymbolBars, end: int, steps: PatternSettings) -> dict[int, WindowPrices]:
    """The chart of the window that ends on the bar `end` in each time scale above 1: float64 (1, window_bars)."""
    larger = (scale for scale in steps.scales if scale > 1)
    return {scale: window_prices(bars, np.array([end]), steps.window_bars, scale) for scale in larger}


def larger_candle_dates(bars: SymbolBars, end: int, steps: PatternSettings) -> dict[int, Dates]:
    """Last bar of each candle of `larger_candles`: datetime64[D] (window_bars,) by the scale."""
    back = np.arange(1 - steps.window_bars, 1)
    return {scale: bars.dates[end + scale * back] for scale in steps.scales if scale > 1}


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None or np.isnan(value) else format(value, form)
