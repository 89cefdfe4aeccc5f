"""The extent of a market: its bars and patterns, and what each job has to compute, all of it counted.

A job is a set of samples. What one costs depends on three numbers: how many there are, of how many the window is no
pattern yet and has to be drawn and encoded, and how many patterns all of them together may see (`seen`). They are
counted from the windows and the catalogue, by the functions that index and run use, with two simplifications. The usual
samples of a symbol count as if they lay evenly among its windows, as they are chosen up to rounding
(`kline_core.factor.sample_dates.choose_dates`). A market without a home has symbols of equal length without a hole.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core._setting_types import check, is_whole
from kline_core.bars.sessions import sessions_until
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars, group_by_code
from kline_core.patterns.catalogue import build_catalogue
from kline_core.settings import PatternSettings
from kline_core.typing import Dates
from kline_core.windows.windows import usable_ends

MOST_SYMBOLS = 1_000_000
MOST_YEARS = 30.0
"""Calendars know their sessions from 1990 on."""
DAYS_OF_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one job."""

    symbols: int
    """Symbols that have any."""
    samples: int
    encoded: float
    """Those whose window is no pattern, and so has to be drawn and encoded."""
    seen: float
    """Patterns that they may see, summed over all of them."""

    @property
    def each(self) -> int:
        """Samples of a symbol, on average."""
        return round(self.samples / self.symbols) if self.symbols else 0


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is, and how much each job has to compute."""

    symbols: int
    bars: int
    """Traded bars, of which windows are made."""
    patterns: int
    days: int
    """Days from the first bar to the last."""
    new_patterns: float
    """Patterns that a day adds, on average."""
    daily: Samples
    """The newest window of each symbol that has a bar on the newest day."""
    first: Samples
    """The usual samples of each symbol, none of them stored."""
    backfill: Samples
    """Every window of the last years."""

    @classmethod
    def of(
        cls, frames: BarsBySymbol, settings: PatternSettings, samples: int, years: float | None, times: int = 1
    ) -> Self:
        """Count the extent of bars.

        Args:
            frames: Bars by symbol.
            settings: What a pattern is.
            samples: Samples of a symbol in the first run.
            years: Years of the backfill, up to the newest bar; None for all.
            times: Counts each symbol so many times, as symbols with bars of the same days.

        Raises what `build_catalogue` raises.
        """
        windows = build_catalogue(frames, settings)
        patterns = {windows.symbols[code]: windows.end[at] for code, at in group_by_code(windows.code)}
        filled = [frame for frame in frames.values() if len(frame)]
        newest = max((frame.dates[-1] for frame in filled), default=np.datetime64(0, "D"))
        oldest = min((frame.dates[0] for frame in filled), default=newest)
        after = oldest - 1 if years is None else newest - int(years * DAYS_OF_A_YEAR)
        parts: list[list[Samples]] = [[], [], []]
        for frame in filled:
            days = frame.dates[usable_ends(frame, settings)]
            if len(days) == 0:
                continue
            seen = times * np.searchsorted(windows.known_on, days, side="right")
            ends = patterns.get(frame.symbol, days[:0])
            count = min(samples, len(days))
            share = count / len(days)
            if days[-1] == newest:
                parts[0].append(Samples(1, 1, 1.0, float(seen[-1])))
            parts[1].append(Samples(1, count, share * (len(days) - len(ends)), share * float(seen.sum())))
            if filling := int((days > after).sum()):
                encoded = filling - int((ends > after).sum())
                parts[2].append(Samples(1, filling, float(encoded), float(seen[days > after].sum())))
        daily, first, backfill = (_sum(part, times) for part in parts)
        return cls(
            symbols=times * len(frames),
            bars=times * sum(map(len, filled)),
            patterns=times * len(windows),
            days=int((newest - oldest).astype(np.int64)) + 1,
            new_patterns=daily.samples / settings.pattern_stride,
            daily=daily,
            first=first,
            backfill=backfill,
        )

    @classmethod
    def of_market(
        cls, symbols: int, years: float, newest: np.datetime64, settings: PatternSettings, samples: int
    ) -> Self:
        """Count the extent of a market of so many symbols, each with a bar on every session of some years.

        `newest`: the newest day, datetime64[D]; sessions are those of `settings.calendar`. Raises `SettingError` for a
        number out of bounds, and as `sessions_until`.
        """
        check(is_whole(symbols) and 1 <= symbols <= MOST_SYMBOLS, "symbols", symbols, f"1 to {MOST_SYMBOLS}")
        check_years(years)
        days = sessions_until(newest, int(years * DAYS_OF_A_YEAR) + 1, settings.calendar)
        days = days[days > newest - int(years * DAYS_OF_A_YEAR)]
        return cls.of({"EACH": _bars(days)}, settings, samples, years, symbols)


def check_years(years: float) -> None:
    """Raise `SettingError` for years that no plan is made of."""
    ok = isinstance(years, int | float) and 0 < years <= MOST_YEARS
    check(ok, "years", years, f"above 0 and at most {MOST_YEARS:g}")


def _sum(parts: list[Samples], times: int) -> Samples:
    return Samples(
        times * len(parts),
        times * sum(part.samples for part in parts),
        times * sum(part.encoded for part in parts),
        times * sum(part.seen for part in parts),
    )


def _bars(days: Dates) -> SymbolBars:
    """Bars of which only the days count."""
    ones = np.ones(len(days))
    return SymbolBars(
        symbol="EACH",
        dates=days,
        **dict.fromkeys(("open", "high", "low", "close", "volume", "adj_factor"), ones),
        content=np.zeros(len(days), dtype=np.uint64),
        jumps=np.zeros(len(days), dtype=np.bool_),
    )
