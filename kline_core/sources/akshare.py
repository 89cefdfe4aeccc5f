"""AkShare: Eastmoney's daily bars of mainland shares, raw and backward adjusted, and members from CSI's own lists.

Neither says who was a member earlier. Eastmoney gives an empty answer for a code that it does not know, and to a caller
that it has had enough of.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from kline_core.errors import SourceError
from kline_core.sources.source import Call, Limits, client, compact
from kline_core.symbols import code_of

_SECONDS: Final = 30.0


class AkShare:
    """The package akshare."""

    name = "akshare"
    # None is published. Users report that Eastmoney shuts them out for hours after 50 to 200 shares in a row.
    limits = Limits(at_once=1, per_minute=30)
    market: str | None = "CN"
    indices: Mapping[str, str] = {"csi300": "000300", "csi500": "000905", "csi1000": "000852", "sse50": "000016"}
    has_all = True
    tells_past = False

    def check(self) -> None:
        """Raise `SourceError` if akshare is not installed."""
        client("akshare", self.name)

    def members(self, universe: str, day: np.datetime64, call: Call) -> list[str]:  # noqa: ARG002  of today alone
        """Codes of an index, or of all shares of Shanghai, Shenzhen and Beijing."""
        ak = client("akshare", self.name)
        if universe == "all":
            # They remember their first answers, and a process may live for weeks.
            for exchange in ("a_code_name", "sh_name_code", "sz_name_code", "bj_name_code"):
                getattr(ak, f"stock_info_{exchange}").cache_clear()
            codes = call(ak.stock_info_a_code_name)["code"]
        else:
            codes = call(partial(ak.index_stock_cons_csindex, symbol=self.indices[universe]))["成分券代码"]
        return [str(code) for code in codes]

    def past_members(
        self, universe: str, first: np.datetime64, last: np.datetime64, call: Call
    ) -> dict[np.datetime64, list[str]]:
        """Nothing: it does not tell them."""
        raise NotImplementedError

    def bars(self, symbol: str, first: np.datetime64, last: np.datetime64, call: Call) -> dict[str, pd.DataFrame]:
        """Raw prices, and backward adjusted ones that tell the changes of their factor."""
        ak = client("akshare", self.name)
        found = {}
        for adjust in ("", "hfq"):
            frame = call(
                partial(
                    ak.stock_zh_a_hist,
                    symbol=code_of(symbol),
                    period="daily",
                    start_date=compact(first),
                    end_date=compact(last),
                    adjust=adjust,
                    timeout=_SECONDS,
                )
            )
            if frame.empty:
                break
            found[adjust] = frame.assign(adjust=adjust)
        if len(found) == 1:
            raise SourceError(
                f"akshare gave raw prices of {symbol} and no adjusted ones, which tell its dividends; try again later",
                source=self.name,
                symbol=symbol,
            )
        return found

    def close(self) -> None:
        """Nothing is open."""
