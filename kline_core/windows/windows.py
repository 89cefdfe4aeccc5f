"""Windows: the bars that end one, and a hash of the bars that one depends on.

A window is `window_bars` consecutive traded bars of one symbol, named by the bar on which it ends. Suspended days are
no bars (`kline_core.bars.symbol_bars` leaves them out), so a window may reach across them, but not across a hole: two
neighbouring bars whose dates lie more than `max_gap_days` calendar days apart. Nor does it reach across an unexplained
jump (`kline_core.bars.jumps`), unless the settings allow that.

With several time scales (`kline_core.windows.prices`) a window is all bars that its charts show, `span_bars`: those of
its chart in the largest scale. No hole and no jump may lie between any of them.
"""

from functools import cache
from typing import Final

import numpy as np

from kline_core.bars.stretches import Stretches
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.settings import PatternSettings
from kline_core.typing import Dates, Flags, Hashes, Int8s, Int64s

USABLE: Final = 0
TOO_FEW_BARS: Final = 1
HOLE: Final = 2
JUMP: Final = 3

# Odd, so that multiplying by it modulo 2**64 loses nothing (Knuth, TAOCP vol. 2, section 3.3.4, table 1, MMIX).
_MULTIPLIER: Final = 6364136223846793005


def usable_windows(bars: SymbolBars, settings: PatternSettings) -> Int8s:
    """Code of each of a symbol's n bars, which tells whether a usable window ends on it.

    Returns int8 (n,): `USABLE` (0), `TOO_FEW_BARS` (1: fewer than `span_bars` bars up to and including this one),
    `HOLE` (2: two neighbouring bars of the window are more than `max_gap_days` calendar days apart) or `JUMP` (3: no
    hole, but an unexplained jump between two of its bars). The hole or jump before the window's first bar is not inside
    it. A later bar never changes the code of an earlier one.
    """
    return window_codes(bars.dates, bars.jumps, settings)


def window_codes(dates: Dates, jumps: Flags, settings: PatternSettings) -> Int8s:
    """As `usable_windows`, of the columns `dates` and `jumps`, (n,) each, of one symbol or of stretches of several.

    Of stretches (`kline_core.bars.stretches`) a code is the window's own where the window lies in one of them.
    """
    codes = _without_holes(dates, settings.span_bars, settings.max_gap_days)
    if not settings.allow_jumps:
        inside = any_between(jumps, np.arange(len(codes)) + 1 - settings.span_bars, np.arange(len(codes)))
        codes[(codes == USABLE) & inside] = JUMP
    return codes


def jumps_between(bars: SymbolBars, first: Int64s, last: Int64s) -> Flags:
    """Whether an unexplained jump lies between the bars `first` and `last`, int64 (m,) each, of one symbol: bool (m,).

    The change up to `last` counts, that up to `first` does not. Bars outside the history count as its ends.
    """
    return any_between(bars.jumps, first, last)


def any_between(jumps: Flags, first: Int64s, last: Int64s) -> Flags:
    """As `jumps_between`, of the column `jumps` alone, bool (n,)."""
    if not jumps.any():
        return np.zeros(len(first), dtype=bool)
    count = np.cumsum(jumps)
    most = max(0, len(count) - 1)
    found: Flags = count[np.clip(last, 0, most)] > count[np.clip(first, 0, most)]
    return found


def _without_holes(dates: Dates, span_bars: int, max_gap_days: int) -> Int8s:
    codes = np.full(len(dates), TOO_FEW_BARS, dtype=np.int8)
    if len(dates) < span_bars:
        return codes
    # holes[i] counts the holes before bar i, so that a difference counts those between two bars.
    holes = np.zeros(len(dates), dtype=np.int64)
    np.cumsum(np.diff(dates).astype(np.int64) > max_gap_days, out=holes[1:])
    inside = holes[span_bars - 1 :] - holes[: len(dates) - span_bars + 1]
    codes[span_bars - 1 :] = np.where(inside > 0, HOLE, USABLE)
    return codes


def usable_ends(bars: SymbolBars, settings: PatternSettings) -> Int64s:
    """Bars on which a usable window of a symbol ends: int64 (m,), increasing."""
    return np.flatnonzero(usable_windows(bars, settings) == USABLE).astype(np.int64)


def usable_in(part: Stretches, settings: PatternSettings) -> Int64s:
    """Positions of the bars on which a usable window ends, all of whose bars lie in one of the stretches.

    `part`: with the columns `dates` and `jumps`. Returns int64 (m,), increasing.
    """
    usable = window_codes(part.columns["dates"], part.columns["jumps"], settings) == USABLE
    # Those reach into the stretch before.
    place = np.arange(len(usable)) - np.repeat(part.first, part.length)
    return np.flatnonzero(usable & (place >= settings.span_bars - 1))


def window_content(content: Hashes, ends: Int64s, first_offset: int, last_offset: int) -> Hashes:
    """Hash of the bars `end + first_offset .. end + last_offset` of each window.

    `content`: uint64 (n,), a well-mixed hash of each bar of one symbol. `ends`: int64 (m,). For everything that a
    pattern depends on, the offsets are `1 - span_bars` and `outcome_bars`.

    Returns uint64 (m,): the polynomial `sum(content[bar] * M ** (last - bar))` modulo 2**64, by Horner's rule. The
    order of the bars counts, and so does each bar; bars outside the range do not. If many windows overlap, all come out
    of one running sum of `content[bar] * M ** -bar`, in numbers modulo 2**64 without any rounding.

    Raises IndexError if a range leaves the history.
    """
    if len(ends) and (ends.min() + first_offset < 0 or ends.max() + last_offset >= len(content)):
        raise IndexError(
            f"ends reach from {ends.min()} to {ends.max()}; with offsets {first_offset} to {last_offset} "
            f"they must stay inside the {len(content)} bars"
        )
    if len(ends) * (last_offset + 1 - first_offset) > 4 * len(content):
        powers, inverses = _powers(1 << len(content).bit_length())
        before = np.zeros(len(content) + 1, dtype=np.uint64)
        np.cumsum(content * inverses[: len(content)], out=before[1:])
        last = ends + last_offset
        return (before[last + 1] - before[ends + first_offset]) * powers[last]
    total = np.zeros(len(ends), dtype=np.uint64)
    multiplier = np.uint64(_MULTIPLIER)
    for offset in range(first_offset, last_offset + 1):
        total = total * multiplier + content[ends + offset]
    return total


@cache
def _powers(count: int) -> tuple[Hashes, Hashes]:
    """Powers of the multiplier and of its inverse modulo 2**64, with exponents from 0: uint64 (count,) each."""
    both = []
    for factor in (_MULTIPLIER, pow(_MULTIPLIER, -1, 2**64)):
        power = np.full(count, factor, dtype=np.uint64)
        power[0] = 1
        power = np.multiply.accumulate(power)
        power.flags.writeable = False
        both.append(power)
    return both[0], both[1]
