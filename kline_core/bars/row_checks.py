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
Two habits of vendors are understood, counted and reported (`CheckedRows.mended`): a suspended day with its close alone,
and prices that rounding has put outside low to high by less than `DUST`.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core.bars.adjustment import SAME_PRICE
from kline_core.bars.bar_days import APART, apart
from kline_core.bars.columns import BAR_COLUMNS, HINTS, OPTIONAL, PRICES, REQUIRED
from kline_core.bars.convention import PLAIN, Convention
from kline_core.bars.exchange_days import ExchangeDays, exchange_days
from kline_core.bars.increments import changes_in_file
from kline_core.bars.row_errors import RowErrors, rejected_frame, rejected_rows, to_numbers
from kline_core.bars.shared_rows import SharedRows
from kline_core.errors import InputError
from kline_core.markets import MARKETS, Market
from kline_core.symbols import SYMBOL_RULE, is_symbol, market_of
from kline_core.typing import Flags, Floats64, Int64s, Objects

MIN_PRICE, MAX_PRICE = 1e-12, 1e12
"""Inclusive bounds of raw prices, adjustment factors and adjusted prices."""
DUST = 5e-7
"""Relative difference by which rounding may put an open or a close outside low to high: a few roundings of float32, and
less than a hundredth of a tick at most prices."""
ROUNDED = 5e-3
"""Relative difference of volumes and amounts of two vendors up to which it is rounding, that of 1.23M at the most."""
NO_VOLUME = 1e-6
"""Shares below which a volume is none: some vendors write 5.877472e-39."""
DAILY = ("d", "1d", "day", "daily")
"""What vendors call the period of a daily bar, in lower case."""

_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_TEXT = pd.StringDtype(na_value=np.nan)
_ABSURD = f"is not between {MIN_PRICE:g} and {MAX_PRICE:g}"
ABSURD_ADJUSTMENT = f"adj_factor makes an adjusted price that {_ABSURD}"
"""Reason of the rows of `absurd_adjustment`."""


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """The rows of a frame, each in exactly one of two frames."""

    rows: SharedRows
    """The sound ones; see `bars`."""
    rejected: pd.DataFrame
    """`REJECTED_COLUMNS`: the row's source, its index label, its symbol as text, the reason, and the offending cell."""
    mended: dict[str, int]
    """Rows whose cells are not as they were written, by what was done to them."""
    notes: tuple[str, ...]
    """What else a user must know of the rows."""

    @property
    def bars(self) -> pd.DataFrame:
        """`BAR_COLUMNS` and `CHANGES`: dates as datetime64[s], `adj_factor` NaN if the frame has no such column; the
        frame's index."""
        return self.rows.frame


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """All rows of a frame, sound or not, with what was found in them."""

    bars: pd.DataFrame
    """`BAR_COLUMNS` and `CHANGES` of every row; the frame's index."""
    code: Int64s
    """int64 (n,): the same for rows of the same symbol, and of none."""
    faults: RowErrors
    mended: dict[str, Flags]
    """Rows whose cells are not as they were written, bool (n,), by what was done to them."""
    notes: tuple[str, ...]
    """What else a user must know of the rows."""
    each_alone: bool
    """Whether no row's day depends on what stands in others."""


def check_rows(
    frame: pd.DataFrame, source: str, convention: Convention = PLAIN, market: Market | None = None
) -> CheckedRows:
    """Divide rows from outside into sound bars and rejected rows, each row checked by itself.

    Args:
        frame: Columns `REQUIRED` and perhaps `OPTIONAL` and `HINTS`, typed or as text; its index labels name the rows
            in reports.
        source: Name of the file, for reports.
        convention: How the cells are meant.
        market: Market of the home, in whose zone moments of symbols of no known market are days; None if it has none.

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
    judged = judge_rows(frame, convention, market)
    sound = ~judged.faults.any()
    counts = {what: int((where & sound).sum()) for what, where in judged.mended.items()}
    return CheckedRows(
        SharedRows.of(judged.bars if sound.all() else judged.bars[sound]),
        judged.faults.rejected(source),
        {what: count for what, count in counts.items() if count},
        judged.notes,
    )


def judge_rows(frame: pd.DataFrame, convention: Convention, market: Market | None) -> JudgedRows:
    """The checks of `check_rows`, whose arguments these are; the frame has the columns `REQUIRED`."""
    faults = RowErrors(frame)
    symbols, code = _check_symbols(frame["symbol"], faults, convention)
    found = exchange_days(frame["date"], lambda: _zones(symbols, market), convention.month_first)
    for where, fault in found.faults:
        faults.mark(where, "date", fault)
    if "period" in frame.columns:
        daily = frame["period"].astype(str).str.strip().str.lower().isin(DAILY)
        faults.mark(~daily.to_numpy(), "period", "is not that of a daily bar; ask for daily ones, others are not taken")
    _check_intraday(symbols, found, faults)
    faults.mark(apart(code, found.days), "date", APART)
    numbers = {name: to_numbers(frame[name], name, faults) for name in (*PRICES, "volume")}
    for name in (*OPTIONAL, *HINTS):
        if name in frame.columns:
            numbers[name] = to_numbers(frame[name], name, faults)
    if convention.chinese:
        # A code alone may be an index of either exchange; anything else of no market is none, such as one cut off.
        abroad = symbols.isin(
            [name for name in symbols.unique() if name and market_of(name) != "CN" and not _CODE.fullmatch(name)]
        )
        text = "is no code of the mainland's exchanges, whose units this layout has; deliver it in another layout"
        faults.mark(abroad.to_numpy(), "symbol", text)
    numbers["volume"] = _times(numbers["volume"], convention.volume_unit)
    numbers["amount"] = _times(numbers.get("amount", np.full(len(frame), np.nan)), convention.amount_unit)
    mended = _mend(numbers)
    _check_prices(numbers, faults)
    for name in ("volume", "amount"):
        faults.mark(np.isinf(numbers[name]), name, "is not finite")
        faults.mark(numbers[name] < 0, name, "is negative")
    if "adj_factor" in numbers:
        _check_factors(numbers, faults)
    else:
        numbers["adj_factor"] = np.full(len(frame), np.nan)
    suspended = is_suspended(numbers)
    changes = changes_in_file(
        symbols,
        found.days,
        numbers,
        faults,
        lasting=convention.lasting_factor,
        every_day="trading" in numbers or bool(suspended.any()),
    )
    # What is still to be chained has no factor yet.
    numbers["adj_factor"] = np.where(changes.columns["incremental"], np.nan, numbers["adj_factor"])
    bars = pd.DataFrame(
        {
            "symbol": symbols,
            "date": found.days.astype("datetime64[s]"),
            **{name: numbers[name] for name in (*PRICES, "volume", *OPTIONAL)},
            "suspended": suspended,
            **changes.columns,
        },
        index=frame.index,
        # No one else has the arrays.
        copy=False,
    )
    return JudgedRows(bars, code, faults, mended, changes.notes, found.each_alone)


def _times(values: Floats64, unit: float) -> Floats64:
    """Values in units as values; what is whole but for the rounding of the product is whole."""
    product = values * unit
    whole = np.rint(product)
    with np.errstate(invalid="ignore"):
        near = np.abs(product - whole) <= 4 * np.finfo(np.float64).eps * np.abs(product)
    return np.where(near, whole, product) if unit != 1 else product


def check_factors(
    frame: pd.DataFrame, source: str, convention: Convention = PLAIN, market: Market | None = None
) -> CheckedRows:
    """Divide rows of adjustment factors without prices into sound and rejected ones, each row checked by itself.

    The sound ones have the columns symbol, date and adj_factor. The arguments are those of `check_rows`; the frame has
    these three columns.
    """
    faults = RowErrors(frame)
    symbols, _ = _check_symbols(frame["symbol"], faults, convention)
    found = exchange_days(frame["date"], lambda: _zones(symbols, market), convention.month_first)
    for where, fault in found.faults:
        faults.mark(where, "date", fault)
    factor = to_numbers(frame["adj_factor"], "adj_factor", faults)
    _check_factors({"adj_factor": factor, "low": np.ones(len(factor)), "high": np.ones(len(factor))}, faults)
    rows = {"symbol": symbols, "date": found.days.astype("datetime64[s]"), "adj_factor": factor}
    sound = pd.DataFrame(rows, index=frame.index)[~faults.any()]
    return CheckedRows(SharedRows.of(sound), faults.rejected(source), {}, ())


def _zones(symbols: pd.Series, home: Market | None) -> Objects:
    """Time zone of each symbol's exchange, object (n,): that of the home where it is not known, None if it has none."""
    default = None if home is None else home.zone
    known = {
        name: MARKETS[market].zone if (market := market_of(name)) else default for name in symbols.unique() if name
    }
    return np.array([known.get(name) for name in symbols], dtype=object)


def _check_intraday(symbols: pd.Series, found: ExchangeDays, faults: RowErrors) -> None:
    """Rows of one symbol and day with several times are no daily bars, and nothing says which to take."""
    if not found.seconds.any():
        return
    rows = pd.DataFrame({"symbol": symbols.to_numpy(), "day": found.days, "second": found.seconds})
    several = rows.groupby(["symbol", "day"], dropna=False)["second"].transform("nunique").to_numpy() > 1
    faults.mark(several, "date", "is one of several times of its day: bars within a day are not taken, only daily ones")


def _mend(numbers: dict[str, Floats64]) -> dict[str, Flags]:
    """Write prices and volumes as they are meant, in place; which rows that changed, bool (n,), by what was done."""
    with np.errstate(invalid="ignore", over="ignore"):
        volume, halted = numbers["volume"], np.zeros(len(numbers["volume"]), dtype=bool)
        tiny = (volume > 0) & (volume < NO_VOLUME)
        if "trading" in numbers:
            halted = numbers["trading"] == 0
        none = ~(volume >= NO_VOLUME) | halted
        empty = none & (numbers["close"] > 0)
        for name in ("open", "high", "low"):
            empty &= ~(numbers[name] != 0) | np.isnan(numbers[name])
        for name in ("open", "high", "low"):
            numbers[name] = np.where(empty, numbers["close"], numbers[name])
        bare = none & (numbers.get("prev_close", np.zeros(len(volume))) > 0)
        for name in PRICES:
            bare &= ~(numbers[name] != 0) | np.isnan(numbers[name])
        for name in PRICES:
            numbers[name] = np.where(bare, numbers.get("prev_close", numbers[name]), numbers[name])
        numbers["volume"] = np.where(tiny, 0.0, volume)
        amount = numbers["amount"]
        numbers["amount"] = np.where((amount > 0) & (amount < NO_VOLUME), 0.0, amount)
        inner = np.fmax(numbers["open"], numbers["close"]), np.fmin(numbers["open"], numbers["close"])
        high, low = numbers["high"], numbers["low"]
        above = (inner[0] > high) & (inner[0] <= high * (1 + DUST))
        below = (inner[1] < low) & (inner[1] >= low * (1 - DUST))
        numbers["high"], numbers["low"] = np.where(above, inner[0], high), np.where(below, inner[1], low)
    return {
        "suspended days written with their close alone, which stands for open, high and low": empty,
        "suspended days written without prices, which stand at the previous close": bare,
        "volumes next to nothing, which are none": tiny,
        "highs or lows that rounding had put inside open or close, widened to these": above | below,
    }


def is_suspended(bars: pd.DataFrame | dict[str, Floats64]) -> Flags:
    """Mask, bool (n,), of the days without trading: volume 0 or missing, and open = high = low = close."""
    high, low, volume = (np.asarray(bars[name]) for name in ("high", "low", "volume"))
    with np.errstate(invalid="ignore"):
        # Open and close lie between low and high.
        flat = high - low <= SAME_PRICE * high
        suspended: Flags = flat & ~(volume > 0)
    return suspended


def reject_duplicates(bars: pd.DataFrame, sources: Objects) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sound rows without those that share symbol and date, and the rejected rows.

    Rows that agree in everything are one bar: one passes, the others are rejected. It is the first whose change of the
    adjustment is known, or else the first. Rows that give one symbol and date different contents are all rejected, as
    nothing says which is right. So the contents of the sound bars do not depend on the order of the rows, but for this:

    Rows of two files that have the same prices and differ in volume and amount as rounding does, by `ROUNDED` or one
    unit in which vendors count, agree too, as does an amount that only one of them has. The first one passes as it is.

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
    order = np.argsort(bars.loc[repeated, "change"].isna(), kind="stable").astype(np.int64)
    again = np.zeros(len(some), dtype=bool)
    again[order] = bars[repeated].iloc[order].duplicated(list(BAR_COLUMNS), keep="first")
    group: Int64s = some.groupby(key).ngroup().to_numpy().astype(np.int64)
    near = _differs_by_rounding(bars[repeated], sources[repeated], group, order) & ~again
    conflict = (np.bincount(group, weights=~(again | near)) > 1)[group]
    files = some.assign(file=sources[repeated])[conflict].groupby(key)["file"]
    several = files.min() != files.max()
    contested = several[several].index.to_frame(index=False).groupby("symbol")["date"].min()
    hopeless = bars["symbol"].isin(contested.index).to_numpy()
    different, same, rounded = np.zeros((3, len(bars)), dtype=bool)
    different[repeated], same[repeated], rounded[repeated] = conflict, again & ~conflict, near & ~conflict
    rows = []
    for mask, reason in (
        (hopeless, "the files contradict each other about this symbol; remove the older delivery"),
        (different & ~hopeless, "symbol and date are given more than once, with different contents"),
        (same & ~hopeless, "symbol and date are given more than once, with the same contents"),
        (rounded & ~hopeless, "symbol and date are given more than once, with other rounding of volume or amount"),
    ):
        hit = bars[mask]
        days = hit["date"].dt.strftime("%Y-%m-%d")
        if mask is hopeless:
            days = "first on " + hit["symbol"].map(contested.dt.strftime("%Y-%m-%d"))
        rows.append(rejected_rows(sources[mask], hit.index, hit["symbol"], reason, days))
    return bars[~(hopeless | different | same | rounded)], rejected_frame(rows)


def _differs_by_rounding(bars: pd.DataFrame, sources: Objects, group: Int64s, order: Int64s) -> Flags:
    """Which of n rows differ from the first of their group, by `order`, as other rounding does, bool (n,)."""
    lead = np.empty(int(group.max()) + 1, dtype=np.int64)
    # The last one that is written stays.
    lead[group[order[::-1]]] = order[::-1]
    first = lead[group]
    near = sources != sources[first]
    for name in (*PRICES, "adj_factor"):
        cells = bars[name].to_numpy()
        near &= (cells == cells[first]) | (np.isnan(cells) & np.isnan(cells[first]))
    suspended = bars["suspended"].to_numpy()
    near &= suspended == suspended[first]
    for name, unit in (("volume", 100.0), ("amount", 1000.0)):
        cells = bars[name].to_numpy()
        with np.errstate(invalid="ignore"):
            apart = np.abs(cells - cells[first])
            close = (apart <= unit) | (apart <= ROUNDED * np.maximum(cells, cells[first]))
        missing = np.isnan(cells) | np.isnan(cells[first])
        near &= close | (missing if name == "amount" else np.isnan(cells) & np.isnan(cells[first]) | suspended)
    flags: Flags = near
    return flags


def _check_symbols(column: pd.Series, faults: RowErrors, convention: Convention) -> tuple[pd.Series, Int64s]:
    """The canonical symbol of each row, empty if it has none, and a code that rows of one symbol share, int64 (n,)."""
    if column.dtype == object:
        # Equal keys, such as 1 and True, and unhashable ones are no text anyway.
        column = column.where(np.array([isinstance(value, str) for value in column], dtype=bool))
    elif convention.chinese and column.dtype.kind in "iuf":
        column = column.astype(str).where(column.notna())
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    named = [convention.symbol(value) if isinstance(value, str) else value for value in distinct]
    # Missing values have the code -1, which picks the last entry.
    safe = np.array([*(is_symbol(value) for value in named), False])
    faults.mark(~safe[codes], "symbol", f"is no symbol: {SYMBOL_RULE}")
    # Not what is unsafe, which may be text that no column takes.
    names = np.array([*(value if good else "" for value, good in zip(named, safe[:-1], strict=True)), ""], dtype=object)
    # Taken in Arrow's memory: a column of Python's texts would be looked at cell by cell.
    codes = np.where(codes < 0, len(names) - 1, codes)
    cells = pa.array(names, pa.string()).take(pa.array(codes))
    whole: pd.Series = cells.to_pandas(types_mapper={pa.string(): _TEXT}.get)
    # What is written in several ways is one symbol.
    return whole.set_axis(column.index), pd.factorize(names)[0][codes]


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
