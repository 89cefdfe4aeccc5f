"""Mean returns by quantile of the value: do higher values precede higher returns, and evenly so?

Values fall into groups by rank: of n ranked values, rank r belongs to group `floor(groups (r - 1/2) / n)`, and equal
values have their average rank. So equal values share a group, and groups differ in size if many values are equal, as
win rates of a few matches are.

* Across symbols: ranks within each session, and returns beyond the mean of the session's samples, so that no group
  looks better because its samples are of better days. Mean and standard error are those of `session_mean`.
* Pooled, if sessions have too few symbols: ranks over all samples, and returns beyond the mean of all samples, so that
  a rising market lifts no group. The standard error is s / sqrt(m), s being the sample standard deviation of the
  group's returns and m the most of its sessions that can be kept `apart` from each other: as if all symbols moved
  together.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core.evaluation.information_coefficient import session_mean, spread
from kline_core.typing import Floats64, Int64s

GROUPS: Final = 5


@dataclass(frozen=True, slots=True)
class QuantileReturn:
    """One quantile group."""

    quantile: int
    """1 for the lowest values."""
    value: float
    """Mean value; NaN if the group is empty."""
    mean: float
    """Mean return beyond the mean of the session, or of all samples; a fraction."""
    se: float
    """Standard error; NaN if there are fewer than two independent sessions."""
    samples: int
    n_independent: int
    """Sessions that the standard error counts."""


@dataclass(frozen=True, slots=True)
class QuantileReturns:
    """Mean return by quantile of the value."""

    across: bool
    """True: ranks within sessions; False: pooled."""
    groups: list[QuantileReturn]
    spread: float
    """Highest group minus lowest; across symbols, over the sessions that have both."""
    spread_se: float


def quantile_returns(
    sessions: Int64s,
    values: Floats64,
    returns: Floats64,
    apart: int,
    min_symbols: int | None,
) -> QuantileReturns:
    """Mean returns of `GROUPS` quantile groups.

    `sessions`: int64 (n,): ordinal of the session, shared by all symbols. `values`, `returns`: (n,), NaN left out in
    pairs. `apart`: distance in sessions from which on two dates count as independent. `min_symbols`: fewest pairs of a
    session, to rank across symbols; None to pool.
    """
    use = ~(np.isnan(values) | np.isnan(returns))
    sessions, values, returns = sessions[use], values[use], returns[use]
    if min_symbols is None:
        returns = returns - returns.mean() if len(returns) else returns
        group = group_of(_floats(pd.Series(values).rank()), np.full(len(values), len(values)))
        parts = [_pooled(sessions[group == at], returns[group == at], apart) for at in range(GROUPS)]
        difference = parts[-1][0] - parts[0][0]
        error = float(np.hypot(parts[-1][1], parts[0][1]))
    else:
        frame = pd.DataFrame({"session": sessions, "value": values, "return": returns})
        by_session = frame.groupby("session")
        size = by_session["value"].transform("size").to_numpy()
        thick = size >= min_symbols
        group = np.where(thick, group_of(_floats(by_session["value"].rank()), size), -1)
        frame["return"] -= by_session["return"].transform("mean")
        means = frame[thick].groupby(["session", group[thick]])["return"].mean().unstack()
        means = means.reindex(columns=range(GROUPS))
        parts = [_by_session(means[at], apart) for at in range(GROUPS)]
        difference, error, _ = _by_session(means[GROUPS - 1] - means[0], apart)
    groups = []
    for at, (mean, se, independent) in enumerate(parts):
        inside = values[group == at]
        value = float(inside.mean()) if len(inside) else float("nan")
        groups.append(QuantileReturn(at + 1, value, mean, se, len(inside), independent))
    return QuantileReturns(min_symbols is not None, groups, difference, error)


def group_of(rank: Floats64, size: Int64s, groups: int = GROUPS) -> Int64s:
    """Groups, 0 to `groups` - 1, of average ranks among `size` values: int64 (n,)."""
    # A rank is a multiple of one half: twice it less one is a whole number, and the division is exact.
    return groups * (2 * rank - 1).astype(np.int64) // (2 * size)


def _floats(column: "pd.Series[Any]") -> Floats64:
    return np.asarray(column, dtype=np.float64)


def _pooled(sessions: Int64s, returns: Floats64, apart: int) -> tuple[float, float, int]:
    independent = len(spread(np.unique(sessions), apart))
    return (
        float(returns.mean()) if len(returns) else float("nan"),
        float(returns.std(ddof=1) / independent**0.5) if independent >= 2 else float("nan"),
        independent,
    )


def _by_session(figures: "pd.Series[float]", apart: int) -> tuple[float, float, int]:
    there = figures.dropna()
    return session_mean(there.index.to_numpy(np.int64), _floats(there), apart)
