"""Adjustment factors from what vendors give in their place: a previous close, an adjusted close, splits and dividends.

None of these is a factor on a base that lasts, but each tells the *change* of the cumulative backward factor from one
bar of a symbol to the next. So a file's changes are worked out first, and then chained to what is stored, where both
have a date (`chain`). Without such a date nothing tells the change in between, and the rows are refused; a previous
close tells it, if the last stored bar is that of the session before.

* Previous close: `change = close before / previous close`, as exchanges publish it on an ex-date.
* Adjusted close: `change` is that of `adjusted close / close`, if it is more than the rounding of the two.
* Splits and dividends: `change = split * close before / (close before - dividend)`, as in CRSP's factor to adjust
  prices; the dividend is per share before the split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.bars.rebasing import beside_a_gap
from kline_core.bars.row_errors import RowErrors
from kline_core.bars.sessions import skips_session
from kline_core.bars.symbol_bars import days_of
from kline_core.typing import Dates, Flags, Floats64, Int64s, Positions

_MOST_EX_DATES = 0.2
_FLOAT32 = 2.5e-7
"""Relative error of a price that has been through a few sums in float32: Yahoo's adjusted closes, for instance."""
_SAME_FACTOR = 1e-5
_FEW_PRICES = 8
_BORDER = 5
"""First common dates of a delivery that tell its base."""
_SAME_RATIO = 1e-3
"""Relative difference of two ratios of prices that are written with two decimals."""
_FEWEST = 3
_SCALE = 1e-4
"""Relative change of closes that is more than another rounding, if all of some have it."""
_CORRECTED = 5e-3
"""Relative change of a close up to which one date alone is believed to be corrected: no split is that small."""

NO_OVERLAP = (
    "the vendor gives changes of the adjustment, and no delivered date is stored, so that the change in between is not "
    "known; deliver the last stored date again too"
)
RESTATED = (
    "the close is not the stored one where the delivery meets stored bars: a correction, or a split that the vendor "
    "has worked into the past; deliver more stored dates, or the symbol's whole history"
)
RESTATED_BARE = (
    "all closes are the stored ones times a constant: the vendor has adjusted its prices anew, and nothing tells by "
    "what; deliver the symbol's whole history"
)
NO_JOINT = (
    "the change of the adjustment between two rows of the symbol is not known: they come from files with a base each, "
    "or a row between them is missing or rejected; deliver one whole file"
)
LOST_DAYS = (
    "behind {} days without a row the previous close is not the close before: it was taken for a payment, and may be "
    "the return of the lost day; deliver these days"
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


def changes_in_file(symbols: pd.Series, days: Dates, numbers: dict[str, Floats64], faults: RowErrors) -> Increments:
    """Changes of the factor from what the columns of a file tell; an explicit factor goes before them.

    Args:
        symbols: Canonical symbols (n,), empty where there is none.
        days: datetime64[D] (n,), NaT where there is none.
        numbers: float64 (n,) each: close, and `HINTS` as far as they are there.
        faults: Faults of the rows so far; collects those of the hints.
    """
    count = len(days)
    bare = Increments(
        {"incremental": np.zeros(count, bool), "change": np.full(count, np.nan), "prev_close": np.full(count, np.nan)}
    )
    hints = {name for name in ("adj_close", "prev_close", "split", "dividend") if name in numbers}
    if not hints or not np.isnan(numbers["adj_factor"]).all():
        return bare
    close = numbers["close"]
    readable = (close > 0) & np.isfinite(close) & ~np.isnat(days) & (symbols != "").to_numpy()
    if "adj_close" in hints:
        told = (numbers["adj_close"] > 0) & np.isfinite(numbers["adj_close"])
        faults.mark(~told, "adj_close", "is missing or not above 0")
        readable &= told
    code = pd.factorize(symbols)[0]
    order = np.lexsort((days, code))
    unread = order[~readable[order]]
    order = order[readable[order]]
    # One row of each day: the others are duplicates, which are no days of their own.
    twice = (code[order][1:] == code[order][:-1]) & (days[order][1:] == days[order][:-1])
    order = order[np.r_[True, ~twice]] if len(order) else order
    follows = code[order][1:] == code[order][:-1]
    before, now = order[:-1][follows], order[1:][follows]
    change = np.full(count, np.nan)
    previous = np.full(count, np.nan)
    notes: tuple[str, ...] = ()
    with np.errstate(all="ignore"):
        if "adj_close" in hints:
            change[now] = _of_adjusted(close, numbers["adj_close"], before, now)
        elif "prev_close" in hints:
            previous = np.where(numbers["prev_close"] > 0, numbers["prev_close"], np.nan)
            change[now] = step_over(close[before], previous[now])
            # A previous close that says something else every day is no close of the day before.
            ex_dates = int((np.abs(change[now] - 1) > 0).sum())
            if ex_dates > max(len(np.unique(code[now])), _MOST_EX_DATES * len(now)):
                text = (
                    f"the previous close is not the close before on {ex_dates} of {len(now)} days, too many to be "
                    "ex-dates: it was not used, and prices are taken as already comparable"
                )
                return Increments(bare.columns, (text,))
            if "trading" in numbers:
                # Where suspended days have rows, a day without one is lost.
                lost = int(((change[now] != 1) & _gaps(symbols, days, before, now)).sum())
                notes = (LOST_DAYS.format(lost),) if lost else ()
        else:
            change[now] = _of_payments(close, numbers, before, now, faults)
            _forget_after(unread, order, code, days, change, numbers)
    _carry_over(order, code, change, ~faults.any())
    return Increments({"incremental": np.ones(count, dtype=bool), "change": change, "prev_close": previous}, notes)


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


def _gaps(symbols: pd.Series, days: Dates, before: Positions, now: Positions) -> Flags:
    """Whether sessions of the symbol's exchange lie between pairs of rows, bool (n,); false where that is not known."""
    gaps = np.zeros(len(now), dtype=bool)
    names = symbols.to_numpy()
    for at in np.flatnonzero((days[now] - days[before]).astype(np.int64) > 1).tolist():
        gaps[at] = bool(skips_session(str(names[now[at]]), days[before[at]], days[now[at]]))
    return gaps


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
) -> tuple[Floats64, dict[int, str]]:
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
    refused: dict[int, str] = {}
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
    some = slice(0, _BORDER)
    moved = (stored_close / close)[some]
    ratio = (held / relative)[some] * moved
    agree = np.abs(ratio / ratio[:, None] - 1) <= _SAME_RATIO
    count = agree.sum(axis=1)
    first = int(count.argmax())
    alone = count[first] == 1
    if alone and abs(moved[first] - 1) > _CORRECTED:
        return None
    return first, float(held[first] if abs(moved[first] - 1) <= _CORRECTED else held[first] * moved[first])


def restated(key: Int64s, close: Floats64, stored_close: Floats64) -> list[int]:
    """Codes of the symbols whose closes came on another scale than the stored ones.

    Args:
        key: int64 (n,): symbol and date of rows whose date is stored.
        close: float64 (n,): delivered closes.
        stored_close: float64 (n,): stored ones.
    """
    if len(key) == 0:
        return []
    order = np.argsort(key)
    moved = stored_close[order] / close[order] - 1
    codes, first = np.unique(key[order] >> 32, return_index=True)
    return [
        int(code)
        for code, some in zip(codes, np.split(moved, first[1:]), strict=True)
        if len(some) >= (2 if (np.abs(some[:_BORDER]) > _CORRECTED).all() else _FEWEST) and _is_constant(some[:_BORDER])
    ]


def _is_constant(moved: Floats64) -> bool:
    middle = float(np.median(moved))
    return bool((np.abs(moved) > _SCALE).all() and (np.abs(moved - middle) <= abs(middle) / 5).all())


def _chain_one(
    factor: Floats64,
    rows: Rows,
    mine: Positions,
    stored: Rows,
    theirs: Positions,
    stored_factor: Floats64,
    is_next_session: Callable[[int, int], bool],
) -> str | None:
    """Factors of one symbol's rows, in place; or why there are none."""
    day, stored_day = days_of(rows.key[mine]), days_of(stored.key[theirs])
    change = rows.change[mine].copy()

    def over_a_gap(close: float, since: int, at: int) -> float:
        """Change from a close to a row of which only the previous close tells it; NaN if it does not."""
        step = float(step_over(np.array([close]), rows.previous[mine[at : at + 1]])[0])
        return step if step == 1.0 or is_next_session(since, int(day[at])) else np.nan

    for at in np.flatnonzero(np.isnan(change[1:])).tolist():
        change[at + 1] = over_a_gap(rows.close[mine[at]], int(day[at]), at + 1)
    if np.isnan(change[1:]).any():
        return NO_JOINT
    place = np.searchsorted(stored_day, day)
    known = np.zeros(len(day), dtype=bool)
    inside = place < len(stored_day)
    known[inside] = stored_day[place[inside]] == day[inside]
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
            return RESTATED
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
            return NO_OVERLAP
        result[0] = stored_factor[theirs[-1]] * step
    else:
        return NO_OVERLAP
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
            return TORN
    factor[mine] = result
    return None
