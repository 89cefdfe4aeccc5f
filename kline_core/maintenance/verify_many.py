"""Checks of second values, from many (`kline_core.factor.many`), by themselves.

Their windows are not stored, so that nothing of them can be computed again from the tables: a replay does that. The tie
of a value holds their figures too (`kline_core.factor.match_digest`), so that a figure that has changed since is found.
"""

import numpy as np

from kline_core.factor.kernel_means import FEWEST
from kline_core.maintenance.findings import Ledger
from kline_core.maintenance.verify_values import Joined
from kline_core.store.remedies import NEW_VALUES
from kline_core.store.schemas import MANY_FIGURES

_SAME = 1e-9
"""Largest difference that rounding makes between the middle of an interval and its mean."""


def check_many(joined: Joined, ledger: Ledger) -> None:
    """Check the second value of every sample: that it is whole, in the middle of its interval, or has a reason."""
    rank, low, high, quarters, windows = (joined.factors[name].to_numpy().astype(np.float64) for name in MANY_FIGURES)
    there = ~np.isnan(rank)
    reasoned = joined.factors["many_reason"].is_valid().to_numpy()
    with np.errstate(invalid="ignore"):
        # Phrased so that NaN fails too.
        inside = (np.abs(rank) <= 0.5) & (low <= high) & (np.abs((low + high) / 2 - rank) <= _SAME)
        enough = (quarters >= FEWEST) & (windows >= FEWEST)
    part = ~np.isnan([low, high, quarters, windows]).all(axis=0)
    for bad, kind in (
        (there & ~inside, "rows whose many_rank lies beyond -0.5 to 0.5, or not in the middle of its interval"),
        (there & ~enough, f"rows with a many_rank of fewer than {FEWEST:g} windows or quarters"),
        (there & reasoned, "rows with a many_rank and a reason why there is none"),
        (~there & part, "rows with figures of a many_rank that is not there"),
    ):
        ledger.add("factors", kind, bad, joined.sample_name, NEW_VALUES)
