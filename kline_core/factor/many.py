"""A second value of a sample, from many: the mean outcome of its nearest windows beside their market, with an interval.

1. The windows are the `FactorSettings.many` nearest of the eligible patterns, exactly: step 1 to 3 of
   `kline_core.search.candidates` with that many. Nearest by their vectors in every mode, so that full mode changes none
   of it; they need not lie apart from each other, and neither age nor `min_similarity` counts.
2. The outcome of a window is the rank of its return over `return_horizon` among the windows of its day, -1/2 to +1/2,
   as of when it became known (`kline_core.patterns.outcome_ranks`). Of a day with one window alone there is none.
3. The value is their mean, weighted by a kernel, with an interval that counts quarters of a year and not windows
   (`kline_core.factor.kernel_means`).

0 is the middle of the market. A sample has no such value, but a reason, where fewer than `many` patterns are eligible,
where none with a weight has a rank, or where they are of fewer than `FEWEST` effective quarters.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from kline_core.factor.kernel_means import FEWEST, effective_quarters, kernel_means, kernel_weights
from kline_core.patterns.outcome_ranks import FEWEST as FEWEST_OF_DAY
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Candidates
from kline_core.store.schemas import MANY_FIGURES
from kline_core.typing import Floats64, Int64s


class ManyValues:
    """The second values of q samples, which come with their nearest windows (`kline_core.search.search.Nearest`)."""

    def __init__(self, patterns: Patterns, outcome: Floats64, many: int, samples: int) -> None:
        """`outcome`: float64 (P,), NaN where a pattern has none; `many`: windows of a sample; `samples`: q."""
        self._patterns, self._outcome, self._many = patterns, outcome, many
        self.figures = [np.full(samples, np.nan) for _ in MANY_FIGURES]
        """float64 (q,) each, in the order of `MANY_FIGURES`; NaN for none."""
        self._reason = np.full(samples, self._too_few(0), dtype=object)

    def take(self, asked: Int64s, nearest: Candidates) -> None:
        """Work out the values of some of the samples, int64 positions, from their nearest windows, best first."""
        count = nearest.there.sum(axis=1)
        short = count < self._many
        self._reason[asked[short]] = [self._too_few(found) for found in count[short]]
        enough = np.flatnonzero(~short)
        if len(enough) == 0:
            return
        asked, nearest = asked[enough], nearest.of(enough)
        outcome, end = self._outcome[nearest.rows], self._patterns.end[nearest.rows]
        weights = kernel_weights(nearest.similarity)
        found = kernel_means(weights, outcome, end)
        without = np.isnan(found.value)
        windows = np.where(without, np.nan, (~np.isnan(outcome)).sum(axis=1))
        for mine, figure in zip(
            self.figures, (found.value, found.low, found.high, found.quarters, windows), strict=True
        ):
            mine[asked] = figure
        quarters = effective_quarters(weights[without], outcome[without], end[without])
        self._reason[asked] = None
        self._reason[asked[without]] = [_why_none(each) for each in quarters.tolist()]

    def _too_few(self, found: int) -> str:
        return f"too few windows: {found} of {self._many}"

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of the `factors` table, (q,) each: `MANY_FIGURES` as float64, NaN for none, and `many_reason`."""
        return dict(zip(MANY_FIGURES, self.figures, strict=True)) | {"many_reason": self._reason}


def _why_none(quarters: float) -> str:
    if math.isnan(quarters):
        return f"no window has a rank: fewer than {FEWEST_OF_DAY} were known of each day"
    # Cut, not rounded: 2.999 of 3 are not 3.00 of 3.
    return f"too few effective quarters: {math.floor(100 * quarters) / 100:.2f} of {FEWEST:g}"
