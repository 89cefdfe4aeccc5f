"""Permutation test of the mean rank IC: how often values dealt anew to the symbols of their session do as well.

1. Only sessions whose returns do not overlap are used (`spread`), so that one may deal anew in each by itself: values
   may depend on earlier ones as they like, returns of different sessions have no bar in common.
2. In each of them the values are dealt to the symbols at random, the returns stay; one fixed seed, so that the same
   rows give the same figure. Rows are taken in the order of session and symbol.
3. What is compared is the mean divided by its standard error, not the mean. Dealing is exact where symbols are
   exchangeable. Where they are not, as when the values of one industry are alike and so are its returns, the mean
   spreads wider than dealing says, but its ratio to its own error does not (E. Chung and J. Romano, Exact and
   Asymptotically Robust Permutation Tests, Annals of Statistics 41, 2013).
4. p = (1 + deals at least as far from zero) / (1 + deals), two-sided (B. Phipson and G. Smyth, Permutation P-values
   Should Never Be Zero, Statistical Applications in Genetics and Molecular Biology 9, 2010).
"""

from typing import Final

import numpy as np
import pandas as pd

from kline_core.evaluation.estimate import MIN_SESSIONS, MIN_SYMBOLS
from kline_core.evaluation.information_coefficient import spread
from kline_core.typing import Floats64, Int64s

DEALS: Final = 999
SEED: Final = 20260101


def permutation_p(sessions: Int64s, values: Floats64, returns: Floats64, apart: int, deals: int = DEALS) -> float:
    """Two-sided p of the mean rank IC across symbols.

    `sessions`: int64 (n,). `values`, `returns`: (n,), NaN left out in pairs; rows of one session in the order of their
    symbols. `apart`: distance in sessions from which on returns do not overlap. NaN if fewer than `MIN_SESSIONS` such
    sessions have `MIN_SYMBOLS` symbols and a coefficient.
    """
    use = ~(np.isnan(values) | np.isnan(returns))
    order = np.argsort(sessions[use], kind="stable")
    days, values, returns = sessions[use][order], values[use][order], returns[use][order]
    names, first, size = np.unique(days, return_index=True, return_counts=True)
    ranks = [
        2 * pd.Series(side).groupby(days).rank().to_numpy() - np.repeat(size, size) - 1 for side in (values, returns)
    ]
    pairs = [
        (ranks[0][start : start + count], ranks[1][start : start + count])
        for start, count in zip(first.tolist(), size.tolist(), strict=True)
    ]
    sound = np.array([len(x) >= MIN_SYMBOLS and x.any() and y.any() for x, y in pairs], dtype=bool)
    kept = np.flatnonzero(sound)[spread(names[sound], apart)] if sound.any() else np.array([], dtype=np.int64)
    if len(kept) < MIN_SESSIONS:
        return float("nan")
    rng = np.random.default_rng(SEED)
    # Row 0 is what happened.
    total, squares = np.zeros(deals + 1), np.zeros(deals + 1)
    for at in kept.tolist():
        x, y = pairs[at]
        dealt = rng.permuted(np.broadcast_to(x, (deals, len(x))), axis=1)
        products = np.concatenate([[x @ y], dealt @ y]) / np.sqrt((x @ x) * (y @ y))
        total += products
        squares += products**2
    mean = total / len(kept)
    variance = (squares / len(kept) - mean**2).clip(min=0)
    # A deal in which every session has the same coefficient is infinitely far from zero, or at zero.
    far = np.abs(mean) / np.sqrt(np.maximum(variance, 1e-24))
    return float((1 + (far[1:] >= far[0] * (1 - 1e-9)).sum()) / (deals + 1))
