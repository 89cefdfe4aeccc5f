"""Unexplained jumps: changes of the adjusted close that no price limit allows and no corporate action explains.

A share with a price limit (`kline_core.bars.price_limits`) cannot close further from the close before than the limit
allows, once its price is adjusted. Where it does, a corporate action is missing from the adjustment factor, or a price
is wrong. Such a bar is *quarantined*: no window and no outcome reaches across the border between it and the bar before.

A bar is a jump if the adjusted close has changed by more than the limit, compounded over the sessions since the bar
before, plus `TOLERANCE`. Sessions in between are counted since a share has no bars while it is suspended, and bars may
be lost; so a fall on the first day after a long suspension, for which the exchanges lift the limit, is no jump. Nor are
the first `FIRST_DAYS` bars that are stored of a share, which may be its first. Whether a bar is one depends on no later
bar, and on no scale of the prices.

A person can release a jump that is real: the release is a note of the home (`Home.notes`), with its reason and day, for
the change as it was. If the bars are corrected so that the change is another one, it holds no more.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from kline_core.bars.price_limits import FIRST_DAYS, price_limit
from kline_core.bars.sessions import sessions_between
from kline_core.typing import Dates, Flags, Floats64, Int64s, Objects

TOLERANCE: Final = 0.02
"""What a change may be beyond the limit, since limits are rounded to ticks: half of one, or 0.01 of a price of 0.5."""
SAME_CHANGE: Final = 1e-6
"""Difference of two changes up to which a release holds."""
_LEAST = 0.1 + TOLERANCE
_NOTE = "released jump "

Releases = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By symbol, by ISO day: ``change``, ``why`` and ``on``, the day of the release."""


def unexplained_jumps(symbol: Objects, count: Int64s, date: Dates, before: Dates, change: Floats64) -> Flags:
    """Whether each of n bars is an unexplained jump: bool (n,).

    Args:
        symbol: Symbol of each bar, object (n,).
        count: Traded bars of the symbol before it that are stored, int64 (n,).
        date: Its day, datetime64[D] (n,).
        before: Day of the symbol's traded bar before, datetime64[D] (n,), NaT where there is none.
        change: Adjusted close divided by that of the bar before, minus 1, float64 (n,), NaN where there is none.
    """
    jumps = np.zeros(len(change), dtype=bool)
    for at in np.flatnonzero(beyond_any_limit(change) & (count >= FIRST_DAYS)).tolist():
        limit = price_limit(symbol[at], date[at])
        if limit is not None:
            jumps[at] = _beyond(change[at], limit, date[at], before[at])
    return jumps


def beyond_any_limit(change: Floats64) -> Flags:
    """Whether changes are beyond the narrowest of the limits, so that they may be jumps: bool, as long as `change`."""
    beyond: Flags = np.abs(change) > _LEAST
    return beyond


def _beyond(change: float, limit: float, day: np.datetime64, before: np.datetime64) -> bool:
    def allowed(days: int) -> bool:
        return bool((1 - limit) ** days - 1 - TOLERANCE <= change <= (1 + limit) ** days - 1 + TOLERANCE)

    return not allowed(1) and not allowed(sessions_between(before, day, "XSHG") + 1)


def note_name(symbol: str, day: np.datetime64) -> str:
    """Name of the note that a release is."""
    return f"{_NOTE}{symbol} {day}"


def released(notes: Mapping[str, Any]) -> Releases:
    """The releases among the notes of a home."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, value in notes.items():
        if name.startswith(_NOTE) and isinstance(value, dict):
            symbol, _, day = name.removeprefix(_NOTE).rpartition(" ")
            found.setdefault(symbol, {})[day] = value
    return found


def is_released(releases: Releases, symbol: str, day: np.datetime64, change: float) -> bool:
    """Whether a jump of this change is released."""
    held = releases.get(symbol, {}).get(str(day))
    return held is not None and abs(float(held["change"]) - change) <= SAME_CHANGE
