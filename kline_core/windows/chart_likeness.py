"""How alike two charts are, pixel by pixel and edge by edge, without drawing them.

Of two charts as `kline_core.windows.charts.render_charts` draws them:

* `pixels`: the pixels that both have lit, in the same brightness, as a share of those that either has lit (the index of
  Jaccard, Bulletin de la Société vaudoise des sciences naturelles 37, 1901, where a pixel of another brightness is
  another pixel);
* `edges`: the edges of one that lie within one row of the other's, as a share of all. An edge is where, in a column of
  pixels, the ink begins or ends: where brightness rises or falls along the price axis. Every column has one of each.
  (Of the measures of boundaries with a tolerance: Martin, Fowlkes & Malik, IEEE PAMI 26, 2004.)

Both are between 0 and 1, and 1 for equal charts. They are quotients of whole numbers, so that they depend on nothing
but the two charts. Brightness tells a wick from a body, and a rising body from a falling one.
"""

import numpy as np

from kline_core.typing import Floats64, Hashes, Positions
from kline_core.windows.chart_rows import HEIGHT, PIXELS_PER_BAR, ChartRows

_ALL = np.uint64(2**HEIGHT - 1)
_NEAR = 1
"""Rows by which two edges may differ and still count as the same."""
_OUTER = PIXELS_PER_BAR - 1
"""Columns of a bar that hold its body alone."""


def pixel_part(a: ChartRows, b: ChartRows) -> Floats64:
    """The part `pixels` of the pairs of charts `(a[i], b[i])`: float64 (n,) in 0..1."""
    body_a, body_b = _column(a.bottom, a.top), _column(b.bottom, b.top)
    ink_a, ink_b = _column(a.low, a.high), _column(b.low, b.high)
    bodies = np.where(a.rising == b.rising, _count(body_a & body_b), 0)
    wicks = _count(ink_a & ~body_a & ink_b & ~body_b)
    equal = PIXELS_PER_BAR * bodies + wicks
    lit = _OUTER * _count(body_a | body_b) + _count(ink_a | ink_b)
    share: Floats64 = equal.sum(axis=1) / lit.sum(axis=1)
    return share


def edge_part(a: ChartRows, b: ChartRows) -> Floats64:
    """The part `edges` of the pairs of charts `(a[i], b[i])`: float64 (n,) in 0..1."""
    bodies = _near(a.bottom, b.bottom) + _near(a.top, b.top)
    wicks = _near(a.low, b.low) + _near(a.high, b.high)
    share: Floats64 = (_OUTER * bodies + wicks) / (2 * PIXELS_PER_BAR * a.low.shape[1])
    return share


def _near(one: Positions, other: Positions) -> Positions:
    """Number of bars of each pair whose edges lie near each other: intp (n,)."""
    count: Positions = (np.abs(one - other) <= _NEAR).sum(axis=1)
    return count


def _column(lowest: Positions, highest: Positions) -> Hashes:
    """Columns of pixels as 64 bits, of which those from one row to another are set."""
    up, down = lowest.astype(np.uint64), (HEIGHT - 1 - highest).astype(np.uint64)
    columns: Hashes = (_ALL << up) & (_ALL >> down)
    return columns


def _count(columns: Hashes) -> Positions:
    # Its own type is uint8, which sums of three columns of 64 pixels leave.
    return np.bitwise_count(columns).astype(np.intp)
