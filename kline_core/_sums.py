"""Sums whose rounding is defined."""

import numpy as np

from kline_core.typing import Floats64


def row_sums(rows: Floats64) -> Floats64:
    """Sums of rows (n, m) from left to right, float64 (n,), so that rounding depends on nothing but the row."""
    total = np.zeros(len(rows))
    for column in range(rows.shape[1]):
        total += rows[:, column]
    return total
