"""Market-relative outcomes: forward returns minus the mean forward return of the market over the same days.

The market of a window, at horizon h, is all symbols of the home with a traded bar both on the day of its entry and on
that of its exit, its own among them, without those of which an unexplained jump (`kline_core.bars.jumps`) lies between;
each weighs the same. Fewer than two are no market, and the window is no pattern.

Point in time: the mean depends on bars up to the exit alone, which is not after `known_on`. It does depend on which
symbols the home holds: where a symbol or a bar is added later, the outcomes of days that it joins change. So the mean
is part of a pattern's content hash (`market_content`): `kline index` makes such patterns again, and the values that
they stood behind no longer count as current. A run before that is refused, as after any restated bar.

Returns are rounded to steps as all outcomes are, so that their sum is exact in any order.
"""

import numpy as np

from kline_core._hashing import mix64
from kline_core.bars.symbol_bars import BarsBySymbol, group_by_code
from kline_core.settings import PatternSettings
from kline_core.typing import Dates, Floats64, Hashes, Int32s, Int64s
from kline_core.windows.outcomes import RETURN_STEPS, return_steps
from kline_core.windows.windows import jumps_between


def market_returns_of(
    frames: BarsBySymbol, symbols: list[str], code: Int32s, bar: Int64s, settings: PatternSettings
) -> tuple[Floats64, Floats64]:
    """Forward returns of n windows and of their markets, in steps of 1 / `RETURN_STEPS`.

    Args:
        frames: Bars of all symbols.
        symbols: Names behind `code`.
        code: int32 (n,): symbol of each window.
        bar: int64 (n,): ordinal of each window's last bar.
        settings: `entry_lag_bars`, `horizons` and `allow_jumps` are used.

    Returns:
        Two float64 (n, horizons), whole numbers and means of such; NaN where the exit is not known yet, and the second
        where there is no market.
    """
    shape = len(code), len(settings.horizons)
    own, market = np.full(shape, np.nan), np.full(shape, np.nan)
    entry = np.full(len(code), np.datetime64("NaT"), dtype="datetime64[D]")
    exits = np.full(shape, np.datetime64("NaT"), dtype="datetime64[D]")
    for which, at in group_by_code(code):
        bars = frames[symbols[which]]
        first = bar[at] + settings.entry_lag_bars
        for column, horizon in enumerate(settings.horizons):
            known = np.flatnonzero(first + horizon < len(bars))
            rows, here = at[known], first[known]
            entry[rows], exits[rows, column] = bars.dates[here], bars.dates[here + horizon]
            own[rows, column] = return_steps(bars.close[here], bars.close[here + horizon])
    for column in range(shape[1]):
        known = np.flatnonzero(~np.isnat(exits[:, column]))
        days = np.stack([entry[known], exits[known, column]], axis=1)
        pairs, of = np.unique(days.astype(np.int64), axis=0, return_inverse=True)
        mean = _market_mean(frames, pairs.astype("datetime64[D]"), settings.allow_jumps)
        market[known, column] = mean[of.ravel()]
    return own, market


def relative_returns(own: Floats64, market: Floats64) -> Floats64:
    """Market-relative forward returns, as fractions, from both in steps."""
    relative: Floats64 = (own - market) / RETURN_STEPS
    return relative


def market_content(content: Hashes, market: Floats64) -> Hashes:
    """Hash of windows and their markets: uint64 (n,). `market`: float64 (n, horizons)."""
    for column in range(market.shape[1]):
        # The sum with 0.0 leaves one zero of two.
        content = mix64(content ^ np.ascontiguousarray(market[:, column] + 0.0).view(np.uint64))
    return content


def _market_mean(frames: BarsBySymbol, pairs: Dates, allow_jumps: bool) -> Floats64:
    """Mean return, in steps, from the first to the second of each of p pairs of days, (p, 2): float64 (p,)."""
    total, count = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=np.int64)
    days, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(pairs.shape)
    for symbol in sorted(frames):
        bars = frames[symbol]
        at = bars.find(days)[place]
        there = (at >= 0).all(axis=1)
        if not allow_jumps:
            there &= ~jumps_between(bars, at[:, 0], at[:, 1])
        rows = np.flatnonzero(there)
        total[rows] += return_steps(bars.close[at[rows, 0]], bars.close[at[rows, 1]])
        count[rows] += 1
    return np.where(count >= 2, total / np.maximum(count, 1), np.nan)
