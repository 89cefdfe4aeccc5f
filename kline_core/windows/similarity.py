"""The full-mode score: how alike two windows are, computed from their bars rather than their vectors.

    score = 0.4 * dtw + 0.3 * price + 0.2 * return + 0.1 * shape            (each part between 0 and 1)

* `dtw`: 1 / (1 + d / n), d the dynamic-time-warping distance of the z-normalised closes with absolute differences and
  a band of 5 bars (Sakoe & Chiba, IEEE TASSP 26, 1978), n the number of bars;
* `price`, `return`: (1 + r) / 2, r Pearson's correlation of the closes and of the log returns (0 if one of the two rows
  is constant);
* `shape`: 1 minus the mean absolute difference of the features of `Shapes`.

The score teaches the encoder which charts are alike, and measures how well vectors find them.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.typing import Floats32, Floats64, Positions

BAND = 5
"""Bars by which the warping of two windows may differ, at most."""
WEIGHTS = {"dtw": 0.4, "price": 0.3, "return": 0.2, "shape": 0.1}


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """The score's inputs for n windows, float32 throughout.

    `closes` `(n, bars)` z-normalised; `returns` `(n, bars - 1)` z-normalised log returns; `features` `(n, 6)` in 0..1:
    position of the first and of the last close in the window's range, share of rising bars, and the mean shares of
    body, upper and lower shadow in a bar's range.
    """

    closes: Floats32
    returns: Floats32
    features: Floats32

    @classmethod
    def of(cls, open_: Floats64, high: Floats64, low: Floats64, close: Floats64) -> Self:
        """Shapes of windows given as positive price arrays `(n, bars)`."""
        features = shape_features(open_, high, low, close)
        bottom = low.min(axis=1)
        returns = z_normalise(np.diff(np.log(close), axis=1), 1.0)
        return cls(z_normalise(close, bottom[:, None]), returns, features.astype(np.float32))

    def __getitem__(self, at: Positions | slice) -> "Shapes":
        """The shapes at some positions."""
        return Shapes(self.closes[at], self.returns[at], self.features[at])

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.closes)


def shape_features(open_: Floats64, high: Floats64, low: Floats64, close: Floats64) -> Floats64:
    """The six features of `Shapes`, float64 `(n, 6)`, of windows given as positive price arrays `(n, bars)`."""
    bottom = low.min(axis=1)
    top = high.max(axis=1)
    height = np.where(top - bottom <= SAME_PRICE * top, top, top - bottom)
    span = np.where(high - low <= SAME_PRICE * high, high, high - low)
    return np.stack(
        [
            (close[:, 0] - bottom) / height,
            (close[:, -1] - bottom) / height,
            (close * (1.0 - SAME_PRICE) > open_).mean(axis=1),
            (np.abs(close - open_) / span).mean(axis=1),
            ((high - np.maximum(open_, close)) / span).mean(axis=1),
            ((np.minimum(open_, close) - low) / span).mean(axis=1),
        ],
        axis=1,
    )


def z_normalise(rows: Floats64, unit: Floats64 | float, tolerance: float = 1e-12) -> Floats32:
    """Rows with mean 0 and standard deviation 1, as float32; a constant row becomes zeros.

    A row counts as constant if its deviation is no more than rounding: `tolerance` of `unit`, which is a size per row
    `(n, 1)` or one for all.
    """
    centred = rows - rows.mean(axis=1, keepdims=True)
    deviation = rows.std(axis=1, keepdims=True)
    constant = deviation <= tolerance * unit
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation)).astype(np.float32)


def pair_scores(a: Shapes, b: Shapes) -> Floats32:
    """Scores of the pairs `(a[i], b[i])`, float32 `(n,)` in 0..1."""
    n_bars = a.closes.shape[1]
    dtw = 1.0 / (1.0 + dtw_distances(a.closes, b.closes) / n_bars)
    price = (a.closes * b.closes).mean(axis=1)
    returns = (a.returns * b.returns).mean(axis=1)
    shape = 1.0 - np.abs(a.features - b.features).mean(axis=1)
    score: Floats32 = (
        WEIGHTS["dtw"] * dtw
        + WEIGHTS["price"] * (0.5 + 0.5 * price)
        + WEIGHTS["return"] * (0.5 + 0.5 * returns)
        + WEIGHTS["shape"] * shape
    ).astype(np.float32)
    return score


def dtw_distances(a: Floats32, b: Floats32, band: int = BAND) -> Floats32:
    """Banded dynamic-time-warping distances of the pairs of rows, float32 `(n,)`.

    All pairs advance together through the recursion
    `D[i, j] = |a_i - b_j| + min(D[i-1, j], D[i, j-1], D[i-1, j-1])` for `|i - j| <= band`.
    """
    n_pairs, n_bars = a.shape
    # Bars first, so that each step reads contiguous memory.
    x, y = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
    far = np.float32(np.inf)
    above = np.full((n_bars + 1, n_pairs), far, dtype=np.float32)
    above[0] = 0.0
    for i in range(n_bars):
        row = np.full((n_bars + 1, n_pairs), far, dtype=np.float32)
        for j in range(max(0, i - band), min(n_bars, i + band + 1)):
            best = np.minimum(above[j], above[j + 1])
            np.minimum(best, row[j], out=best)
            best += np.abs(x[i] - y[j])
            row[j + 1] = best
        above = row
    return above[n_bars]
