"""Outcomes: what followed a window, and from which date on that is known.

1. Entry is the close of the bar `entry_lag_bars` after the window's end, so that a value computed after the close of
   the window's last bar can be traded.
2. The forward return at horizon h is `close[entry + h] / close[entry] - 1`, rounded to a multiple of 2**-26, about
   1.5e-8. Otherwise its last bits, and whether it is above 0, would depend on the unit of the prices. The quotient of
   two closes of up to ten million ticks never lies so close to the middle of two multiples that rounding decides.
3. The triple-barrier label looks at the bars `entry + 1 .. entry + barrier_bars` in turn, with the upper barrier at
   `close[entry] * (1 + barrier_up)` and the lower one at `close[entry] * (1 - barrier_down)`. Inside one bar:

   a. open at or above the upper barrier: +1 (a gap fills at the open, whatever the bar does later);
   b. open at or below the lower barrier: -1;
   c. low at or below the lower barrier: -1;
   d. high at or above the upper barrier: +1.

   A price within `SAME_PRICE` of a barrier counts as being at it. For prices in cents, +5 % exactly reached would
   otherwise be decided by the rounding of float64 and by the adjustment factor's scale.

   A bar that touches both after its open counts as a loss: daily bars do not tell which came first, and the pessimist
   cannot be disappointed. Nothing touched in `barrier_bars` bars: 0.
4. All of it is known on the date of the bar `outcome_bars` after the window's end.

Everything is counted in traded bars: who holds a suspended stock waits until it trades again.

Source of the label: M. López de Prado, Advances in Financial Machine Learning (Wiley, 2018), chapter 3.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.settings import PatternSettings
from kline_core.typing import Dates, Floats32, Floats64, Int8s, Int64s

UNDECIDED: Final = -128
"""Barrier label of a window whose history ends before a barrier was touched; its `known_on` is NaT."""

RETURN_STEPS: Final = 2.0**26
"""Steps of a forward return to 1, a doubled price."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What followed m windows."""

    returns: Floats32
    """float32 (m, horizons): simple returns, not percent; NaN where the history ends before the horizon."""
    barrier: Int8s
    """int8 (m,): +1, -1, 0 as in the module's definition, `UNDECIDED` where the history ends before it is settled."""
    known_on: Dates
    """datetime64[D] (m,): first date on which all of a window's outcomes are known; NaT where they are not yet."""


def outcomes(
    dates: Dates,
    open_: Floats64,
    high: Floats64,
    low: Floats64,
    close: Floats64,
    ends: Int64s,
    settings: PatternSettings,
) -> Outcomes:
    """Outcomes of the windows that end on the bars `ends`.

    `dates` datetime64[D] (n,) strictly increasing; `open_`, `high`, `low`, `close` float64 (n,), adjusted, positive and
    finite: the traded bars of one symbol. `ends` int64 (m,), in any order.

    Raises IndexError if an end is no bar.
    """
    bars = len(close)
    if len(ends) and not 0 <= ends.min() <= ends.max() < bars:
        raise IndexError(f"ends reach from {ends.min()} to {ends.max()}; they must be bars, 0 to {bars - 1}")
    entry = ends + settings.entry_lag_bars

    returns = np.full((len(ends), len(settings.horizons)), np.nan, dtype=np.float32)
    for column, horizon in enumerate(settings.horizons):
        rows = np.flatnonzero(entry + horizon < bars)
        steps = return_steps(close[entry[rows]], close[entry[rows] + horizon])
        returns[rows, column] = steps / RETURN_STEPS

    known_on = np.full(len(ends), np.datetime64("NaT"), dtype="datetime64[D]")
    rows = np.flatnonzero(ends + settings.outcome_bars < bars)
    known_on[rows] = dates[ends[rows] + settings.outcome_bars]
    return Outcomes(returns, _barrier(open_, high, low, close, entry, settings), known_on)


def return_steps(first: Floats64, last: Floats64) -> Floats64:
    """Simple returns between two closes, float64 (m,), in whole steps of 1 / `RETURN_STEPS`."""
    steps: Floats64 = np.rint((last / first - 1.0) * RETURN_STEPS)
    return steps


def barriers(entry: Floats64, settings: PatternSettings) -> tuple[Floats64, Floats64]:
    """Prices, float64 (m,) each, from which up and down to which the barriers of entries at `entry` are touched."""
    up = entry * (1.0 + settings.barrier_up) * (1.0 - SAME_PRICE)
    down = entry * (1.0 - settings.barrier_down) * (1.0 + SAME_PRICE)
    return up, down


def _barrier(
    open_: Floats64,
    high: Floats64,
    low: Floats64,
    close: Floats64,
    entry: Int64s,
    settings: PatternSettings,
) -> Int8s:
    """Labels of the windows entered at the bars `entry`: one pass per bar held, over the windows still open."""
    label = np.full(len(entry), UNDECIDED, dtype=np.int8)
    rows = np.flatnonzero(entry < len(close))
    bar = entry[rows]
    up, down = barriers(close[bar], settings)
    for _ in range(settings.barrier_bars):
        bar = bar + 1
        if len(bar) and bar.max() >= len(close):
            inside = bar < len(close)
            rows, bar, up, down = rows[inside], bar[inside], up[inside], down[inside]
        opened = open_[bar]
        falls = ((opened <= down) | (low[bar] <= down)) & (opened < up)
        rises = ((opened >= up) | (high[bar] >= up)) & ~falls
        label[rows[falls]] = -1
        label[rows[rises]] = 1
        still = ~(falls | rises)
        rows, bar, up, down = rows[still], bar[still], up[still], down[still]
    label[rows] = 0
    return label
