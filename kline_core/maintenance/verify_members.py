"""Checks of `members` by themselves: what a list of members says can be compared with nothing else."""

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core.maintenance.findings import Ledger
from kline_core.store.remedies import NEW_MEMBERS
from kline_core.symbols import canonical_symbol, is_symbol


def check_members(table: pa.Table, ledger: Ledger) -> None:
    """Check that each row names a symbol in its one form, is there once, and is not of a day to come."""
    names = ("universe", "date", "symbol")
    frame = pd.DataFrame({name: np.array(table[name].to_pylist(), dtype=object) for name in names})

    def row_name(row: int) -> str:
        return " ".join(str(cell) for cell in frame.iloc[row])

    sound = {name: is_symbol(name) and canonical_symbol(name) == name for name in frame["symbol"].unique()}
    # A day ahead of UTC is a present one east of it.
    tomorrow = np.datetime64("today", "D") + np.timedelta64(1, "D")
    future = table["date"].to_numpy().astype("datetime64[D]") > tomorrow
    for kind, bad in (
        ("symbols that are none, or not in their one form", ~frame["symbol"].map(sound).to_numpy(dtype=bool)),
        ("rows that are stored more than once", frame.duplicated(list(names)).to_numpy()),
        ("lists of days to come", future),
    ):
        ledger.add("members", kind, bad, row_name, NEW_MEMBERS)
