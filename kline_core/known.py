"""The windows that are patterns now, and how the stored patterns compare with them.

Both ways between `bars` and `patterns` go through here: `kline index` adds what is missing, and a run refuses patterns
that are not exactly those that the bars give.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kline_core.bars import SymbolBars
from kline_core.calendar import session_ordinal
from kline_core.errors import FingerprintError
from kline_core.outcomes import outcomes
from kline_core.settings import PatternSettings, pattern_fingerprint
from kline_core.tables import Home
from kline_core.windows import usable_ends, window_content

Frames = Mapping[str, SymbolBars]


@dataclass(frozen=True, slots=True, eq=False)
class KnownWindows:
    """Windows whose outcomes are known, of all symbols, ordered by (known_on, symbol, end)."""

    symbols: list[str]
    code: NDArray[np.int32]
    """int32 (n,): position in `symbols`."""
    bar: NDArray[np.int64]
    """int64 (n,): ordinal of the window's last bar among the symbol's traded bars."""
    end: NDArray[np.datetime64]
    known_on: NDArray[np.datetime64]
    content: NDArray[np.uint64]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.code)

    def take(self, at: NDArray[Any] | slice) -> "KnownWindows":
        """The windows at some positions, or where a mask is true."""
        return KnownWindows(
            self.symbols, self.code[at], self.bar[at], self.end[at], self.known_on[at], self.content[at]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Stored patterns against known windows."""

    place: NDArray[np.int64]
    """int64 (stored,): the window that each stored pattern is of, -1 for none."""
    sound: NDArray[np.bool_]
    """bool (stored,): the window is known, depends on the same bars as when it was stored, and is stored once."""
    missing: NDArray[np.int64]
    """int64, increasing: windows that no sound pattern is of."""


def known_windows(frames: Frames, settings: PatternSettings, had: Mapping[str, int] | None = None) -> KnownWindows:
    """The windows of `frames` that are patterns now.

    `had`: how many bars each symbol had earlier, none where it is not named. The windows that were known then are left
    out, and cost nothing.
    """
    symbols = sorted(frames)
    parts: list[tuple[NDArray[Any], ...]] = []
    for which, symbol in enumerate(symbols):
        bars = frames[symbol]
        least = max(0, (0 if had is None else had.get(symbol, 0)) - settings.outcome_bars)
        if least + settings.outcome_bars >= len(bars.dates):
            continue
        # Which windows are usable, the bars before the first one do not tell.
        start = max(0, least - settings.window_bars + 1)
        ends = start + usable_ends(bars.dates[start:], settings.window_bars, settings.max_gap_days)
        ends = ends[(ends >= least) & (ends + settings.outcome_bars < len(bars.dates))]
        if settings.pattern_stride > 1:
            ordinal = session_ordinal(bars.dates[ends], settings.calendar)
            ends = ends[ordinal % settings.pattern_stride == 0]
        content = window_content(bars.content, ends, 1 - settings.window_bars, settings.outcome_bars)
        known_on = bars.dates[ends + settings.outcome_bars]
        parts.append((np.full(len(ends), which, np.int32), ends, bars.dates[ends], known_on, content))
    if not parts:
        day = np.zeros(0, "datetime64[D]")
        return KnownWindows(symbols, np.zeros(0, np.int32), np.zeros(0, np.int64), day, day, np.zeros(0, np.uint64))
    code, bar, end, known, content = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((end, code, known))
    return KnownWindows(symbols, code[order], bar[order], end[order], known[order], content[order])


def joined(earlier: KnownWindows, later: KnownWindows) -> KnownWindows:
    """Windows of which the later ones all became known after the earlier ones; `later` has all the symbols."""
    return KnownWindows(
        later.symbols,
        np.concatenate([_renamed(earlier, later.symbols), later.code]),
        *(
            np.concatenate([getattr(earlier, name), getattr(later, name)])
            for name in ("bar", "end", "known_on", "content")
        ),
    )


def goes_on(windows: KnownWindows, earlier: KnownWindows) -> bool:
    """Whether `windows` are exactly the `earlier` ones and then perhaps more."""
    first = slice(0, len(earlier))
    return (
        len(earlier) <= len(windows)
        and set(earlier.symbols) <= set(windows.symbols)
        and np.array_equal(_renamed(earlier, windows.symbols), windows.code[first])
        and all(
            np.array_equal(getattr(earlier, name), getattr(windows, name)[first])
            for name in ("bar", "end", "known_on", "content")
        )
    )


def _renamed(windows: KnownWindows, symbols: list[str]) -> NDArray[np.int32]:
    """Codes of the windows as positions in other `symbols`, among which theirs are."""
    if symbols == windows.symbols:
        return windows.code
    place = {name: at for at, name in enumerate(symbols)}
    return np.array([place[name] for name in windows.symbols], dtype=np.int32)[windows.code]


def compare(stored: pa.Table, windows: KnownWindows) -> Comparison:
    """Compare stored patterns (columns symbol, end, content) with the windows that are known now."""
    place = places(windows, stored["symbol"], stored["end"])
    times = np.bincount(place[place >= 0], minlength=len(windows))
    content = stored["content"].to_numpy().view(np.uint64)
    sound = place >= 0
    sound[sound] = (windows.content[place[sound]] == content[sound]) & (times[place[sound]] == 1)
    have = np.zeros(len(windows), dtype=bool)
    have[place[sound]] = True
    return Comparison(place, sound, np.flatnonzero(~have))


def places(windows: KnownWindows, symbol: pa.ChunkedArray, end: pa.ChunkedArray) -> NDArray[np.int64]:
    """Which window each (symbol, end) is of: int64 (n,), -1 for none."""
    names = pa.array(windows.symbols, pa.string())
    code = pc.fill_null(pc.index_in(symbol.cast(pa.string()), value_set=names), -1).to_numpy()
    keys = _keys(windows.code, windows.end)
    by_key = np.argsort(keys)
    asked = _keys(code, end.to_numpy().astype("datetime64[D]"))
    at = np.searchsorted(keys, asked, sorter=by_key)
    place = np.full(len(asked), -1, dtype=np.int64)
    inside = np.flatnonzero(at < len(keys))
    candidate = by_key[at[inside]]
    hit = keys[candidate] == asked[inside]
    place[inside[hit]] = candidate[hit]
    return place


def what_followed(
    frames: Frames, windows: KnownWindows, settings: PatternSettings
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Outcomes of windows of any symbols: forward returns float32 `(n, horizons)` and barrier labels int8 `(n,)`."""
    returns = np.empty((len(windows), len(settings.horizons)), dtype=np.float32)
    barrier = np.empty(len(windows), dtype=np.int8)
    for which, at in by_code(windows.code):
        b = frames[windows.symbols[which]]
        followed = outcomes(b.dates, b.open, b.high, b.low, b.close, windows.bar[at], settings)
        returns[at], barrier[at] = followed.returns, followed.barrier
    return returns, barrier


def check_patterns(home: Home, settings: PatternSettings, encoder: str, version: int | None) -> None:
    """Refuse a `patterns` table that was made with other settings or another encoder (given by its fingerprint).

    Raises `FingerprintError`, which names what differs and what to do.
    """
    made = {} if version is None else home.description("patterns", version)
    if version is None or made.get("fingerprint") == pattern_fingerprint(settings, encoder):
        return
    asked = settings.to_dict() | {"encoder": encoder}
    stored = made.get("settings", {}) | {"encoder": made.get("encoder")}
    differences = ", ".join(
        f"{name} {stored.get(name, 'unset')} (now asked for: {asked.get(name, 'unset')})"
        for name in sorted(asked.keys() | stored.keys())
        if asked.get(name) != stored.get(name)
    )
    raise FingerprintError(
        f"the patterns of {home.uri} were made with {differences}; ask for the same, "
        "or make them again with `kline index --rebuild`"
    )


def by_code(code: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each code that occurs in `code` (n,), with its positions."""
    order = np.argsort(code, kind="stable")
    which, first = np.unique(code[order], return_index=True)
    yield from zip(which.tolist(), np.split(order, first)[1:], strict=True)


def _keys(code: NDArray[Any], end: NDArray[np.datetime64]) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = (code.astype(np.int64) << 32) + end.astype(np.int64)
    return keys
