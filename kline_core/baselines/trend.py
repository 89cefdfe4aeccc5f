"""Baselines of one line: what a symbol did lately.

* `reversal_5`: minus the return of the last 5 bars (N. Jegadeesh, Evidence of Predictable Behavior of Security Returns,
  Journal of Finance 45, 1990; B. Lehmann, Fads, Martingales, and Market Efficiency, Quarterly Journal of Economics 105,
  1990);
* `momentum_20`: the return of the last 20 bars.
"""

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol, group_by_code
from kline_core.baselines.samples import Samples
from kline_core.settings import Settings
from kline_core.typing import Floats64
from kline_core.windows.windows import jumps_between


def trailing_returns(frames: BarsBySymbol, samples: Samples, bars: int, settings: Settings) -> Floats64:
    """Return of the adjusted close over the last `bars` bars of the m usable samples, as a fraction: float64 (m,).

    NaN where the symbol has not so many bars, or an unexplained jump lies between and the settings refuse those.
    """
    found = np.full(len(samples.usable), np.nan)
    for code, at in group_by_code(samples.code):
        history = frames[samples.names[code]]
        end = samples.bar[at]
        first = end - bars
        sound = first >= 0
        if not settings.patterns.allow_jumps:
            sound &= ~jumps_between(history, first, end)
        found[at[sound]] = history.close[end[sound]] / history.close[first[sound]] - 1.0
    return found
