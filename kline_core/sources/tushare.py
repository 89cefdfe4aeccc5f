"""Tushare Pro: raw daily bars of mainland shares, their cumulative factors, and the members of indices by month.

Its client sends the token over plain HTTP, and takes an answer that reports a failure of the server for an empty table.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core.errors import SourceError
from kline_core.sources.source import Call, Limits, client, compact, token

_SECONDS: Final = 30
_TOKEN: Final = "TUSHARE_TOKEN"
_REFUSED: Final = ("token", "权限", "积分")
"""Words of answers that do not change by asking again: a wrong token, rights or points that are lacking."""
_YEARS: Final = np.timedelta64(20 * 365, "D")
"""Days of one request: an answer has 6,000 rows at the most, and leaves out the rest."""
_LATELY: Final = np.timedelta64(62, "D")
_LISTED: Final = ("L", "P")


class Tushare:
    """The package tushare."""

    name = "tushare"
    # Those of 2,000 points, which `adj_factor` needs.
    limits = Limits(at_once=4, per_minute=200)
    market: str | None = "CN"
    indices: Mapping[str, str] = {
        "csi300": "399300.SZ",
        "csi500": "000905.SH",
        "csi1000": "000852.SH",
        "sse50": "000016.SH",
    }
    has_all = True
    tells_past = True

    def check(self) -> None:
        """Raise `SourceError` if tushare is not installed, or no token is set."""
        client("tushare", self.name)
        token(_TOKEN, self.name, "your page at tushare.pro shows it")

    def members(self, universe: str, day: np.datetime64, call: Call) -> list[str]:
        """Codes of the newest list of an index, or of all shares that are listed or suspended from it."""
        if universe != "all":
            lists = self._lists(universe, day - _LATELY, day, call)
            return lists[max(lists)] if lists else []
        names: list[str] = []
        for status in _LISTED:
            found = call(partial(self._ask, "stock_basic", exchange="", list_status=status, fields="ts_code"))
            names += found["ts_code"].tolist()
        return names

    def past_members(
        self, universe: str, first: np.datetime64, last: np.datetime64, call: Call
    ) -> dict[np.datetime64, list[str]]:
        """Codes of an index on the days for which there are lists, at least one a month."""
        lists: dict[np.datetime64, list[str]] = {}
        # The list that was in force on the first day, too.
        months = np.arange((first - _LATELY).astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
        for month in months:
            end = (month + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
            lists |= self._lists(universe, month.astype("datetime64[D]"), min(end, last), call)
        return lists

    def bars(self, symbol: str, first: np.datetime64, last: np.datetime64, call: Call) -> dict[str, pd.DataFrame]:
        """Raw prices, and the cumulative factors of their days."""
        found = {}
        for kind, name in (("", "daily"), ("adj_factor", "adj_factor")):
            parts, begin = [], first
            while begin <= last:
                end = min(begin + _YEARS, last)
                days = {"start_date": compact(begin), "end_date": compact(end)}
                parts.append(call(partial(self._ask, name, ts_code=symbol, **days)))
                begin = end + np.timedelta64(1, "D")
            parts = [part for part in parts if len(part)]
            if not parts:
                break
            found[kind] = pd.concat(parts, ignore_index=True)
        if len(found) == 1:
            raise SourceError(
                f"tushare gave prices of {symbol} and no factors; try again later", source=self.name, symbol=symbol
            )
        if found:
            factors = found["adj_factor"]
            # Suspended days have factors and no bars.
            found["adj_factor"] = factors[factors["trade_date"].isin(found[""]["trade_date"])]
        return found

    def close(self) -> None:
        """Nothing is open."""

    def _lists(
        self, universe: str, first: np.datetime64, last: np.datetime64, call: Call
    ) -> dict[np.datetime64, list[str]]:
        days = {"start_date": compact(first), "end_date": compact(last)}
        found = call(partial(self._ask, "index_weight", index_code=self.indices[universe], **days))
        return {
            np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "D"): rows["con_code"].tolist()
            for day, rows in found.groupby(found["trade_date"].astype(str))
        }

    def _ask(self, name: str, **params: Any) -> pd.DataFrame:
        ts = client("tushare", self.name)
        pro = ts.pro_api(token(_TOKEN, self.name, "your page at tushare.pro shows it"), timeout=_SECONDS)
        try:
            found: pd.DataFrame = pro.query(name, **params)
        except Exception as error:
            if type(error) is Exception and any(word in str(error) for word in _REFUSED):
                raise SourceError(
                    f"tushare refuses {name}: {error}; check {_TOKEN}, and the points of your account",
                    source=self.name,
                    remedy=_TOKEN,
                ) from error
            raise
        if not len(found.columns):
            raise ConnectionError(f"no table {name}: the server failed")
        return found
