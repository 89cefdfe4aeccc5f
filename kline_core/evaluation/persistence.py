"""Autocorrelation of values: how alike the ranking of a session is to that of earlier ones.

Rank correlation across the symbols that have a value on a session and on the one `lag` sessions before, averaged over
all sessions with at least `MIN_SYMBOLS` such symbols, as alphalens' `factor_rank_autocorrelation` with NaN left out in
pairs (there: Pearson's of the ranks within each whole session; here: ranks among those that have both). Values that
hardly keep their ranking cost much to trade; values that keep it for long are few independent observations.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from kline_core.evaluation.estimate import MIN_SYMBOLS
from kline_core.evaluation.information_coefficient import cross_section_rank_ic
from kline_core.typing import Floats64, Int64s

LAGS: Final = (1, 5, 10, 20)


@dataclass(frozen=True, slots=True)
class Autocorrelation:
    """Likeness of the ranking of values to that of earlier sessions."""

    lag: int
    """Sessions."""
    value: float
    """Mean rank correlation; NaN if no session has enough symbols."""
    sessions: int
    """Sessions that it is the mean of."""


def autocorrelations(symbol: Int64s, sessions: Int64s, values: Floats64) -> list[Autocorrelation]:
    """Autocorrelations at `LAGS` sessions. `symbol`, `sessions`: int64 (n,), distinct pairs. `values`: NaN left out."""
    use = ~np.isnan(values)
    symbol, sessions, values = symbol[use], sessions[use], values[use]
    keys = symbol << 32 | sessions
    order = np.argsort(keys)
    keys, ordered = keys[order], values[order]
    found = []
    for lag in LAGS:
        wanted = keys - lag
        at = np.searchsorted(keys, wanted)
        # A session before the first would be read as one of the symbol before.
        there = (keys[np.minimum(at, max(0, len(keys) - 1))] == wanted) & (sessions[order] >= lag)
        before = np.full(len(keys), np.nan)
        before[there] = ordered[at[there]]
        ic = cross_section_rank_ic(sessions[order], ordered, before, 1, MIN_SYMBOLS)
        found.append(Autocorrelation(lag, ic.value, len(ic.sessions)))
    return found
