"""Factor value of a sample: a similarity- and age-weighted share of winners among its matches.

A match weighs max(similarity, 0) * 0.5 ** (age / half_life_days), its age being the calendar days from its window's end
to the sample's date; without a half-life, max(similarity, 0). With these weights w:

    barrier win rate = sum(w * (upper barrier touched first)) / sum(w)
    return win rate  = sum(w * (forward return > 0)) / sum(w)
    value            = barrier_weight * barrier win rate + (1 - barrier_weight) * return win rate

The value is a share, no probability: how many matches stand behind it says their effective number,

    effective matches = 1 / sum((w / sum(w)) ** 2)

which is their number where all weigh the same, and 1 where one has all of the weight (L. Kish, Survey Sampling, Wiley,
1965, for weighted samples; also the inverse of the Herfindahl-Hirschman index).

The return distribution beside it weighs the same matches equally: it shows their outcomes, unmodelled.

A sample without a value is NaN throughout, with a reason. There is no neutral value.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from kline_core._sums import row_sums
from kline_core.dates import as_days
from kline_core.patterns.patterns import Patterns
from kline_core.search.results import Matches
from kline_core.settings import FactorSettings, Settings
from kline_core.store.schemas import FAILED, OK
from kline_core.typing import Dates, Flags, Floats64, Int16s, Int64s, Objects

_SAME = 1e-9
"""Relative difference that rounding may make between the effective matches of equal weights and their number."""


@dataclass(frozen=True, slots=True, eq=False)
class FactorRows:
    """Computed figures of q samples; the float64 (q,) columns are NaN wherever `value` is."""

    dates: Dates
    """datetime64[D] (q,)"""
    value: Floats64
    """0 to 1, or NaN with a reason."""
    status: Objects
    """'ok' or 'failed'."""
    reason: Objects
    """None if ok, else why there is no value, such as 'too few matches: 3 of 5'."""
    matches: Int16s
    """Number of matches found, failed samples included."""
    barrier_win_rate: Floats64
    return_win_rate: Floats64
    similarity: Floats64
    """Mean of the matches' similarities."""
    return_mean: Floats64
    return_median: Floats64
    return_q05: Floats64
    return_q25: Floats64
    return_q75: Floats64
    return_cvar: Floats64
    """Mean of the returns that are at most `return_q05`."""
    effective_matches: Floats64
    """1 / sum of the squared shares of weight: 1 to `matches`."""
    weights: Floats64
    """float64 (q, top_k): weight of each match, NaN if there is none."""

    def __len__(self) -> int:
        """Number of samples q."""
        return len(self.dates)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Columns of the `factors` table, without symbol and history: (q,) each; `date` is datetime64[D]."""
        names = [field.name for field in fields(self) if field.name not in ("dates", "weights")]
        return {"date": self.dates} | {name: getattr(self, name) for name in names}


def factor_values(patterns: Patterns, matches: Matches, dates: Dates, settings: Settings) -> FactorRows:
    """Weigh the matches of q samples into their values.

    Args:
        patterns: Patterns whose rows the matches name.
        matches: Matches of the q samples.
        dates: datetime64[D] (q,): dates of the samples.
        settings: `patterns.horizons` tells which column of the returns `factor.return_horizon` is.

    Raises:
        DateError: `dates` are not datetime64[D], or contain NaT.
        ValueError: `matches` and `dates` have different lengths.
    """
    dates = as_days(dates, "dates")
    if len(matches) != len(dates):
        raise ValueError(f"there are matches of {len(matches)} samples for {len(dates)} dates")
    there = matches.rows >= 0
    count = there.sum(axis=1)
    similarity = np.where(there, matches.similarity, 0.0)
    # Row -1, no match, reads the last row, which is masked; but there may be no row at all.
    horizon = settings.patterns.horizons.index(settings.factor.return_horizon)
    if len(patterns):
        returns = patterns.returns[matches.rows, horizon].astype(np.float64)
        age = (dates[:, None] - patterns.end[matches.rows]).astype(np.int64)
        won = patterns.barrier[matches.rows] == 1
    else:
        returns, age, won = np.zeros(there.shape), np.zeros(there.shape, dtype=np.int64), there
    weights = np.where(there, np.maximum(similarity, 0.0) * _decay(age, there, settings.factor.half_life_days), 0.0)

    total = row_sums(weights)
    # Of shares, since squares of tiny weights would vanish.
    squares = row_sums((weights / np.where(total > 0, total, 1.0)[:, None]) ** 2)
    effective = 1.0 / np.where(total > 0, squares, 1.0)
    reason = _reasons(count, total, effective, settings.factor)
    ok = np.array([why is None for why in reason], dtype=bool)
    # Failed samples are computed as zeros and shown as NaN.
    total, number = np.where(ok, total, 1.0), np.maximum(count, 1)
    barrier_win_rate = row_sums(weights * won) / total
    return_win_rate = row_sums(weights * (returns > 0)) / total
    value = settings.factor.barrier_weight * barrier_win_rate + settings.factor.return_weight * return_win_rate
    ordered = np.sort(np.where(there, returns, np.inf), axis=1)
    q05 = _quantile(ordered, count, 0.05)
    tail = ordered <= q05[:, None]

    def shown(column: Floats64) -> Floats64:
        return np.where(ok, column, np.nan)

    return FactorRows(
        dates=dates,
        value=shown(value),
        status=np.where(ok, OK, FAILED).astype(object),
        reason=reason,
        matches=count.astype(np.int16),
        barrier_win_rate=shown(barrier_win_rate),
        return_win_rate=shown(return_win_rate),
        similarity=shown(row_sums(similarity) / number),
        return_mean=shown(row_sums(np.where(there, returns, 0.0)) / number),
        return_median=shown(_quantile(ordered, count, 0.5)),
        return_q05=shown(q05),
        return_q25=shown(_quantile(ordered, count, 0.25)),
        return_q75=shown(_quantile(ordered, count, 0.75)),
        return_cvar=shown(row_sums(np.where(tail, ordered, 0.0)) / np.maximum(tail.sum(axis=1), 1)),
        effective_matches=shown(effective),
        weights=np.where(there, weights, np.nan),
    )


def match_columns(
    patterns: Patterns, matches: Matches, factors: FactorRows, horizons: tuple[int, ...]
) -> dict[str, npt.NDArray[Any]]:
    """Columns of the `matches` table, one entry per match: samples in order, best match first.

    `sample` (int64) is the position of the match's sample among the q; `date` and `match_end` are datetime64[D], `rank`
    counts from 1, `weight` is the weight before division by the sum, r<h> is the forward return over h bars, a
    fraction. Matches of failed samples are included.
    """
    sample, place = np.nonzero(matches.rows >= 0)
    row = matches.rows[sample, place]
    columns: dict[str, npt.NDArray[Any]] = {
        "sample": sample.astype(np.int64),
        "date": factors.dates[sample],
        "rank": (place + 1).astype(np.int16),
        "match_symbol": np.array(patterns.symbols, dtype=object)[patterns.code[row]],
        "match_end": patterns.end[row],
        "similarity": matches.similarity[sample, place],
        "weight": factors.weights[sample, place],
    }
    columns |= {f"r{bars}": patterns.returns[row, column] for column, bars in enumerate(horizons)}
    return columns | {"barrier": patterns.barrier[row]}


def _reasons(count: Int64s, total: Floats64, effective: Floats64, factor: FactorSettings) -> Objects:
    reason = np.full(len(count), None, dtype=object)
    wanted = factor.min_effective_matches
    if wanted > 1:
        for sample in np.flatnonzero(effective < wanted * (1.0 - _SAME)):
            # Cut, not rounded: 1.999 of 2 are not 2.00 of 2.
            found = math.floor(100 * effective[sample]) / 100
            reason[sample] = f"too few effective matches: {found:.2f} of {wanted:g}"
    old = "" if factor.half_life_days is None else ", or all are too old for half_life_days"
    for sample in np.flatnonzero(~(total > 0)):
        reason[sample] = f"matches without weight: none is similar{old}"
    floor = "" if factor.min_similarity is None else f" with a similarity of at least {factor.min_similarity:g}"
    for sample in np.flatnonzero(count < factor.min_matches):
        reason[sample] = f"too few matches: {count[sample]} of {factor.min_matches}{floor}"
    return reason


def _decay(age: Int64s, there: Flags, half_life_days: float | None) -> Floats64:
    if half_life_days is None:
        return np.ones(age.shape)
    # Python's power, once per distinct age: NumPy's may round the last digit differently by position in the array.
    ages, inverse = np.unique(np.where(there, age, 0), return_inverse=True)
    decay = np.array([0.5 ** (days / half_life_days) for days in ages.tolist()], dtype=np.float64)
    return decay[inverse].reshape(age.shape)


def _quantile(ordered: Floats64, count: Int64s, share: float) -> Floats64:
    """Quantile of the first `count` of each ascending row, linear between neighbours (NumPy's default); 0 if none."""
    place = np.maximum(count - 1, 0) * share
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below, above = (np.take_along_axis(ordered, at[:, None], axis=1)[:, 0] for at in (low, high))
    none = count == 0
    below, above = np.where(none, 0.0, below), np.where(none, 0.0, above)
    result: Floats64 = below + (above - below) * (place - low)
    return result
