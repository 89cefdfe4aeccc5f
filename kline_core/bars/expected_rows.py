"""Rows that a source was asked for, told from others that it gave as well."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kline_core.bars.row_errors import rejected_bars, rejected_frame
from kline_core.symbols import canonical_symbol
from kline_core.typing import Objects

OTHER_SYMBOL = "symbol is not the one that was asked for; the source may have taken one for the other"
TOO_EARLY = "date is that of a session that was not over, whose bar may still change; it comes with the next fetch"


@dataclass(frozen=True, slots=True)
class Expected:
    """What frames were asked for."""

    symbols: Mapping[str, str]
    """Symbol by the name of the frame."""
    until: np.datetime64
    """datetime64[D]: the last session that was over."""


def reject_unasked(
    bars: pd.DataFrame, sources: Objects, expected: Expected | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that were asked for, and the rejected rows, `REJECTED_COLUMNS`.

    `sources` are the names of the frames that the column `file` numbers. None for `expected` takes all rows.
    """
    if expected is None or len(bars) == 0:
        return bars, rejected_frame([])
    canonical = {name: canonical_symbol(name) for name in bars["symbol"].unique()}
    asked = np.array([canonical_symbol(expected.symbols[name]) for name in sources], dtype=object)
    other = bars["symbol"].map(canonical).to_numpy(dtype=object) != asked[bars["file"].to_numpy()]
    early = ~other & (bars["date"].to_numpy().astype("datetime64[D]") > expected.until)
    rows = [
        rejected_bars(bars[other], sources, OTHER_SYMBOL, bars.loc[other, "symbol"]),
        rejected_bars(bars[early], sources, TOO_EARLY, bars.loc[early, "date"].dt.strftime("%Y-%m-%d")),
    ]
    return bars[~(other | early)], rejected_frame(rows)
