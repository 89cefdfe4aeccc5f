"""The newest stored value of each symbol."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.schemas import FAILED
from kline_core.tables import Home

_COLUMNS = ["symbol", "date", "value", "status", "reason", "matches", "return_mean"]


def latest_values(
    home: Home, symbols: Sequence[str], fingerprint: str, as_of: np.datetime64 | None = None
) -> pd.DataFrame:
    """The newest stored sample of each symbol, none after `as_of`.

    One row a symbol that has any, ordered by symbol: symbol, date (datetime64), value (0..1, NaN where the sample
    failed), status, reason, matches (number), return_mean (mean return of the matches over the return horizon).
    """
    rows = home.read("factors", _COLUMNS, symbols=symbols, fingerprint=fingerprint)
    if as_of is not None:
        rows = rows.filter(pc.less_equal(rows["date"], pa.scalar(as_of.astype(object), pa.date32())))
    frame = rows.to_pandas().astype({"date": "datetime64[s]"})
    newest: pd.DataFrame = frame.sort_values(["symbol", "date"]).drop_duplicates("symbol", keep="last")
    newest = newest.reset_index(drop=True)
    return newest


def ranking(latest: pd.DataFrame, shown: int = 20) -> pd.DataFrame:
    """The symbols with the highest and the lowest values on the newest date of `latest`, best first.

    Columns rank (from 1), symbol, date, value, matches, return_mean; at most `shown` from either end. Symbols without a
    value on that date are left out; equal values stand in order of their symbols.
    """
    there = latest[(latest["date"] == latest["date"].max()) & (latest["status"] != FAILED)]
    ranked = there.sort_values(["value", "symbol"], ascending=[False, True]).reset_index(drop=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    picked = ranked if len(ranked) <= 2 * shown else pd.concat([ranked.head(shown), ranked.tail(shown)])
    shortened: pd.DataFrame = picked[["rank", "symbol", "date", "value", "matches", "return_mean"]]
    return shortened.reset_index(drop=True)
