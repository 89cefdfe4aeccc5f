"""baostock: raw daily bars of mainland shares with the exchange's previous close, and members of indices on any day.

Its client keeps one connection for the whole process, so that there is one request at a time. It prints what it does,
never gives up waiting, and reads on for ever where the server hangs up; it also ends a table that is cut off as if it
were whole. `_Socket` and `_rows` see to that. Its own `get_data` fails with pandas 2 and later beyond one page.
"""

import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core._logging import logger
from kline_core.errors import SourceError
from kline_core.sources.source import Call, Limits, client

_FIELDS: Final = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,tradestatus"
_RAW: Final = "3"
_SHARES: Final = ("sh.60", "sh.68", "sz.00", "sz.30")
_SECONDS: Final = 60.0
_SOCKET: Final = "default_socket"
"""Name under which the client keeps its connection."""
_log = logger(__name__)
_PROCESS: Final = threading.Lock()
"""Held by the fetch that uses the process's one connection."""


class BaoStock:
    """The package baostock."""

    name = "baostock"
    # One connection for the process; how many requests a minute are welcome is published nowhere.
    limits = Limits(at_once=1, per_minute=300)
    market: str | None = "CN"
    indices: Mapping[str, str] = {
        "csi300": "query_hs300_stocks",
        "csi500": "query_zz500_stocks",
        "sse50": "query_sz50_stocks",
    }
    has_all = True
    tells_past = True

    def __init__(self) -> None:
        self._ready = False

    def check(self) -> None:
        """Raise `SourceError` if baostock is not installed."""
        client("baostock", self.name)

    def members(self, universe: str, day: np.datetime64, call: Call) -> list[str]:
        """Codes of an index, or of all shares that are listed in Shanghai and Shenzhen on the day."""
        bs = _silent_client()
        if universe == "all":
            codes = self._table(bs, call, partial(bs.query_all_stock, day=str(day)))["code"].tolist()
            return [code for code in codes if code.startswith(_SHARES)]
        return self._index(bs, universe, day, call)

    def past_members(
        self, universe: str, first: np.datetime64, last: np.datetime64, call: Call
    ) -> dict[np.datetime64, list[str]]:
        """Codes of an index on the first day, and then at the beginning of each month."""
        bs = _silent_client()
        months = np.arange(first.astype("datetime64[M]") + 1, last.astype("datetime64[M]") + 1)
        days = [first, *(day for day in months.astype("datetime64[D]"))]
        return {day: self._index(bs, universe, day, call) for day in days if day <= last}

    def bars(self, symbol: str, first: np.datetime64, last: np.datetime64, call: Call) -> dict[str, pd.DataFrame]:
        """Raw prices with `preclose`, in which each payment shows."""
        bs = _silent_client()
        code, _, exchange = symbol.partition(".")
        if exchange not in ("SH", "SZ"):
            raise SourceError(
                f"baostock has shares of Shanghai and Shenzhen only, and {symbol} is none; leave it out",
                source=self.name,
                symbol=symbol,
            )
        request = partial(
            bs.query_history_k_data_plus,
            f"{exchange.lower()}.{code}",
            _FIELDS,
            start_date=str(first),
            end_date=str(last),
            frequency="d",
            adjustflag=_RAW,
        )
        found = self._table(bs, call, request)
        return {} if found.empty else {"": found}

    def close(self) -> None:
        """Log out, and close the connection."""
        if self._ready:
            self._ready = False
            client("baostock", self.name).logout()
            self._hang_up()

    def _index(self, bs: ModuleType, universe: str, day: np.datetime64, call: Call) -> list[str]:
        found = self._table(bs, call, partial(getattr(bs, self.indices[universe]), date=str(day)))
        return found["code"].tolist() if len(found) else []

    def _table(self, bs: ModuleType, call: Call, query: Callable[[], Any]) -> pd.DataFrame:
        return call(partial(self._asked, bs, query))

    def _asked(self, bs: ModuleType, query: Callable[[], Any]) -> pd.DataFrame:
        with _PROCESS:
            try:
                if not self._ready:
                    self._log_in(bs)
                return _rows(query(), client("baostock.common.contants", self.name).BAOSTOCK_PER_PAGE_COUNT)
            except BaseException:
                # What is left of an answer would be taken for the next one.
                self._hang_up()
                raise

    def _log_in(self, bs: ModuleType) -> None:
        sockets = client("baostock.util.socketutil", self.name)
        constants = client("baostock.common.contants", self.name)
        context = client("baostock.common.context", self.name)

        def connect(own: object, api_key: str) -> None:  # noqa: ARG001  the client's own method has them
            held = _Socket(constants.BAOSTOCK_SERVER_IP, constants.BAOSTOCK_SERVER_PORT)
            setattr(context, _SOCKET, held)

        sockets.SocketUtil.connect = connect
        said = bs.login()
        if said.error_code != "0":
            raise ConnectionError(f"the login was refused: {said.error_msg}")
        self._ready = True

    def _hang_up(self) -> None:
        self._ready = False
        context = client("baostock.common.context", self.name)
        if isinstance(held := getattr(context, _SOCKET, None), _Socket):
            held.close()
        setattr(context, _SOCKET, None)


class _Socket:
    """The connection of the client, which fails where the server is silent or gone."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=_SECONDS)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def recv(self, size: int) -> bytes:
        data = self._socket.recv(size)
        if not data:
            raise ConnectionResetError("the server has hung up")
        return data

    def close(self) -> None:
        self._socket.close()


def _rows(result: Any, page: int) -> pd.DataFrame:
    """All rows of an answer in pages of so many, as text.

    Raises `ConnectionError` where it is refused or not whole.
    """
    rows: list[list[str]] = []
    while result is not None and result.error_code == "0" and result.next():
        rows.append(result.get_row_data())
    if result is None or result.error_code != "0":
        raise ConnectionError("no answer" if result is None else f"{result.error_code}: {result.error_msg}")
    # A full page is followed by another, if only an empty one; where that failed, the client says nothing of it.
    if len(result.data) == page:
        raise ConnectionError(f"the answer ends after {len(rows)} rows, in the middle")
    return pd.DataFrame(rows, columns=result.fields)


def _silent_client() -> ModuleType:
    """The client, which prints into the log instead: on standard output stands a command's answer."""
    bs = client("baostock", BaoStock.name)
    for name, module in list(sys.modules.items()):
        if name.startswith("baostock."):
            vars(module)["print"] = _print
    return bs


def _print(*words: object) -> None:
    _log.debug("baostock: %s", " ".join(map(str, words)))
