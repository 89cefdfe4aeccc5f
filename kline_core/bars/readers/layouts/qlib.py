"""Qlib: what `D.features` returns, saved, with `$open`, ..., `$factor`; and its binary folder.

Prices are those of the exchange times `$factor`, and volume is divided by it: both are undone here, and the changes of
the factor are kept, since each collection of the data has a base of its own. Prices are float32, so that those of the
exchange come out to about seven digits. Instruments are like SH600306.
"""

from typing import Final

import numpy as np
import pandas as pd

from kline_core.bars.columns import PRICES
from kline_core.bars.convention import Convention
from kline_core.bars.readers.layout import Layout
from kline_core.bars.row_errors import RowErrors, to_numbers


def raw_bars(cells: pd.DataFrame) -> pd.DataFrame:
    """Bars as traded; where a factor is none, prices stay as they are, and the row check says why."""
    aside = RowErrors(cells)
    factor = to_numbers(cells["adj_factor"], "adj_factor", aside)
    changed: dict[str, pd.Series] = {}
    for name in (*PRICES, "volume"):
        if name in cells.columns:
            numbers = to_numbers(cells[name], name, aside)
            with np.errstate(all="ignore"):
                raw = numbers * factor if name == "volume" else numbers / factor
            # A cell that is no number stays, for the row check to name.
            known = pd.Series((factor > 0) & (numbers == numbers), index=cells.index)
            changed[name] = pd.Series(raw, index=cells.index).where(known, cells[name])
    return cells.assign(**changed)


LAYOUT: Final = Layout(
    name="Qlib",
    columns={
        "instrument": "symbol",
        "symbol": "symbol",
        "datetime": "date",
        "date": "date",
        "$open": "open",
        "$high": "high",
        "$low": "low",
        "$close": "close",
        "$volume": "volume",
        "$amount": "amount",
        "$factor": "adj_factor",
    },
    telling=("$open", "$high", "$low", "$close", "$factor"),
    convention=Convention(lasting_factor=False),
    tidy=raw_bars,
)
