"""The catalogue of the windows that are patterns: those whose outcome is known.

The `patterns` table is this catalogue with a vector and an outcome for each window. `kline index` adds the windows that
the table lacks, and a run refuses a table that is not exactly the catalogue of its bars
(`kline_core.patterns.verified`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kline_core._cache import loaded
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.columns import PRICES
from kline_core.bars.sessions import session_ordinal
from kline_core.bars.stretches import bars_around, stretches
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.settings import PatternSettings
from kline_core.typing import Dates, Floats32, Hashes, Int8s, Int32s, Int64s
from kline_core.windows.market import market_content, market_returns_of, relative_returns
from kline_core.windows.outcomes import outcomes
from kline_core.windows.windows import any_between, usable_in, window_content


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The n windows of all symbols whose outcomes are known, ordered by (known_on, symbol, end)."""

    symbols: list[str]
    """Symbols of the bars, sorted, including those without a window."""
    code: Int32s
    """int32 (n,): position in `symbols`."""
    bar: Int64s
    """int64 (n,): ordinal of the window's last bar among the symbol's traded bars."""
    end: Dates
    """datetime64[D] (n,): date of the window's last bar."""
    known_on: Dates
    """datetime64[D] (n,), ascending: first date on which every outcome is known."""
    content: Hashes
    """uint64 (n,): hash of the bars from the window's first to its outcome's last, and of the market's mean returns
    where outcomes are relative to it."""

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.code)

    def take(self, at: NDArray[Any] | slice) -> "Catalogue":
        """The windows at positions, in a slice or under a mask."""
        return Catalogue(self.symbols, self.code[at], self.bar[at], self.end[at], self.known_on[at], self.content[at])

    def followed_by(self, later: "Catalogue") -> "Catalogue":
        """These windows and then the `later` ones, which became known after all of them.

        `later.symbols` holds the symbols of both.
        """
        return Catalogue(
            later.symbols,
            np.concatenate([self._codes_in(later.symbols), later.code]),
            *(
                np.concatenate([getattr(self, name), getattr(later, name)])
                for name in ("bar", "end", "known_on", "content")
            ),
        )

    def continues(self, earlier: "Catalogue") -> bool:
        """Whether the `earlier` windows are a prefix of these."""
        first = slice(0, len(earlier))
        return (
            len(earlier) <= len(self)
            and set(earlier.symbols) <= set(self.symbols)
            and np.array_equal(earlier._codes_in(self.symbols), self.code[first])
            and all(
                np.array_equal(getattr(earlier, name), getattr(self, name)[first])
                for name in ("bar", "end", "known_on", "content")
            )
        )

    def find(self, symbol: pa.ChunkedArray, end: pa.ChunkedArray) -> Int64s:
        """Position of each (symbol, end) among the windows: int64, as long as `symbol`, -1 if it is none of them."""
        return WindowFinder.of(self).find(symbol, end)

    def _codes_in(self, symbols: list[str]) -> Int32s:
        """Codes of the windows as positions in other `symbols`, a superset of the catalogue's."""
        if symbols == self.symbols:
            return self.code
        position = {name: at for at, name in enumerate(symbols)}
        return np.array([position[name] for name in self.symbols], dtype=np.int32)[self.code]


@dataclass(frozen=True, slots=True, eq=False)
class WindowFinder:
    """Windows of a catalogue by symbol and end, sorted once for all that is looked up."""

    names: pa.Array
    """Symbols of the catalogue."""
    keys: Int64s
    """int64 (n,), ascending: symbol and end as one number."""
    place: Int64s
    """int64 (n,): position of each in the catalogue."""

    @classmethod
    def of(cls, windows: Catalogue) -> Self:
        """Sort the windows of a catalogue."""
        keys = _keys(windows.code, windows.end)
        place = np.argsort(keys)
        return cls(pa.array(windows.symbols, pa.string()), keys[place], place)

    def find(self, symbol: pa.ChunkedArray, end: pa.ChunkedArray) -> Int64s:
        """As `Catalogue.find`."""
        code = pc.fill_null(pc.index_in(symbol.cast(pa.string()), value_set=self.names), -1).to_numpy()
        asked = _keys(code, end.to_numpy().astype("datetime64[D]"))
        at = np.searchsorted(self.keys, asked)
        found = np.full(len(asked), -1, dtype=np.int64)
        inside = np.flatnonzero(at < len(self.keys))
        hit = inside[self.keys[at[inside]] == asked[inside]]
        found[hit] = self.place[at[hit]]
        return found


def build_catalogue(frames: BarsBySymbol, settings: PatternSettings, had: Mapping[str, int] | None = None) -> Catalogue:
    """Catalogue of the windows whose outcome is known.

    Args:
        frames: Bars of each symbol.
        settings: All of them but the barriers' distances are used.
        had: Number of bars of each symbol at an earlier state; a symbol that it does not name had none. The windows
            known at that state are left out, and cost nothing.

    Raises:
        DateError: A bar lies on no session of `settings.calendar`; asked only if `pattern_stride` is above 1.
        SettingError: That calendar is unknown or cannot be made.
    """
    symbols, reach = sorted(frames), settings.outcome_bars
    count = np.array([len(frames[symbol].dates) for symbol in symbols], dtype=np.int64)
    least = np.maximum(0, np.array([(had or {}).get(symbol, 0) for symbol in symbols], dtype=np.int64) - reach)
    which = np.flatnonzero(least + reach < count)
    # Bars before the first new window do not change which windows are usable.
    start = np.maximum(0, least - settings.span_bars + 1)
    parts: list[tuple[NDArray[Any], ...]] = []
    names, asked = [symbols[at] for at in which.tolist()], ("dates", "jumps", "content")
    for part in stretches(frames, names, start[which], count[which], asked):
        dates, own = part.columns["dates"], which[part.asked]
        at = usable_in(part, settings)
        among, bar = part.find(at)
        new = (bar >= least[own][among]) & (bar + reach < count[own][among])
        at, among, bar = at[new], among[new], bar[new]
        if not settings.allow_jumps:
            sound = ~any_between(part.columns["jumps"], at, at + reach)
            at, among, bar = at[sound], among[sound], bar[sound]
        if settings.pattern_stride > 1:
            due = session_ordinal(dates[at], settings.calendar) % settings.pattern_stride == 0
            at, among, bar = at[due], among[due], bar[due]
        content = window_content(part.columns["content"], at, 1 - settings.span_bars, reach)
        parts.append((own[among].astype(np.int32), bar, dates[at], dates[at + reach], content))
    if not parts:
        day = np.zeros(0, "datetime64[D]")
        return Catalogue(symbols, np.zeros(0, np.int32), np.zeros(0, np.int64), day, day, np.zeros(0, np.uint64))
    code, bar, end, known, content = (np.concatenate(column) for column in zip(*parts, strict=True))
    if settings.market_relative:
        _, market = market_returns_of(frames, symbols, code, bar, settings)
        there = ~np.isnan(market).any(axis=1)
        code, bar, end, known = code[there], bar[there], end[there], known[there]
        content = market_content(content[there], market[there])
    order = np.lexsort((end, code, known))
    return Catalogue(symbols, code[order], bar[order], end[order], known[order], content[order])


def window_outcomes(frames: BarsBySymbol, windows: Catalogue, settings: PatternSettings) -> tuple[Floats32, Int8s]:
    """Outcomes of n windows of any symbols: forward returns float32 `(n, horizons)`, barrier labels int8 `(n,)`."""
    returns = np.empty((len(windows), len(settings.horizons)), dtype=np.float32)
    barrier = np.empty(len(windows), dtype=np.int8)
    asked, reach = ("dates", *PRICES), settings.outcome_bars
    for part in bars_around(frames, windows.symbols, windows.code, windows.bar, 0, reach, asked):
        dates, open_, high, low, close = (part.columns[name] for name in asked)
        followed = outcomes(dates, open_, high, low, close, part.ends, settings)
        returns[part.windows], barrier[part.windows] = followed.returns, followed.barrier
    if settings.market_relative:
        own, market = market_returns_of(frames, windows.symbols, windows.code, windows.bar, settings)
        returns[:] = relative_returns(own, market)
    return returns, barrier


def _keys(code: NDArray[Any], end: Dates) -> Int64s:
    keys: Int64s = (code.astype(np.int64) << 32) + end.astype(np.int64)
    return keys


@dataclass(frozen=True, slots=True, eq=False)
class LoadedCatalogue:
    """The catalogue of one version of the bars; read-only."""

    windows: Catalogue
    files: frozenset[str]
    """Data files that the bars were read from."""


@dataclass(frozen=True, slots=True)
class CatalogueKey:
    """Key of the catalogue of bars under settings."""

    bars: BarsKey
    settings: PatternSettings

    def windows(self) -> Catalogue:
        """The catalogue, built if the process does not hold it. Raises as `load`."""
        return loaded(self).windows

    def load(self) -> LoadedCatalogue:
        """Build the catalogue of all bars. Raises as `BarsKey.load` and `build_catalogue`."""
        bars = loaded(self.bars)
        return LoadedCatalogue(build_catalogue(bars.frames, self.settings), bars.files)

    def advance(self, earlier: Self, value: LoadedCatalogue) -> LoadedCatalogue | None:
        """Add the windows that became known since; None unless the bars were advanced from the earlier key's.

        None too where outcomes are relative to the market, which bars of earlier days may have joined.
        """
        if self.settings.market_relative:
            return None
        bars = loaded(self.bars)
        base = bars.base
        if base is None or earlier != CatalogueKey(base.key, self.settings) or value.files != base.files:
            return None
        later = build_catalogue(bars.frames, self.settings, base.bars)
        return LoadedCatalogue(value.windows.followed_by(later), bars.files)
