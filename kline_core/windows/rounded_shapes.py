"""The full-mode score in whole numbers, so that it is the same bit for bit however the work is cut.

The score is that of `kline_core.windows.similarity`, which the encoder was taught. Its inputs are rounded to `STEPS`
steps: of a standard deviation for closes and returns, of 1 for the features. From there on every sum is one of whole
numbers and exact, in whatever order a library takes it; what follows is done number by number. Rounded so coarsely,
the inputs also no longer show in which unit, or with which adjustment factor, the prices were given. The score differs
from the unrounded one by less than 0.002.

A window counts as constant in its closes if these lie within `SAME_PRICE` of each other, and in its returns likewise.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.typing import Floats32, Floats64, Int16s, Int32s, Int64s
from kline_core.windows.prices import WindowPrices
from kline_core.windows.similarity import BAND, WEIGHTS, shape_features, z_normalise

STEPS: Final = 256
_HALF: Final = 0.5 + 1e-6
"""A number in the middle of two steps is taken up, and so is one just below it: rounding does not decide."""
_FEATURES: Final = 6
_SHORT: Final = 32
"""Bars up to which every distance that the recursion meets fits into int16: rows of n numbers with deviation 1 are at
most 2 n apart bar by bar, and within the band come up to `BAND` steps of at most 2 sqrt(n)."""


@dataclass(frozen=True, slots=True, eq=False)
class RoundedShapes:
    """Shapes of n windows in steps."""

    steps: Int16s
    """int16 (n, 2 * bars + 5): z-normalised closes (bars), z-normalised log returns (bars - 1), features (6)."""

    @classmethod
    def of(cls, prices: WindowPrices) -> Self:
        """Shapes of windows given as positive prices. A window's shape does not depend on the others."""
        # Each window's numbers one after the other, so that NumPy adds them in one order.
        open_, high, low, close = (np.ascontiguousarray(price) for price in prices)
        bottom = low.min(axis=1, keepdims=True)
        parts = (
            z_normalise(close, bottom, SAME_PRICE),
            z_normalise(np.diff(np.log(close), axis=1), 1.0, SAME_PRICE),
            shape_features(open_, high, low, close),
        )
        return cls(np.floor(np.concatenate(parts, axis=1, dtype=np.float64) * STEPS + _HALF).astype(np.int16))

    @classmethod
    def empty(cls, count: int, bars: int) -> Self:
        """Room for the shapes of `count` windows of so many bars."""
        return cls(np.empty((count, 2 * bars - 1 + _FEATURES), dtype=np.int16))

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.steps)

    def take(self, at: Int64s) -> "RoundedShapes":
        """The shapes at some positions."""
        return RoundedShapes(self.steps.take(at, axis=0))

    def columns(self, at: Int64s) -> Int16s:
        """The shapes at n positions, a column each: int16 (2 * bars + 5, n)."""
        # A step of all windows is contiguous, as the functions below read them.
        return np.ascontiguousarray(self.steps.take(at, axis=0).T)


class PriceParts(NamedTuple):
    """Parts of the score of n pairs: float64 (n,) in 0..1 each."""

    dtw: Floats64
    price: Floats64
    returns: Floats64
    shape: Floats64

    def score(self) -> Floats64:
        """The score: float64 (n,) in 0..1."""
        weights = WEIGHTS["price"], WEIGHTS["return"], WEIGHTS["shape"]
        total: Floats64 = WEIGHTS["dtw"] * self.dtw
        for weight, part in zip(weights, self[1:], strict=True):
            total = total + weight * part
        return np.minimum(total, 1.0)


def unwarped_parts(one: Int16s, many: Int16s) -> tuple[Floats64, Floats64, Floats64]:
    """The parts `price`, `returns` and `shape` of one window with n others, given as columns: float64 (n,) each."""
    # Whole numbers below 2**24: float32 adds them exactly.
    a, b = one.astype(np.float32), many.astype(np.float32)
    bars = bars_of(one)
    price = _correlation_part(a[:bars, 0], b[:bars])
    returns = _correlation_part(a[bars:-_FEATURES, 0], b[bars:-_FEATURES])
    apart = np.abs(b[-_FEATURES:] - a[-_FEATURES:]).sum(axis=0)
    return price, returns, 1.0 - apart / np.float64(STEPS * _FEATURES)


def _correlation_part(a: Floats32, b: Floats32) -> Floats64:
    lengths = np.sqrt(np.float64(a @ a) * np.einsum("ij,ij->j", b, b))
    constant = lengths == 0
    correlation = np.where(constant, 0.0, (a @ b) / np.where(constant, 1.0, lengths))
    return 0.5 + 0.5 * np.clip(correlation, -1.0, 1.0)


def bars_of(columns: Int16s) -> int:
    """Bars of the windows that columns describe."""
    return (len(columns) - _FEATURES + 1) // 2


def warping_distances(a: Int16s, b: Int16s) -> Int32s:
    """Distances of dynamic time warping of the closes of n pairs, given as columns: int32 (n,), in steps.

    The recursion is that of `kline_core.windows.similarity.dtw_distances`, in which all pairs advance together.
    """
    bars, count = bars_of(a), a.shape[1]
    kind = np.int16 if bars <= _SHORT else np.int32
    x, y = a[:bars].astype(kind), b[:bars].astype(kind)
    far = np.iinfo(kind).max
    cell, best = np.empty((2, count), kind)
    above, row = np.full((2, bars + 1, count), far, kind)
    above[0] = 0
    for i in range(bars):
        first, last = max(0, i - BAND), min(bars, i + BAND + 1)
        row[first] = far
        for j in range(first, last):
            np.minimum(above[j], above[j + 1], out=best)
            np.minimum(best, row[j], out=best)
            np.subtract(x[i], y[j], out=cell)
            np.abs(cell, out=cell)
            np.add(best, cell, out=row[j + 1])
        if last < bars:
            row[last + 1] = far
        above, row = row, above
    distances: Int32s = above[bars].astype(np.int32)
    return distances


def warping_part(distances: Int32s, bars: int) -> Floats64:
    """The part `dtw` of distances in steps: float64 (n,)."""
    part: Floats64 = 1.0 / (1.0 + distances / np.float64(STEPS * bars))
    return part
