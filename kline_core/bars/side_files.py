"""Side files: files of a delivery that hold no bars of their own, but the adjustment of those in other files.

* Files of factors (Tushare's `adj_factor`, AkShare's `hfq-factor`). Their rows become the `adj_factor` of the bars of
  their symbol and date. Of factors on a base that moves (`qfq-factor`) only the changes from bar to bar are taken.
* Adjusted prices beside raw ones: two files of one layout that hold a symbol, one of which is backward or forward
  adjusted by its title, a column or its name. The two tell the change of the factor from day to day.

Only bars of the same delivery are joined, never stored ones. A row of a side file that finds its bar is *joined*: it is
reported as such and counts neither as read nor as stored. All others are rejected with the reason, and so are bars of a
symbol with factors for whose date there is none. Adjusted prices without raw ones beside them are bars like others.

From prices to factors: vendors adjust by a factor (`adjusted = factor * raw`), or add what was paid out (Eastmoney and
TDX: `adjusted = a * raw + b`, where the quotient of the two changes every day). Both lines are straight within a day.
So the price that the last adjusted close has on the line of the next day is the exchange's reference price of that day,
up to rounding: the close before, less what was paid out. Where it is the close before within rounding, nothing was paid
out; else the change is `close before / reference price`, the latter with as many decimals as raw prices have.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from kline_core.bars.checked_file import CheckedFile
from kline_core.bars.columns import BAR_COLUMNS, CHANGES, PRICES
from kline_core.bars.convention import Adjustment, FactorRows
from kline_core.bars.increments import step_between
from kline_core.bars.row_checks import ABSURD_ADJUSTMENT, absurd_adjustment
from kline_core.bars.row_errors import rejected_frame, rejected_rows
from kline_core.bars.shared_rows import SharedRows
from kline_core.typing import Flags, Floats64

NO_BAR: Final = "no raw bar of its symbol and date is in the delivery; deliver prices and what adjusts them together"
OWN_FACTOR: Final = "the bar of its symbol and date has a factor already, of its own or of another file"
SAME: Final = "symbol and date are given more than once, with the same contents"
DIFFERENT: Final = "symbol and date are given more than once, with different contents"
NO_FACTOR: Final = "adj_factor is missing: a delivered file adjusts the symbol, but not on this date; deliver it whole"
FORWARD: Final = (
    "its prices are forward adjusted: every payment to come changes all of its past, and so what is stored is the past "
    "as it was seen on its last day; deliver raw prices with a factor, or backward adjusted ones"
)
BACKWARD: Final = "its prices are backward adjusted and taken as they are; deliver the raw ones beside them too"
ADDED: Final = (
    "the adjusted prices beside it are raw ones plus payments, not times a factor; the factors here are those of the "
    "exchange's reference prices"
)
_KEY: Final = ["symbol", "date"]
_COLUMNS: Final = (*BAR_COLUMNS, *CHANGES)
_EXACT: Final = 1e-6
"""Relative error of prices that are written with all their digits, perhaps as float32."""


def join_side_files(files: list[CheckedFile]) -> list[CheckedFile]:
    """The files of a delivery, those that adjust others joined to them."""
    if all(file.factors is None and file.adjustment is Adjustment.RAW for file in files):
        return files
    delivery = _Delivery(files)
    # Daily factors say more than steps, and a backward adjusted price is never near 0.
    for kind in FactorRows:
        delivery.join_factors(kind)
    for adjustment in (Adjustment.BACKWARD, Adjustment.FORWARD):
        delivery.join_prices(adjustment)
    return delivery.files()


class _Delivery:
    """Raw bars of all files, and the files beside them."""

    def __init__(self, files: list[CheckedFile]) -> None:
        self._files = files
        frames = [
            file.bars.assign(file=number, row=file.bars.index)
            for number, file in enumerate(files)
            if file.factors is None and file.adjustment is Adjustment.RAW
        ]
        self._bars = pd.concat(frames or [_no_bars().assign(file=0, row=0)], ignore_index=True)
        self._has_factor = self._bars["adj_factor"].notna().to_numpy(copy=True)
        self._lost = np.zeros(len(self._bars), dtype=bool)
        self._rejected: dict[int, list[pd.DataFrame]] = {number: [] for number in range(len(files))}
        self._joined = dict.fromkeys(range(len(files)), 0)
        self._left: dict[int, pd.DataFrame] = {}
        self._notes: dict[int, tuple[str, ...]] = {}

    def files(self) -> list[CheckedFile]:
        """The files as they are joined so far."""
        result = []
        kept = self._bars[~self._lost]
        rows = dict(iter(kept.groupby("file", sort=False)))
        for number, file in enumerate(self._files):
            bars = self._left.get(number, file.bars)
            if file.factors is None and file.adjustment is Adjustment.RAW:
                part = rows.get(number, kept.iloc[:0])
                bars = part.set_index(pd.Index(part["row"].to_numpy()))[list(_COLUMNS)]
            elif file.factors is not None:
                bars = _no_bars()
            notes = self._notes.get(number, ())
            if len(bars) and file.adjustment is not Adjustment.RAW:
                notes = (FORWARD if file.adjustment is Adjustment.FORWARD else BACKWARD, *notes)
            rejected = rejected_frame([file.rejected, *self._rejected[number]])
            result.append(
                replace(
                    file,
                    rows=SharedRows.of(bars),
                    rejected=rejected,
                    joined=self._joined[number],
                    notes=file.notes + notes,
                )
            )
        return result

    def join_factors(self, kind: FactorRows) -> None:
        """Give bars the factors of all files of factors of a kind."""
        numbers = [number for number, file in enumerate(self._files) if file.factors is kind]
        side = self._collect(numbers)
        if side is None:
            return
        side = self._unique(side, ["adj_factor"])
        free = np.flatnonzero(~self._has_factor)
        some = self._bars.iloc[free][_KEY].assign(at=free)
        side = side.assign(which=np.arange(len(side)))
        if kind is FactorRows.DAILY:
            found = some.merge(side, on=_KEY)
        else:
            found = pd.merge_asof(some.sort_values("date"), side.sort_values("date"), on="date", by="symbol")
            found = found[found["which"].notna()].astype({"which": int})
        at = found["at"].to_numpy(dtype=np.int64)
        factor = found["adj_factor"].to_numpy(dtype=np.float64)
        symbols = set(self._bars["symbol"].iloc[at].unique())
        if kind is FactorRows.MOVING_STEPS:
            self._set(at, incremental=True, change=_changes(found), adj_factor=np.nan)
        else:
            self._set(at, incremental=False, change=np.nan, adj_factor=factor)
        used = np.zeros(len(side), dtype=bool)
        used[found["which"].to_numpy()] = True
        if kind is not FactorRows.DAILY:
            # A step that no bar lies on still tells that there was one.
            used |= side["symbol"].isin(symbols).to_numpy()
        self._close(side, used)
        if kind is not FactorRows.MOVING_STEPS:
            self._reject_bars(at[absurd_adjustment(self._bars.iloc[at], factor)], ABSURD_ADJUSTMENT)
        self._reject_without(symbols)

    def join_prices(self, adjustment: Adjustment) -> None:
        """Give bars the changes of the factor that adjusted prices beside them tell."""
        numbers = [
            number for number, file in enumerate(self._files) if file.factors is None and file.adjustment is adjustment
        ]
        for layout in dict.fromkeys(self._files[number].layout for number in numbers):
            beside = [number for number in numbers if self._files[number].layout == layout]
            alike = np.array([file.layout == layout for file in self._files], dtype=bool)
            raw = alike[self._bars["file"].to_numpy()]
            side = self._collect(beside)
            if side is None or not raw.any():
                continue
            here = side["symbol"].isin(self._bars.loc[raw, "symbol"].unique())
            if not here.any():
                continue
            for number in beside:
                mine = here[side["file"] == number].to_numpy()
                self._left[number] = self._files[number].bars[~mine]
            side = self._unique(side[here], list(PRICES))
            self._join_prices(side, raw)

    def _join_prices(self, side: pd.DataFrame, raw: Flags) -> None:
        free = np.flatnonzero(raw & ~self._has_factor)
        some = self._bars.iloc[free][[*_KEY, *PRICES]].assign(at=free)
        beside = side[[*_KEY, *PRICES]].assign(which=np.arange(len(side)))
        found = some.merge(beside, on=_KEY, suffixes=("", "_adjusted")).sort_values(_KEY, kind="stable")
        at = found["at"].to_numpy(dtype=np.int64)
        change = np.full(len(found), np.nan)
        for rows in found.groupby("symbol", sort=False).indices.values():
            part = found.iloc[rows]
            first = ~part["date"].duplicated().to_numpy()
            one = part[first]
            raws = {name: one[name].to_numpy() for name in PRICES}
            adjusted = {name: one[f"{name}_adjusted"].to_numpy() for name in PRICES}
            steps, added = changes_of_prices(raws, adjusted)
            change[rows] = pd.Series(steps, index=one["date"]).reindex(part["date"]).to_numpy()
            if added:
                for number in set(self._bars["file"].iloc[part["at"]]):
                    self._notes[number] = (ADDED,)
        self._set(at, incremental=True, change=change, adj_factor=np.nan)
        used = np.zeros(len(side), dtype=bool)
        used[found["which"].to_numpy()] = True
        self._close(side, used)
        self._reject_without(set(found["symbol"].unique()), raw)

    def _collect(self, numbers: list[int]) -> pd.DataFrame | None:
        """Rows of some files with the number of their file and of each row."""
        parts = [(number, self._files[number].bars) for number in numbers]
        frames = [bars.assign(file=number, row=bars.index) for number, bars in parts if len(bars)]
        return pd.concat(frames, ignore_index=True) if frames else None

    def _unique(self, side: pd.DataFrame, values: list[str]) -> pd.DataFrame:
        """Rows with one of each symbol and date; rejects those that repeat or contradict one."""
        if not side.duplicated(_KEY).any():
            return side
        again = side.duplicated([*_KEY, *values]).to_numpy()
        several = side[~again].duplicated(_KEY, keep=False)
        contested = pd.MultiIndex.from_frame(side[~again][several][_KEY])
        different = pd.MultiIndex.from_frame(side[_KEY]).isin(contested)
        self._reject_side(side[different], DIFFERENT)
        self._reject_side(side[again & ~different], SAME)
        return side[~again & ~different]

    def _close(self, side: pd.DataFrame, used: Flags) -> None:
        """Count the rows that are joined, and reject the others."""
        for number, count in side.loc[used, "file"].value_counts().items():
            self._joined[int(str(number))] += int(count)
        rest = side[~used]
        there = pd.MultiIndex.from_frame(rest[_KEY]).isin(pd.MultiIndex.from_frame(self._bars[_KEY]))
        self._reject_side(rest[there], OWN_FACTOR)
        self._reject_side(rest[~there], NO_BAR)

    def _reject_side(self, rows: pd.DataFrame, reason: str) -> None:
        for number, part in rows.groupby("file", sort=False):
            self._reject(int(str(number)), part, reason)

    def _reject(self, number: int, rows: pd.DataFrame, reason: str) -> None:
        days = rows["date"].dt.strftime("%Y-%m-%d")
        source = self._files[number].source
        self._rejected[number].append(rejected_rows(source, pd.Index(rows["row"]), rows["symbol"], reason, days))

    def _reject_bars(self, at: np.ndarray[tuple[int], np.dtype[np.int64]], reason: str) -> None:
        at = at[~self._lost[at]]
        self._lost[at] = True
        self._reject_side(self._bars.iloc[at], reason)

    def _reject_without(self, symbols: set[str], where: Flags | None = None) -> None:
        """Reject bars of adjusted symbols that have no factor."""
        if symbols:
            without = self._bars["symbol"].isin(symbols).to_numpy() & ~self._has_factor & ~self._lost
            self._reject_bars(np.flatnonzero(without if where is None else without & where), NO_FACTOR)

    def _set(self, at: np.ndarray[tuple[int], np.dtype[np.int64]], **columns: object) -> None:
        for name, values in columns.items():
            column = self._bars[name].to_numpy(copy=True)
            column[at] = values
            self._bars[name] = column
        if len(at):
            previous = self._bars["prev_close"].to_numpy(copy=True)
            previous[at] = np.nan
            self._bars["prev_close"] = previous
        self._has_factor[at] = True


def _changes(found: pd.DataFrame) -> Floats64:
    """Change of `adj_factor` at each of n rows from its symbol's day before, float64 (n,), NaN on the first day."""
    days = found.drop_duplicates(_KEY).sort_values(_KEY, kind="stable")
    before = days.groupby("symbol", sort=False)["adj_factor"].shift()
    steps = days[_KEY].assign(change=step_between(before.to_numpy(), days["adj_factor"].to_numpy()))
    return found[_KEY].merge(steps, on=_KEY, how="left")["change"].to_numpy(dtype=np.float64)


def _no_bars() -> pd.DataFrame:
    """A frame of bars without rows."""
    kinds = dict.fromkeys(_COLUMNS, "float64") | {"symbol": "str", "date": "datetime64[s]"}
    return pd.DataFrame(columns=list(_COLUMNS)).astype(kinds | {"suspended": "bool", "incremental": "bool"})


def changes_of_prices(raw: dict[str, Floats64], adjusted: dict[str, Floats64]) -> tuple[Floats64, bool]:
    """Changes of the factor of n days of a symbol from raw and adjusted prices, float64 (n,), the first one NaN.

    Returns with them whether payments were added to the prices, instead of a factor multiplied.
    """
    digits, others = _decimals(raw), _decimals(adjusted)
    step = 0.0 if others is None else 10.0**-others
    with np.errstate(all="ignore"):
        error = np.maximum(0.5001 * step, _EXACT * np.abs(adjusted["close"]))
        low, high = _factors(raw, adjusted, error)
        added = bool((low > high).any())
        reference, doubt = _by_line(raw, adjusted, error) if added else _by_factor(raw["close"], low, high)
        before = raw["close"][:-1]
        paid = np.abs(reference - before) > doubt
        if digits is not None:
            reference = np.where(doubt < 10.0**-digits, np.round(reference, digits), reference)
        paid &= (reference > 0) & np.isfinite(reference)
        change = np.append(np.nan, np.where(paid, before / reference, 1.0))
    return change[: len(low)], added


def _factors(raw: dict[str, Floats64], adjusted: dict[str, Floats64], error: Floats64) -> tuple[Floats64, Floats64]:
    """Bounds of the factor of each day, float64 (n,): the lower one is above the upper one where there is none."""
    low = np.max([(adjusted[name] - error) / raw[name] for name in PRICES], axis=0)
    high = np.min([(adjusted[name] + error) / raw[name] for name in PRICES], axis=0)
    return low, high


def _by_factor(close: Floats64, low: Floats64, high: Floats64) -> tuple[Floats64, Floats64]:
    """Reference prices of all days but the first, and how far they may be off, float64 (n - 1,) both."""
    factor, width = (low + high) / 2, np.abs(high - low) / 2
    share = width / factor
    reference = close[:-1] * factor[:-1] / factor[1:]
    return reference, reference * (share[:-1] + share[1:])


def _by_line(raw: dict[str, Floats64], adjusted: dict[str, Floats64], error: Floats64) -> tuple[Floats64, Floats64]:
    """As `_by_factor`, where payments were added: along the line of each day, from its price nearest to the close."""
    rise, width = (part["high"] - part["low"] for part in (adjusted, raw))
    known = (width > 0) & (rise > 0)
    lines = {"slope": np.where(known, rise / width, np.nan), "doubt": np.where(known, 2 * error / rise, np.nan)}
    # The slope changes with splits only: where all prices of a day are one, it is that of the day before.
    slope, doubt = pd.DataFrame(lines).ffill().bfill().fillna(1.0).to_numpy(np.float64)[1:].T
    prices, others = (np.array([part[name][1:] for name in PRICES]) for part in (raw, adjusted))
    away = others - adjusted["close"][:-1]
    place = np.argmin(np.abs(away), axis=0), np.arange(len(slope))
    way = away[place] / slope
    return prices[place] - way, (error[1:] + error[:-1]) / slope + np.abs(way) * doubt


def _decimals(prices: dict[str, Floats64]) -> int | None:
    """Decimals that prices are rounded to, two at the least; None for prices that are not rounded to a few."""
    every = np.concatenate(list(prices.values()))
    return next((n for n in range(2, 5) if np.allclose(every, np.round(every, n), rtol=1e-12, atol=1e-9)), None)
