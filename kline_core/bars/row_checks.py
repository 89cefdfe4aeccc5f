"""Row checks: the definition of a sound bar.

Every bar enters through these checks. A row that passes has

* a symbol that is safe in a path and in a query,
* a date that no other row of its symbol has,
* prices with ``low <= open, close <= high``,
* a volume and an amount that are missing or at least 0, and
* prices, an adjustment factor and products of the two from `MIN_PRICE` to `MAX_PRICE`. No market has others, and ratios
  within these bounds fit into a float32: one absurd price would otherwise make a return that no table takes.

A day is *suspended* if its volume is 0 or missing and its bar is flat (open = high = low = close, within `SAME_PRICE`).
A bar that moved was traded, whatever its volume says, since vendors deliver real prices with zero or unknown volume.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.bars.row_errors import RowErrors, rejected_frame, rejected_rows, to_numbers
from kline_core.dates import parse_dates
from kline_core.errors import InputError
from kline_core.symbols import is_symbol
from kline_core.typing import Flags, Floats64, Objects

PRICES = ("open", "high", "low", "close")
REQUIRED = ("symbol", "date", *PRICES, "volume")
OPTIONAL = ("amount", "adj_factor")
BAR_COLUMNS = (*REQUIRED, *OPTIONAL, "suspended")
MIN_PRICE, MAX_PRICE = 1e-12, 1e12
"""Inclusive bounds of raw prices, adjustment factors and adjusted prices."""

_ABSURD = f"is not between {MIN_PRICE:g} and {MAX_PRICE:g}"
ABSURD_ADJUSTMENT = f"adj_factor makes an adjusted price that {_ABSURD}"
"""Reason of the rows of `absurd_adjustment`."""


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """The rows of a frame, each in exactly one of two frames."""

    bars: pd.DataFrame
    """`BAR_COLUMNS`: dates as datetime64[s], `adj_factor` NaN if the frame has no such column; the frame's index."""
    rejected: pd.DataFrame
    """`REJECTED_COLUMNS`: the row's source, its index label, its symbol as text, the reason, and the offending cell."""


def check_rows(frame: pd.DataFrame, source: str) -> CheckedRows:
    """Divide rows from outside into sound bars and rejected rows, each row checked by itself.

    Args:
        frame: Columns `REQUIRED` and perhaps `OPTIONAL`, typed or as text; its index labels name the rows in reports.
        source: Name of the file, for reports.

    Raises:
        InputError: A required column is missing.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise InputError(
            f"{source}: column {missing[0]} is missing; needed are {', '.join(REQUIRED)}",
            source=source,
            column=missing[0],
        )
    faults = RowErrors(frame)
    symbols = _check_symbols(frame["symbol"], faults)
    dates, no_date = parse_dates(frame["date"])
    faults.mark(no_date, "date", "is missing or no date")
    numbers = {name: to_numbers(frame[name], name, faults) for name in (*PRICES, "volume")}
    for name in OPTIONAL:
        numbers[name] = to_numbers(frame[name], name, faults) if name in frame.columns else np.full(len(frame), np.nan)
    _check_prices(numbers, faults)
    for name in ("volume", "amount"):
        faults.mark(np.isinf(numbers[name]), name, "is not finite")
        faults.mark(numbers[name] < 0, name, "is negative")
    if "adj_factor" in frame.columns:
        _check_factors(numbers, faults)
    bars = pd.DataFrame({"symbol": symbols, "date": dates.astype("datetime64[s]"), **numbers}, index=frame.index)
    bars["suspended"] = is_suspended(bars)
    return CheckedRows(bars[~faults.any()], faults.rejected(source))


def is_suspended(bars: pd.DataFrame) -> pd.Series:
    """Mask, bool (n,), of the days without trading: volume 0 or missing, and open = high = low = close."""
    # Open and close lie between low and high.
    flat = bars["high"] - bars["low"] <= SAME_PRICE * bars["high"]
    return flat & ~(bars["volume"] > 0)


def reject_duplicates(bars: pd.DataFrame, sources: Objects) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sound rows without those that share symbol and date, and the rejected rows.

    Rows that agree in everything are one bar: the first passes, the others are rejected. Rows that give one symbol and
    date different contents are all rejected, since nothing says which is right. So the contents of the sound bars do
    not depend on the order of the rows.

    Files that contradict each other about a bar may be deliveries on different adjustment bases: dates that only one of
    them has would then be on another scale than their neighbours. So all rows of the symbol are rejected, whichever
    file they are from. Rows with an adjustment factor are not compared with rows without one.

    Args:
        bars: Rows of `CheckedRows.bars`, from one file or from several in sequence.
        sources: Name of the file of each row (n,).
    """
    key = ["symbol", "date", "given"]
    keys = bars[key[:2]].assign(given=bars["adj_factor"].notna())
    repeated = keys.duplicated(keep=False).to_numpy()
    if not repeated.any():
        return bars, rejected_frame([])
    some = keys[repeated]
    again = bars[repeated].duplicated(list(BAR_COLUMNS), keep="first").to_numpy()
    group = some.groupby(key).ngroup().to_numpy()
    conflict = (np.bincount(group, weights=~again) > 1)[group]
    files = some.assign(file=sources[repeated])[conflict].groupby(key)["file"]
    several = files.min() != files.max()
    contested = several[several].index.to_frame(index=False).groupby("symbol")["date"].min()
    hopeless = bars["symbol"].isin(contested.index).to_numpy()
    different, same = np.zeros((2, len(bars)), dtype=bool)
    different[repeated], same[repeated] = conflict, again & ~conflict
    rows = []
    for mask, reason in (
        (hopeless, "the files contradict each other about this symbol; remove the older delivery"),
        (different & ~hopeless, "symbol and date are given more than once, with different contents"),
        (same & ~hopeless, "symbol and date are given more than once, with the same contents"),
    ):
        hit = bars[mask]
        days = hit["date"].dt.strftime("%Y-%m-%d")
        if mask is hopeless:
            days = "first on " + hit["symbol"].map(contested.dt.strftime("%Y-%m-%d"))
        rows.append(rejected_rows(sources[mask], hit.index, hit["symbol"], reason, days))
    return bars[~(hopeless | different | same)], rejected_frame(rows)


def _check_symbols(column: pd.Series, faults: RowErrors) -> pd.Series:
    if column.dtype == object:
        # Equal keys, such as 1 and True, and unhashable ones are no text anyway.
        column = column.where(np.array([isinstance(value, str) for value in column], dtype=bool))
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    # Missing values have the code -1, which picks the last entry.
    safe = np.array([*(is_symbol(value) for value in distinct), False])
    faults.mark(~safe[codes], "symbol", "is not safe to use: 1-32 letters, digits or ._^=- without '..'")
    # Not what is unsafe, which may be text that no column takes.
    return column.where(safe[codes], "").astype(str)


def _check_prices(numbers: dict[str, Floats64], faults: RowErrors) -> None:
    for name in PRICES:
        faults.mark(np.isnan(numbers[name]), name, "is missing")
        faults.mark(np.isinf(numbers[name]), name, "is not finite")
        faults.mark(numbers[name] <= 0, name, "is not above 0")
        faults.mark(_absurd(numbers[name]), name, _ABSURD)
    faults.mark(numbers["high"] < numbers["low"], "high", "is below low")
    for name in ("open", "close"):
        outside = (numbers[name] < numbers["low"]) | (numbers[name] > numbers["high"])
        faults.mark(outside, name, "lies outside low to high")


def _check_factors(numbers: dict[str, Floats64], faults: RowErrors) -> None:
    factor = numbers["adj_factor"]
    faults.mark(np.isnan(factor), "adj_factor", "is missing")
    faults.mark(np.isinf(factor), "adj_factor", "is not finite")
    faults.mark(factor <= 0, "adj_factor", "is not above 0")
    faults.mark(_absurd(factor), "adj_factor", _ABSURD)
    faults.mark(absurd_adjustment(numbers, factor), "adj_factor", ABSURD_ADJUSTMENT.removeprefix("adj_factor "))


def absurd_adjustment(prices: pd.DataFrame | dict[str, Floats64], factor: Floats64) -> Flags:
    """Mask, bool (n,), of the rows whose factor, or a price times it, is out of bounds; a missing one is not.

    `prices` holds low and high (n,), `factor` is float64 (n,).
    """
    with np.errstate(all="ignore"):
        low, high = (np.asarray(prices[name]) * factor for name in ("low", "high"))
    return _absurd(factor) | _absurd(low) | _absurd(high)


def _absurd(values: Floats64) -> Flags:
    return (values < MIN_PRICE) | (values > MAX_PRICE)
