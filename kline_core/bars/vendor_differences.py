"""Another vendor's bars beside the stored ones: on the days that both have, what each says otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core.bars.columns import PRICES
from kline_core.bars.delivery import find_files, sources_by_name
from kline_core.bars.quality_report import finding
from kline_core.bars.quality_rows import Rows
from kline_core.bars.readers.contents import MAX_FILE_BYTES
from kline_core.bars.readers.frame import Frame
from kline_core.bars.reading import read_all
from kline_core.bars.side_files import join_side_files
from kline_core.errors import InputError

SAME_PRICE: Final = 1e-6
"""Relative difference up to which two prices or changes of factors are the same: float32 keeps seven digits."""
SAME_VOLUME: Final = 1e-3
"""Relative difference up to which two volumes or amounts are the same: one vendor counts whole lots."""
_KINDS: Final = {
    **dict.fromkeys(PRICES, SAME_PRICE),
    "volume": SAME_VOLUME,
    "amount": SAME_VOLUME,
    "adjustment": SAME_PRICE,
}


def vendor_rows(sources: Sequence[Path | Frame], columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Sound rows of another vendor's files and frames: symbol, date, prices, volume, amount, adj_factor.

    Raises `InputError` if there is no file, or a file cannot be used.
    """
    delivery = find_files([source for source in sources if isinstance(source, Path)])
    read = read_all(sources_by_name(sources, delivery), MAX_FILE_BYTES, columns)
    if read.errors or not read.parts:
        why = next(iter(read.errors.values()), "no file to compare with")
        raise InputError(f"the other vendor's bars cannot be read: {why}", source=why)
    parts = join_side_files(read.parts)
    rows = pd.concat([part.bars for part in parts])
    return rows.drop_duplicates(["symbol", "date"])


def differences(rows: Rows, other: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One finding for each symbol and column that differs on common days, and for symbols without a common day."""
    bars = rows.take(rows.traded)
    ours = pd.DataFrame({"symbol": bars.symbols[bars.code], "date": bars.date.astype("datetime64[s]")})
    for name in (*PRICES, "volume", "amount", "factor"):
        ours[name] = getattr(bars, name)
    theirs = other.loc[~other["suspended"].astype(bool), ["symbol", "date", *PRICES, "volume", "amount", "adj_factor"]]
    theirs = theirs.assign(date=theirs["date"].astype("datetime64[s]"), symbol=theirs["symbol"].astype(object))
    both = ours.merge(theirs, on=["symbol", "date"], suffixes=("", "_other")).sort_values(["symbol", "date"])
    same = (both["symbol"] == both["symbol"].shift()).to_numpy()
    for factor, change in (("factor", "adjustment"), ("adj_factor", "adjustment_other")):
        step = both[factor].to_numpy() / both[factor].shift().to_numpy()
        both[change] = np.where(same, step, np.nan)
    for name, tolerance in _KINDS.items():
        mine, their = both[name].to_numpy(dtype=float), both[f"{name}_other"].to_numpy(dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(their / mine - 1.0)
        apart = np.where((mine == their) | np.isnan(mine) | np.isnan(their), 0.0, apart)
        yield from _of_column(both, name, apart, tolerance, mine, their)
    missing = sorted(set(theirs["symbol"]) - set(both["symbol"]))
    for symbol in missing:
        days = theirs.loc[theirs["symbol"] == symbol, "date"]
        first, last = (np.datetime64(day.date(), "D") for day in (days.min(), days.max()))
        yield finding("difference", symbol, first, last, 0.0, f"{len(days)} bars there, none of these days here")


def _of_column(
    both: pd.DataFrame, name: str, apart: Any, tolerance: float, mine: Any, their: Any
) -> Iterator[dict[str, Any]]:
    beyond = np.flatnonzero(apart > tolerance)
    codes = both["symbol"].to_numpy()
    days = both["date"].to_numpy().astype("datetime64[D]")
    common = both["symbol"].value_counts()
    for symbol, at in pd.Series(beyond).groupby(codes[beyond]):
        rows = at.to_numpy()
        worst = rows[apart[rows].argmax()]
        what = (
            f"{name}: {len(rows)} of {common[str(symbol)]} days; most on {days[worst]}: {mine[worst]:.10g} here, "
            f"{their[worst]:.10g} there"
        )
        yield finding("difference", str(symbol), days[rows[0]], days[rows[-1]], float(apart[worst]), what)
