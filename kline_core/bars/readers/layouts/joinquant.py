"""JoinQuant: frames of `get_price` and `get_bars`, saved as CSV or Parquet. Codes like 600519.XSHG, shares and yuan.

Prices and volumes may be adjusted, and then `factor` says by how much: raw price times factor, raw volume divided by
it. With `fq='pre'` it is 1 on the last day asked for, so that each delivery has a base of its own and only changes
count. A factor of 1 on every row is that of raw prices, or of days without a payment, and tells nothing. Suspended days
are flat at the last close, with `paused` 1, or empty.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from kline_core.bars.convention import Convention
from kline_core.bars.readers.layout import Layout

_CELLS = {
    "open": "open",
    "close": "close",
    "high": "high",
    "low": "low",
    "volume": "volume",
    "money": "amount",
    "pre_close": "prev_close",
    "factor": "adj_factor",
    "paused": "trading",
}


def _raw(cells: pd.DataFrame) -> pd.DataFrame:
    """Raw prices and volumes; `paused` says the opposite of `trading`."""
    cells = cells.copy()
    if "trading" in cells.columns:
        paused = pd.to_numeric(cells["trading"], errors="coerce")
        cells["trading"] = np.where(paused.isna(), 1.0, 1.0 - paused)
    if "adj_factor" not in cells.columns:
        return cells
    factor = pd.to_numeric(cells["adj_factor"], errors="coerce")
    if not (factor.notna() & (factor != 1)).any():
        return cells.drop(columns="adj_factor")
    known = factor > 0
    for name in ("open", "high", "low", "close", "prev_close", "volume"):
        if name in cells.columns:
            number = pd.to_numeric(cells[name], errors="coerce")
            raw = number * factor if name == "volume" else number / factor
            # What is no number stays as it is written, for the row's rejection.
            cells[name] = raw.where(known & number.notna(), cells[name].astype(object))
    return cells


_NOTE = "JoinQuant's prices without the column factor, or with 1 on all rows, are taken as raw: ask with fq=None"

LONG = Layout(
    name="JoinQuant",
    columns={"time": "date", "date": "date", "code": "symbol"} | _CELLS,
    telling=("time", "code", "open", "money"),
    convention=Convention(chinese=True, lasting_factor=False),
    tidy=_raw,
    unadjusted=_NOTE,
)
SINGLE = replace(
    LONG,
    columns={"": "date", "__index_level_0__": "date", "unnamed: 0": "date"} | _CELLS,
    telling=("open", "close", "volume", "money"),
)
BARS = replace(LONG, columns={"date": "date"} | _CELLS, telling=("date", "open", "close", "volume", "money"))
