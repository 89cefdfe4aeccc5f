"""Adjustment factors from what vendors give in their place: a previous close, an adjusted close, splits and dividends,
and factors whose base is another in each delivery.

None of these is a factor on a base that lasts, but each tells the *change* of the cumulative backward factor from one
bar of a symbol to the next. So a file's changes are worked out first, and then chained to what is stored, where both
have a date (`chain`). Without such a date nothing tells the change in between, and the rows are refused; a previous
close tells it, if the last stored bar is that of the session before.

* Previous close: `change = close before / previous close`, as exchanges publish it on an ex-date. See below for holes.
* Factors on a base that moves: `change` is theirs, if it is more than the rounding of float32.
* Adjusted close: `change` is that of `adjusted close / close`, if it is more than the rounding of the two.
* Splits and dividends: `change = split * close before / (close before - dividend)`, as in CRSP's factor to adjust
  prices; the dividend is per share before the split.

A previous close behind a hole, sessions of the exchange without a row, may be the close of a row that was lost, and
then `change` is the return of that row and no payment. Nothing tells the two apart for sure, but some things do tell:

* The previous close is the close before: nothing was paid out, and nothing was lost that matters.
* The file has rows of suspended days, so a day without one is lost; or a row of it is stored already.
* The previous close is above the close before. A payment never does that: of 786 ex-dates of 150 shares in five years,
  none did. The return of a lost row does it half of the time.
* Real suspensions seldom end with a payment: 6 of 44 did. Where more than one hole of a symbol does, and more than half
  of its holes, rows are lost.

In the last three cases the symbol's rows are refused, since the change is not known. In what is left, the change counts
as a payment during a suspension, and the report says how many there are.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.bars.rebasing import beside_a_gap
from kline_core.bars.row_errors import RowErrors
from kline_core.bars.sessions import skipped_sessions
from kline_core.bars.symbol_bars import days_of
from kline_core.typing import Dates, Flags, Floats64, Int64s, Positions

_HINTS = ("adj_close", "prev_close", "split", "dividend")
_MOST_EX_DATES = 0.2
_FLOAT32 = 2.5e-7
"""Relative error of a price that has been through a few sums in float32: Yahoo's adjusted closes, for instance."""
_SAME_FACTOR = 1e-5
_FEW_PRICES = 8
BORDER = 5
"""First common dates of a delivery that tell its base."""
_SAME_RATIO = 1e-3
"""Relative difference of two ratios of prices that are written with two decimals."""
CORRECTED = 5e-3
"""Relative change of a close up to which one date alone is believed to be corrected: no split is that small."""

NO_OVERLAP = (
    "the vendor gives changes of the adjustment, and no delivered date is stored, so that the change in between is not "
    "known; deliver the last stored date again too"
)
NO_OVERLAP_BEFORE = (
    "the vendor gives changes of the adjustment, and no delivered date is stored, so that the change in between is not "
    "known; deliver all days up to the first stored date, and that one too"
)
NO_OVERLAP_BETWEEN = (
    "the vendor gives changes of the adjustment, and no delivered date is stored, so that the change in between is not "
    "known; deliver the stored dates before and after these again too"
)
RESTATED = (
    "the close is not the stored one where the delivery meets stored bars: a correction, or a split that the vendor "
    "has worked into the past; deliver more stored dates, or the symbol's whole history"
)
NO_JOINT = (
    "the change of the adjustment between two rows of the symbol is not known: they come from files with a base each, "
    "or a row between them is missing or rejected; deliver one whole file"
)
LOST_ROW = (
    "behind sessions without a row the previous close is not the close before, which is the return of a lost row, or a "
    "payment; deliver the rows between, or a file of factors beside these"
)
HOLES = (
    "behind {} holes of sessions without a row the previous close is below the close before: it was taken for a "
    "payment during a suspension; if a row was lost there, it is the return of that row, so deliver it, or a file of "
    "factors"
)
TORN = (
    "the adjustment changes where the delivery ends, and stored bars after it would not have the change; deliver the "
    "symbol up to its last stored date"
)


@dataclass(frozen=True, slots=True)
class Increments:
    """Changes of the factor within one file."""

    columns: dict[str, Floats64 | Flags]
    """`CHANGES` (n,): bool, float64, float64."""
    notes: tuple[str, ...] = ()


def may_tell_changes(columns: Collection[str], lasting: bool) -> bool:
    """Whether a file with these columns may tell changes of the factor; `lasting` is that of `changes_in_file`."""
    return any(name in columns for name in _HINTS) or (not lasting and "adj_factor" in columns)


def changes_in_file(
    symbols: pd.Series,
    days: Dates,
    numbers: dict[str, Floats64],
    faults: RowErrors,
    *,
    lasting: bool = True,
    every_day: bool = False,
) -> Increments:
    """Changes of the factor from what the columns of a file tell; an explicit factor goes before them.

    Args:
        symbols: Canonical symbols (n,), empty where there is none.
        days: datetime64[D] (n,), NaT where there is none.
        numbers: float64 (n,) each: close, and `HINTS` as far as they are there.
        faults: Faults of the rows so far; collects those of the hints.
        lasting: Whether explicit factors are on a base that lasts; of others only their changes count.
        every_day: Whether the file has rows of suspended days, so that a session without a row is lost.
    """
    count = len(days)
    bare = Increments(
        {"incremental": np.zeros(count, bool), "change": np.full(count, np.nan), "prev_close": np.full(count, np.nan)}
    )
    hints = {name for name in _HINTS if name in numbers}
    explicit = not np.isnan(numbers["adj_factor"]).all()
    if (lasting or not explicit) and (explicit or not hints):
        return bare
    close = numbers["close"]
    readable = (close > 0) & np.isfinite(close) & ~np.isnat(days) & (symbols != "").to_numpy()
    if explicit:
        readable &= numbers["adj_factor"] > 0
    elif "adj_close" in hints:
        told = (numbers["adj_close"] > 0) & np.isfinite(numbers["adj_close"])
        faults.mark(~told, "adj_close", "is missing or not above 0")
        readable &= told
    code = pd.factorize(symbols)[0]
    order = np.lexsort((days, code))
    unread = order[~readable[order]]
    order = order[readable[order]]
    # One row of each day: the others are duplicates, which are no days of their own.
    twice = (code[order][1:] == code[order][:-1]) & (days[order][1:] == days[order][:-1])
    doubtful = faults.any().copy()
    doubtful[order[:-1][twice & (close[order][1:] != close[order][:-1])]] = True
    order = order[np.r_[True, ~twice]] if len(order) else order
    follows = code[order][1:] == code[order][:-1]
    before, now = order[:-1][follows], order[1:][follows]
    change = np.full(count, np.nan)
    previous = np.full(count, np.nan)
    notes: tuple[str, ...] = ()
    with np.errstate(all="ignore"):
        if explicit:
            change[now] = step_between(numbers["adj_factor"][before], numbers["adj_factor"][now])
        elif "adj_close" in hints:
            change[now] = _of_adjusted(close, numbers["adj_close"], before, now)
        elif "prev_close" in hints:
            previous = np.where(numbers["prev_close"] > 0, numbers["prev_close"], np.nan)
            change[now] = step_over(close[before], previous[now])
            # A close that is rejected or contradicted tells nothing, unless the next row says that it was right.
            change[now[doubtful[before] & (change[now] != 1.0)]] = np.nan
            # A previous close that says something else every day is no close of the day before.
            ex_dates = int((np.abs(change[now] - 1) > 0).sum())
            if ex_dates > max(len(np.unique(code[now])), _MOST_EX_DATES * len(now)):
                text = (
                    f"the previous close is not the close before on {ex_dates} of {len(now)} days, too many to be "
                    "ex-dates: it was not used, and prices are taken as already comparable"
                )
                return Increments(bare.columns, (text,))
            lost, taken = _holes(symbols, code, days, change, before, now, every_day)
            change[now[lost]] = np.nan
            notes = (HOLES.format(taken),) if taken else ()
        else:
            change[now] = _of_payments(close, numbers, before, now, faults)
            _forget_after(unread, order, code, days, change, numbers)
    _carry_over(order, code, change, ~faults.any())
    return Increments({"incremental": np.ones(count, dtype=bool), "change": change, "prev_close": previous}, notes)


def step_between(before: Floats64, factor: Floats64) -> Floats64:
    """Change between factors of one delivery, of bars that follow each other, float64 (n,) all."""
    with np.errstate(all="ignore"):
        step = factor / before
        return np.where(np.abs(step - 1) <= 2 * _FLOAT32, 1.0, step)


def step_over(before: Floats64, previous: Floats64) -> Floats64:
    """Change of the factor between closes and the previous closes of the next bars, float64 (n,) all."""
    step = before / previous
    return np.where(np.abs(step - 1) <= SAME_PRICE, 1.0, step)


def _of_adjusted(close: Floats64, adjusted: Floats64, before: Positions, now: Positions) -> Floats64:
    ratio, error = adjusted / close, _rounding(adjusted) + _rounding(close)
    step = ratio[now] / ratio[before]
    return np.where(np.abs(step - 1) <= error[now] + error[before], 1.0, step)


def _rounding(prices: Floats64) -> Floats64:
    """Relative error of each of n prices by the decimals that they are written with, float64 (n,)."""
    some = np.unique(prices[np.isfinite(prices)])
    # A few prices may end in zeros by chance, and a dividend must not pass for rounding then.
    fits = (n for n in range(12) if np.allclose(some, np.round(some, n), rtol=1e-14, atol=0))
    decimals = 12 if len(some) < _FEW_PRICES else next(fits, 12)
    return np.asarray(0.55 * 10.0**-decimals / prices + _FLOAT32, dtype=np.float64)


def _of_payments(
    close: Floats64, numbers: dict[str, Floats64], before: Positions, now: Positions, faults: RowErrors
) -> Floats64:
    nothing = np.zeros(len(close))
    split = np.nan_to_num(numbers.get("split", nothing))
    paid = np.nan_to_num(numbers.get("dividend", nothing))
    faults.mark((split < 0) | np.isinf(split), "split", "is negative or not finite")
    faults.mark((paid < 0) | np.isinf(paid), "dividend", "is negative or not finite")
    # Vendors write 0 where there is no split, or 1.
    times = np.where(split[now] > 0, split[now], 1.0)
    left = close[before] - paid[now]
    too_much = np.zeros(len(close), dtype=bool)
    too_much[now[left <= 0]] = True
    faults.mark(too_much, "dividend", "is not less than the close before")
    return times * close[before] / np.where(left > 0, left, close[before])


def _holes(
    symbols: pd.Series, code: Int64s, days: Dates, change: Floats64, before: Positions, now: Positions, every_day: bool
) -> tuple[Flags, int]:
    """Which pairs of rows have a hole between them that hides a change, bool (n,), and how many others change there."""
    moved = (change[now] != 1) & ((days[now] - days[before]).astype(np.int64) > 1)
    lost = np.zeros(len(now), dtype=bool)
    if not moved.any():
        return lost, 0
    # Of the symbols that matter alone: most change on no day behind a weekend.
    some = np.flatnonzero(np.isin(code[now], np.unique(code[now[moved]])))
    hole = np.zeros(len(now), dtype=bool)
    hole[some] = skipped_sessions(symbols.iloc[now[some]], days[before[some]], days[now[some]])
    moved &= hole
    many, all_ = (np.bincount(code[now[where]], minlength=code.max() + 1) for where in (moved, hole))
    lost = moved & ((change[now] < 1) | every_day | ((many > 1) & (2 * many > all_))[code[now]])
    return lost, int((moved & ~lost).sum())


def _forget_after(
    unread: Positions, order: Positions, code: Int64s, days: Dates, change: Floats64, numbers: dict[str, Floats64]
) -> None:
    """Forget the change at the first row behind one without a readable price that may have had a payment, in place."""
    nothing = np.zeros(len(days))
    split, paid = (numbers.get(name, nothing) for name in ("split", "dividend"))
    for row in unread.tolist():
        if (split[row] in (0.0, 1.0) and paid[row] == 0) or np.isnat(days[row]):
            continue
        later = order[(code[order] == code[row]) & (days[order] > days[row])]
        change[later[:1]] = np.nan


def _carry_over(order: Positions, code: Int64s, change: Floats64, kept: Flags) -> None:
    """Let rows that follow rejected ones take over their changes, in place."""
    for at in np.flatnonzero(~kept[order][:-1]).tolist():
        if code[order[at + 1]] == code[order[at]]:
            change[order[at + 1]] *= change[order[at]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a symbol's rows have no factor."""

    reason: str
    where: str = ""
    """The days that it is about; empty for those of the rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of several symbols, in any order."""

    key: Int64s
    """int64 (n,): symbol and date, see `kline_core.bars.symbol_bars.symbol_day_keys`."""
    close: Floats64
    change: Floats64
    previous: Floats64


def chain(
    rows: Rows, stored: Rows, stored_factor: Floats64, is_next_session: Callable[[int, int, int], bool]
) -> tuple[Floats64, dict[int, Refusal]]:
    """Factors of delivered rows, chained to the stored ones.

    Args:
        rows: Delivered rows.
        stored: Stored rows of the same symbols: all those on delivered dates, and the last one before these.
        stored_factor: float64 (m,): their factors.
        is_next_session: Tells of a symbol's code whether the second day (days since 1970) is the session after the
            first.

    Returns:
        float64 (n,), NaN where there is none; and by code why its rows have none.
    """
    factor = np.full(len(rows.key), np.nan)
    refused: dict[int, Refusal] = {}
    order, there = np.argsort(rows.key), np.argsort(stored.key)
    key, stored_key = rows.key[order], stored.key[there]
    codes, first = np.unique(key >> 32, return_index=True)
    for code, mine in zip(codes.tolist(), np.split(order, first[1:]), strict=True):
        begin, end = np.searchsorted(stored_key, [code << 32, (code + 1) << 32])
        theirs = there[begin:end]
        fault = _chain_one(factor, rows, mine, stored, theirs, stored_factor, partial(is_next_session, code))
        if fault:
            refused[code] = fault
            factor[mine] = np.nan
    return factor, refused


def _base(relative: Floats64, close: Floats64, stored_close: Floats64, held: Floats64) -> tuple[int, float] | None:
    """The first common date that tells the base, as its position, and the factor there; None if nothing does.

    A vendor that works splits into its past delivers other closes for stored dates. Then the factor has to make up for
    it, so that the adjusted prices go on; where a close was corrected, it has not. So adjusted prices are compared,
    stored with delivered: their ratio is that of most of the first dates, and a corrected one has another.

    Args:
        relative: float64 (n,): factors on common dates, on any base.
        close: float64 (n,): delivered closes.
        stored_close: float64 (n,): stored ones.
        held: float64 (n,): stored factors.
    """
    some = slice(0, BORDER)
    moved = (stored_close / close)[some]
    ratio = (held / relative)[some] * moved
    agree = np.abs(ratio / ratio[:, None] - 1) <= _SAME_RATIO
    count = agree.sum(axis=1)
    first = int(count.argmax())
    alone = count[first] == 1
    if alone and abs(moved[first] - 1) > CORRECTED:
        return None
    return first, float(held[first] if abs(moved[first] - 1) <= CORRECTED else held[first] * moved[first])


def _chain_one(
    factor: Floats64,
    rows: Rows,
    mine: Positions,
    stored: Rows,
    theirs: Positions,
    stored_factor: Floats64,
    is_next_session: Callable[[int, int], bool],
) -> Refusal | None:
    """Factors of one symbol's rows, in place; or why there are none."""
    day, stored_day = days_of(rows.key[mine]), days_of(stored.key[theirs])
    change = rows.change[mine].copy()
    place = np.searchsorted(stored_day, day)
    known = np.zeros(len(day), dtype=bool)
    inside = place < len(stored_day)
    known[inside] = stored_day[place[inside]] == day[inside]

    def over_a_gap(close: float, since: int, at: int) -> float:
        """Change from a close to a row of which only the previous close tells it; NaN if it does not."""
        step = float(step_over(np.array([close]), rows.previous[mine[at : at + 1]])[0])
        return step if step == 1.0 or is_next_session(since, int(day[at])) else np.nan

    def between(at: int) -> float:
        """Change from a row to the next by its previous close; as the file says it, or NaN, where that does not tell.

        Another file, or what is stored, may have rows of days that the file lacks.
        """
        close, since, scale = float(rows.close[mine[at]]), int(day[at]), 1.0
        last = int(place[at + 1]) - 1
        if last >= 0 and stored_day[last] > since:
            if not known[at]:
                return np.nan
            close, scale = float(stored.close[theirs[last]]), float(stored_factor[theirs[last]])
            since, scale = int(stored_day[last]), scale / float(stored_factor[theirs[place[at]]])
        step = over_a_gap(close, since, at + 1)
        if not np.isnan(step):
            return step * scale
        return np.nan if since != day[at] else float(change[at + 1])

    told = ~np.isnan(rows.previous[mine])
    for at in np.flatnonzero(np.isnan(change[1:]) | (told[1:] & (change[1:] != 1))).tolist():
        change[at + 1] = between(at)
    if unknown := np.flatnonzero(np.isnan(change[1:])).tolist():
        at = unknown[0]
        first, last = (np.datetime64(int(day[row]), "D") for row in (at, at + 1))
        return Refusal(LOST_ROW, f"{first} to {last}") if told[at + 1] else Refusal(NO_JOINT)
    if known.any():
        same = np.flatnonzero(known)
        held = theirs[place[same]]
        base = _base(
            np.cumprod(np.append(1.0, change[1:]))[same],
            rows.close[mine[same]],
            stored.close[held],
            stored_factor[held],
        )
        if base is None:
            return Refusal(RESTATED)
        anchor, result = int(same[base[0]]), np.empty(len(day))
        result[anchor] = base[1]
        for at in range(anchor, 0, -1):
            result[at - 1] = result[at] / change[at]
    elif len(stored_day) == 0:
        anchor, result = 0, np.ones(len(day))
    elif stored_day[-1] < day[0]:
        anchor, result = 0, np.empty(len(day))
        step = over_a_gap(stored.close[theirs[-1]], int(stored_day[-1]), 0)
        if np.isnan(step):
            return Refusal(NO_OVERLAP)
        result[0] = stored_factor[theirs[-1]] * step
    else:
        return Refusal(NO_OVERLAP_BEFORE if stored_day[0] > day[-1] else NO_OVERLAP_BETWEEN)
    for at in range(anchor + 1, len(day)):
        result[at] = result[at - 1] * change[at]
        if known[at]:
            held = stored_factor[theirs[place[at]]]
            # A vendor rounds anew whatever it adjusts anew.
            result[at] = held if abs(result[at] / held - 1) <= _SAME_FACTOR else result[at]
    if known.any():
        held = theirs[place[known]]
        # Where a vendor works splits into its past, the factor makes up for other closes.
        unmoved = np.abs(rows.close[mine[known]] / stored.close[held] - 1) <= SAME_PRICE
        differs = unmoved & (np.abs(result[known] / stored_factor[held] - 1) > _SAME_FACTOR)
        delivered = np.isin(stored_day, day)
        if (differs & beside_a_gap(delivered)[delivered]).any():
            return Refusal(TORN)
    factor[mine] = result
    return None
