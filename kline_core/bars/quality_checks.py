"""The checks of stored bars, each a generator of findings (`kline_core.bars.quality_report`)."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core._text import counted, percent
from kline_core.bars.jumps import Releases, is_released, unexplained_jumps
from kline_core.bars.price_limits import price_limit
from kline_core.bars.quality_report import finding
from kline_core.bars.quality_rows import Rows
from kline_core.bars.sessions import sessions_numbered
from kline_core.typing import Flags, Floats64, Int64s

Findings = Iterator[dict[str, Any]]

LOST_SHARE: Final = 0.2
"""Share of a session's symbols that must be missing beyond what is usual in the sessions around it."""
FEW_SYMBOLS: Final = 5
"""Symbols below which a session says nothing about lost days."""
AROUND: Final = 5
"""Sessions before and after one that say what is usual."""
STALE_SESSIONS: Final = 10
"""Sessions without a row after which a symbol counts as stale."""
REPEATS: Final = 3
"""Equal traded bars, one after the other, from which on they are reported."""
SPLITS: Final = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)
"""Ratios of usual splits, either way."""
SPLIT_CLOSE: Final = 0.04
"""Relative distance from such a ratio up to which a change looks like a split."""
UNIT_CLOSE: Final = 0.3
"""Distance in decimal digits of the mean price, amount by volume, from the close times a power of ten."""


def jumps(rows: Rows, releases: Releases, known: Int64s) -> Findings:
    """Unexplained jumps, and those that were released.

    `known`: traded bars of each symbol before the first of these rows, int64 (symbols,).
    """
    bars = rows.take(rows.traded)
    if len(bars) < 2:
        return
    change, before = _changes(bars)
    count = bars.counts() + known[bars.code]
    found = unexplained_jumps(bars.symbols[bars.code], count, bars.date, before, change)
    for at in np.flatnonzero(found).tolist():
        symbol, day = bars.symbols[bars.code[at]], bars.date[at]
        size = float(change[at])
        limit = price_limit(symbol, day)
        what = f"{percent(size)} from {before[at]}, beyond the limit of {100 * (limit or 0):.0f} %"
        if is_released(releases, symbol, day, size):
            held = releases[symbol][str(day)]
            yield finding("released jump", symbol, day, day, size, f"{what}; released {held['on']}: {held['why']}")
        else:
            yield finding("jump", symbol, day, day, size, what)


def splits(rows: Rows) -> Findings:
    """Changes of price that look like a split, of symbols without a price limit."""
    bars = rows.take(rows.traded)
    if len(bars) < 2:
        return
    change, _ = _changes(bars)
    ratio = 1.0 + np.where(np.isnan(change), 0.0, change)
    by = np.maximum(ratio, 1.0 / ratio)
    for at in np.flatnonzero(by >= SPLITS[0] * (1 - SPLIT_CLOSE)).tolist():
        symbol, day = bars.symbols[bars.code[at]], bars.date[at]
        nearest = min(SPLITS, key=lambda split: abs(by[at] / split - 1))
        same_factor = abs(bars.factor[at] / bars.factor[at - 1] - 1) < 1e-9
        if abs(by[at] / nearest - 1) <= SPLIT_CLOSE and same_factor and price_limit(symbol, day) is None:
            kind = f"{nearest:g} for 1" if ratio[at] < 1 else f"1 for {nearest:g}"
            yield finding("split", symbol, day, day, float(change[at]), f"{percent(change[at])}, like a split {kind}")


def repeats(rows: Rows) -> Findings:
    """Traded bars that repeat the one before, volume included."""
    bars = rows.take(rows.traded)
    if len(bars) < REPEATS:
        return
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    same = bars.same_symbol() & (bars.volume[1:] > 0)
    for column in columns:
        same &= column[1:] == column[:-1]
    for first, last in _runs(same):
        if last - first + 2 >= REPEATS:
            symbol, begin, end = bars.symbols[bars.code[first]], bars.date[first], bars.date[last + 1]
            bars_in = last - first + 2
            yield finding(
                "repeated", symbol, begin, end, bars_in, f"{bars_in} equal bars, volume {bars.volume[first]:g}"
            )


def units(rows: Rows) -> Findings:
    """Volumes or amounts in another unit: amount by volume is a price, and has to be near the close.

    Where there are no amounts, a volume that is about a hundred times that of the month before, or a hundredth.
    """
    told = rows.traded & (rows.volume > 0) & (rows.amount > 0)
    bars = rows.take(told)
    with np.errstate(over="ignore"):
        digits = np.log10(bars.amount / bars.volume / bars.close)
    power = np.rint(digits)
    odd = (power != 0) & (np.abs(digits - power) <= UNIT_CLOSE)
    code, tens, days = bars.code[odd], power[odd].astype(np.int64), bars.date[odd]
    of_symbol = np.bincount(bars.code, minlength=len(bars.symbols))
    for which, ten in sorted(set(zip(code.tolist(), tens.tolist(), strict=True))):
        at = days[(code == which) & (tens == ten)]
        times = f"{10.0**ten:g} times" if ten > 0 else f"1/{10.0**-ten:g} of"
        what = f"amount by volume is about {times} the close on {len(at)} of {of_symbol[which]} days"
        yield finding("unit", rows.symbols[which], at.min(), at.max(), 10.0**ten, what)
    yield from _volume_steps(rows.take(rows.traded & ~told & (rows.volume > 0)))


def _volume_steps(bars: Rows) -> Findings:
    if len(bars) == 0:
        return
    month = bars.date.astype("datetime64[M]").astype(np.int64)
    medians = pd.DataFrame({"code": bars.code, "month": month, "volume": bars.volume}).groupby(["code", "month"])
    level = medians["volume"].median()
    code, months = (level.index.get_level_values(place).to_numpy() for place in (0, 1))
    ratio = level.to_numpy()[1:] / level.to_numpy()[:-1]
    step = (code[1:] == code[:-1]) & (np.abs(np.abs(np.log10(ratio)) - 2) <= UNIT_CLOSE)
    for at in np.flatnonzero(step).tolist():
        day = np.datetime64(int(months[at + 1]), "M")
        times = "a hundred times" if ratio[at] > 1 else "a hundredth of"
        what = f"median volume of {day} is about {times} that of the month with bars before"
        first = day.astype("datetime64[D]")
        yield finding("unit", bars.symbols[code[at + 1]], first, first, float(ratio[at]), what)


def holes(rows: Rows, calendar: str) -> Findings:
    """Sessions without a row between rows of a symbol; and rows on days that are no session."""
    assert rows.session is not None, "the calendar numbers them"
    outside = rows.session < 0
    for day, number in zip(*np.unique(rows.date[outside], return_counts=True), strict=True):
        symbol = rows.symbols[rows.code[outside & (rows.date == day)][0]] if number == 1 else ""
        what = f"a {day.astype(object):%A}, no session of {calendar}: rows of {counted(int(number), 'symbol')}"
        yield finding("off session", symbol, day, day, int(number), what)
    inside = rows.take(rows.session >= 0)
    assert inside.session is not None, "it is taken from rows that have it"
    gap = np.diff(inside.session) - 1
    for at in np.flatnonzero(inside.same_symbol() & (gap > 0)).tolist():
        symbol, number = inside.symbols[inside.code[at]], int(gap[at])
        ends = sessions_numbered(np.array([inside.session[at] + 1, inside.session[at + 1] - 1]), calendar)
        yield finding("hole", symbol, ends[0], ends[1], number, f"{counted(number, 'session')} without a row")


def lost_days(rows: Rows, calendar: str) -> Findings:
    """Sessions on which more symbols than usual have no row, though they have rows before and after."""
    assert rows.session is not None, "the calendar numbers them"
    inside = rows.take(rows.session >= 0)
    assert inside.session is not None, "it is taken from rows that have it"
    if len(inside) == 0:
        return
    base = int(inside.session.min())
    expected, present = _expected(inside, base)
    share = np.where(expected >= FEW_SYMBOLS, 1 - present / np.maximum(expected, 1), np.nan)
    usual = pd.Series(share).rolling(2 * AROUND + 1, center=True, min_periods=1).median().to_numpy()
    for at in np.flatnonzero(share - usual >= LOST_SHARE).tolist():
        day = sessions_numbered(np.array([base + at]), calendar)[0]
        missing = int(expected[at] - present[at])
        yield finding("lost day", "", day, day, missing, f"{missing} of {expected[at]} symbols have no row")


def stale(rows: Rows) -> Findings:
    """Symbols whose last row lies more than `STALE_SESSIONS` sessions before the newest."""
    assert rows.session is not None, "the calendar numbers them"
    if len(rows) == 0:
        return
    newest = int(rows.session.max())
    for at in rows.bounds()[1].tolist():
        behind = newest - int(rows.session[at])
        if rows.session[at] >= 0 and behind > STALE_SESSIONS:
            day = rows.date[at]
            what = f"the last row is {behind} sessions older than the newest: delisted, or no longer delivered"
            yield finding("stale", rows.symbols[rows.code[at]], day, day, behind, what)


def coverage(rows: Rows) -> tuple[int, int]:
    """Sessions between each symbol's first and last row, and those of them with a row."""
    assert rows.session is not None, "the calendar numbers them"
    inside = rows.take(rows.session >= 0)
    assert inside.session is not None, "it is taken from rows that have it"
    if len(inside) == 0:
        return 0, 0
    expected, present = _expected(inside, int(inside.session.min()))
    return int(expected.sum()), int(present.sum())


def _expected(rows: Rows, base: int) -> tuple[Int64s, Int64s]:
    """Symbols that have rows before, on or after each session from `base`, and those with a row on it: int64 each."""
    assert rows.session is not None, "the calendar numbers them"
    number = rows.session - base
    length = int(number.max()) + 1
    first, last = rows.bounds()
    steps = np.bincount(number[first], minlength=length + 1) - np.bincount(number[last] + 1, minlength=length + 1)
    return np.cumsum(steps)[:length].astype(np.int64), np.bincount(number, minlength=length).astype(np.int64)


def _changes(bars: Rows) -> tuple[Floats64, Any]:
    """Change of the adjusted close from the symbol's bar before, NaN without one, and the day of that bar."""
    close = bars.close * bars.factor
    change, before = np.full(len(bars), np.nan), np.full(len(bars), np.datetime64("NaT", "D"))
    same = bars.same_symbol()
    change[1:][same] = close[1:][same] / close[:-1][same] - 1.0
    before[1:][same] = bars.date[:-1][same]
    return change, before


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """First and last position of each run of set flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last) - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]
