"""Information coefficients of values, with standard errors that respect overlapping returns.

The return of a sample at bar t runs from the close of bar t + entry_lag to that of bar t + entry_lag + h. Two samples
of one symbol less than h bars apart therefore share part of their returns: they are not two observations. Every
standard error here counts only samples that are at least `apart` bars apart; `h + entry_lag` is the safe choice. The
coefficients themselves use all samples, which can only make them more precise than their standard error says.

Pairs with a missing value or return (NaN) are left out and counted.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from kline_core.typing import Floats64, Int64s

MIN_PAIRS: Final = 3
"""Two pairs always give a rank correlation of +1, -1 or none at all."""


@dataclass(frozen=True, slots=True)
class RankIC:
    """Rank IC of one symbol over its dates."""

    value: float
    """Spearman's coefficient, -1 to 1; NaN if there are fewer than `MIN_PAIRS` pairs or one side is constant."""
    se: float
    """Standard error under the hypothesis that values say nothing; NaN if it is undefined."""
    n: int
    """Pairs used."""
    n_independent: int
    """Pairs whose returns do not overlap."""
    n_missing: int
    """Pairs left out because value or return is NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossSectionIC:
    """IC or rank IC across symbols, averaged over dates."""

    value: float
    """Mean of `by_session`; NaN if that is empty."""
    se: float
    """Standard error of the mean; NaN with fewer than two independent sessions."""
    n_independent: int
    """Sessions whose returns do not overlap."""
    n_missing: int
    """Pairs left out because value or return is NaN."""
    n_thin: int
    """Sessions left out because they have fewer than `min_symbols` pairs, or one side is constant."""
    sessions: Int64s
    """int64 (s,), increasing: the sessions used."""
    by_session: Floats64
    """float64 (s,): the coefficient across the symbols of each session."""


@dataclass(frozen=True, slots=True)
class PooledRankIC:
    """Mean of the rank ICs of several symbols."""

    value: float
    """Unweighted mean over symbols; NaN if there is none."""
    se: float
    """Standard error of the mean; see `pooled_rank_ic` for its assumption about the symbols."""
    symbols: int
    """Symbols used."""
    symbols_left_out: int
    """Symbols whose rank IC or its standard error is NaN."""


def rank_ic(values: Floats64, returns: Floats64) -> float:
    """Spearman's rank correlation: Pearson's correlation of the ranks, ties at their average rank.

    `values`, `returns`: (n,), NaN left out in pairs. NaN if fewer than `MIN_PAIRS` pairs remain or one side is
    constant. Source: M. G. Kendall, Rank Correlation Methods (4th ed., Griffin, 1970), chapters 1 and 3.
    """
    use = ~(np.isnan(values) | np.isnan(returns))
    if use.sum() < MIN_PAIRS:
        return float("nan")
    one = np.zeros(int(use.sum()), dtype=np.int64)
    return float(_grouped_spearman(one, values[use], returns[use])[0])


def time_series_rank_ic(bars: Int64s, values: Floats64, returns: Floats64, apart: int) -> RankIC:
    """Rank IC of one symbol over its sample dates.

    `bars`: int64 (n,), distinct, in any order: ordinal of each sample's date among the symbol's traded bars.
    `values`, `returns`: (n,). `apart`: distance in bars from which on two samples count as independent, at least 1.

    The standard error is 1 / sqrt(n_independent - 1), the exact one of Spearman's coefficient when every pairing of
    the ranks is equally likely (H. Hotelling and M. R. Pabst, Rank Correlation and Tests of Significance Involving No
    Assumption of Normality, Annals of Mathematical Statistics 7, 1936), with n_independent the most samples that can be
    kept `apart` or more bars from each other.

    Even on a pure random walk the mean is not quite zero, but of the order 1 / bars: values that follow the last steps
    of the price up have a slightly negative one (the last 20 steps against returns over 5 bars, 1,500 bars: -0.010),
    values that follow them down a positive one. A sample's return is part of later samples' past, and both are
    compared with their averages over the whole time. `cross_section_rank_ic` compares within one date and is free of
    it. Source: R. Stambaugh, Predictive Regressions, Journal of Financial Economics 54 (1999).
    """
    use = ~(np.isnan(values) | np.isnan(returns))
    value = rank_ic(values, returns)
    independent = len(spread(np.sort(bars[use]), apart))
    se = (independent - 1) ** -0.5 if independent >= MIN_PAIRS and not np.isnan(value) else float("nan")
    return RankIC(value, se, int(use.sum()), independent, int((~use).sum()))


def cross_section_rank_ic(
    sessions: Int64s,
    values: Floats64,
    returns: Floats64,
    apart: int,
    min_symbols: int,
) -> CrossSectionIC:
    """Rank IC across the symbols of each session (Spearman's coefficient), and its mean over sessions.

    `sessions`: int64 (n,): ordinal of the session, shared by all symbols; one entry per (symbol, date), in any order.
    `values`, `returns`: (n,). `apart`: distance in sessions from which on two dates count as independent. Sessions with
    fewer than `min_symbols` pairs are left out, and so are sessions whose values or returns are all equal.

    The standard error is s / sqrt(m), s being the sample standard deviation of the coefficients of the m sessions that
    `spread` keeps. So symbols of one date may move together; dates that do not overlap are taken as independent. Source
    of the mean over dates and its error: E. Fama and J. MacBeth, Risk, Return, and Equilibrium, Journal of Political
    Economy 81 (1973).
    """
    return _cross_section(_grouped_spearman, sessions, values, returns, apart, min_symbols)


def cross_section_ic(
    sessions: Int64s,
    values: Floats64,
    returns: Floats64,
    apart: int,
    min_symbols: int,
) -> CrossSectionIC:
    """`cross_section_rank_ic` with Pearson's coefficient, which large returns can dominate."""
    return _cross_section(_grouped_pearson, sessions, values, returns, apart, min_symbols)


def _cross_section(
    coefficient: Callable[[Int64s, Floats64, Floats64], Floats64],
    sessions: Int64s,
    values: Floats64,
    returns: Floats64,
    apart: int,
    min_symbols: int,
) -> CrossSectionIC:
    use = ~(np.isnan(values) | np.isnan(returns))
    days, group, count = np.unique(sessions[use], return_inverse=True, return_counts=True)
    coefficients = coefficient(group, values[use], returns[use])
    kept = (count >= max(min_symbols, MIN_PAIRS)) & ~np.isnan(coefficients)
    days, coefficients = days[kept], coefficients[kept]
    value, se, independent = session_mean(days, coefficients, apart)
    return CrossSectionIC(
        value=value,
        se=se,
        n_independent=independent,
        n_missing=int((~use).sum()),
        n_thin=int((~kept).sum()),
        sessions=days,
        by_session=coefficients,
    )


def session_mean(sessions: Int64s, figures: Floats64, apart: int) -> tuple[float, float, int]:
    """Mean of one figure per session, its standard error, and the number of sessions that the error counts.

    `sessions`: int64 (s,), increasing. `figures`: float64 (s,), without NaN. The error is that of
    `cross_section_rank_ic`, NaN for fewer than two independent sessions; the mean is NaN for no session.
    """
    independent = figures[spread(sessions, apart)]
    return (
        float(figures.mean()) if len(figures) else float("nan"),
        float(independent.std(ddof=1) / len(independent) ** 0.5) if len(independent) >= 2 else float("nan"),
        len(independent),
    )


def pooled_rank_ic(results: Iterable[RankIC], together: bool = False) -> PooledRankIC:
    """Mean rank IC over symbols, with standard error sqrt(sum of the squared standard errors) / symbols.

    The error assumes that the symbols' returns are independent of each other. That holds for separately drawn random
    walks, even if their values come from a common set of patterns, since future returns are independent of all values.
    It does not hold for a market, whose symbols move together: use `cross_section_rank_ic` there, or `together`. The
    standard error is then the mean of the symbols' standard errors, an upper bound however much the symbols move
    together.
    """
    given = list(results)
    used = [result for result in given if not np.isnan(result.se)]
    if not used:
        return PooledRankIC(float("nan"), float("nan"), 0, len(given))
    value = float(np.mean([result.value for result in used]))
    errors = np.array([result.se for result in used])
    se = float(errors.mean() if together else np.sqrt((errors**2).sum()) / len(used))
    return PooledRankIC(value, se, len(used), len(given) - len(used))


def _grouped_spearman(group: Int64s, values: Floats64, returns: Floats64) -> Floats64:
    """Spearman's coefficient in each of the groups 0, 1, ... (all of them present); NaN if one side is constant."""
    size = np.bincount(group)
    # The mean of n average ranks is (n + 1) / 2 whatever the ties; twice the distance from it is a whole number, so
    # that the sums are exact and do not depend on the order of the rows.
    middle = (size[group] + 1).astype(np.float64)
    x = 2.0 * pd.Series(values).groupby(group).rank().to_numpy() - middle
    y = 2.0 * pd.Series(returns).groupby(group).rank().to_numpy() - middle
    xy, xx, yy = (np.bincount(group, weights=product) for product in (x * y, x * x, y * y))
    varies = (xx > 0) & (yy > 0)
    result = np.full(len(size), np.nan)
    result[varies] = xy[varies] / np.sqrt(xx[varies] * yy[varies])
    return result


def _grouped_pearson(group: Int64s, values: Floats64, returns: Floats64) -> Floats64:
    """Pearson's coefficient in each of the groups 0, 1, ... (all of them present); NaN if one side is constant."""
    size = np.bincount(group)
    varies = np.ones(len(size), dtype=bool)
    sides = []
    for side in (values, returns):
        grouped = pd.Series(side).groupby(group)
        # By the extremes, since the rounding of a mean lets equal numbers seem to differ.
        varies &= (grouped.min() < grouped.max()).to_numpy()
        sides.append(side - (np.bincount(group, weights=side) / size)[group])
    x, y = sides
    xy, xx, yy = (np.bincount(group, weights=product) for product in (x * y, x * x, y * y))
    # The squares of tiny numbers underflow to 0: no coefficient either.
    varies &= (xx > 0) & (yy > 0)
    result = np.full(len(size), np.nan)
    result[varies] = np.clip(xy[varies] / np.sqrt(xx[varies]) / np.sqrt(yy[varies]), -1.0, 1.0)
    return result


def spread(ordinals: Int64s, apart: int) -> Int64s:
    """Positions kept when going through increasing `ordinals` and skipping those less than `apart` after the last one
    kept.

    `ordinals`: int64 (n,). Returns int64: as many positions as can be kept at this distance.
    """
    # A list, since indexing an array takes longer than the search.
    given, kept, position = ordinals.tolist(), [], 0
    while position < len(given):
        kept.append(position)
        position = bisect_left(given, given[position] + apart, position + 1)
    return np.array(kept, dtype=np.int64)
