"""Loopback servers that answer as vendors of bars do, and ways to lead the vendors' own clients to them."""

import json
import socketserver
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.sessions import sessions_until
from kline_core.encoder.synthetic import random_walk
from kline_core.markets import MARKETS
from kline_core.symbols import market_of

LAST = np.datetime64("2024-06-28", "D")
"""The last session of all vendors here, in Shanghai and New York."""
NOW = datetime(2024, 6, 29, 12, tzinfo=UTC)
"""A Saturday on which that session is over everywhere."""
MAINLAND = ["600519.SH", "000001.SZ", "300750.SZ", "601318.SH"]
US = ["AAPL", "MSFT", "BRK-B"]
TOKEN = "0123456789abcdef-the-right-token"
"""The one that Tushare takes here."""


def bars_of(symbol: str, sessions: int, seed: int, dividends: dict[int, float] | None = None) -> pd.DataFrame:
    """Raw bars up to `LAST`, with what was paid on sessions counted from the end.

    `factor` is the cumulative backward factor, `previous` the exchange's previous close.
    """
    calendar = MARKETS[market_of(symbol) or "US"].calendar
    days = sessions_until(LAST, sessions, calendar)
    walk = random_walk(1, len(days), seed, 0.01).to_frame()[["open", "high", "low", "close"]].round(2)
    frame = walk.assign(day=days.astype("datetime64[s]"), volume=np.arange(len(days)) * 100.0 + 100_000)
    frame["amount"] = (frame["volume"] * frame["close"]).round(2)
    paid = np.zeros(len(days))
    for at, share in (dividends or {}).items():
        paid[-at] = round(share, 2)
    before = frame["close"].shift(1)
    frame["previous"] = (before - paid).fillna(frame["open"]).round(2)
    frame["factor"] = (before / frame["previous"]).where(paid > 0, 1.0).fillna(1.0).cumprod()
    return frame


@dataclass
class Vendor:
    """What all vendors here know, how they fail, and what they were asked."""

    bars: dict[str, pd.DataFrame]
    members: dict[str, list[str]] = field(default_factory=dict)
    """Canonical symbols by month, YYYY-MM, from which on they are the members of every index."""
    until: np.datetime64 = LAST
    """Last day that they have."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """By canonical symbol, the next faults: `error` (500), `hang up`, `page` (no data, but HTML)."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Kind and symbol of each request."""
    began: dict[str, list[str]] = field(default_factory=dict)
    """First days that were asked for, by symbol."""
    tokens: set[str] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    gate: threading.Barrier | None = None
    """Where requests for bars wait for each other; None if they do not."""
    released: threading.Event = field(default_factory=threading.Event)
    """Until it is set, requests with the fault `wait` get no answer."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    confused: dict[str, str] = field(default_factory=dict)
    """Symbols whose bars are given where others are asked for."""
    heeds_last_day: bool = True

    def rows(self, symbol: str, first: str, last: str) -> pd.DataFrame:
        """Bars of a symbol, none if it is not known."""
        if symbol not in self.bars:
            return next(iter(self.bars.values())).iloc[:0]
        frame = self.bars[symbol]
        end = min(pd.Timestamp(last), pd.Timestamp(self.until))
        if not self.heeds_last_day:
            end = frame["day"].max()
        with self.lock:
            self.began.setdefault(symbol, []).append(str(pd.Timestamp(first).date()))
        return frame[(frame["day"] >= pd.Timestamp(first)) & (frame["day"] <= end)]

    def members_on(self, day: str) -> list[str]:
        """Members on a day, by the newest list not after it."""
        month = max((month for month in self.members if month <= day[:7]), default=None)
        return [] if month is None else self.members[month]

    def fault(self, symbol: str) -> str | None:
        with self.lock:
            left = self.faults.get(symbol, [])
            return left.pop(0) or None if left else None

    @contextmanager
    def request(self, kind: str, symbol: str) -> Iterator[None]:
        with self.lock:
            self.asked.append((kind, symbol))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None and symbol:
                self.gate.wait(timeout=10)
            yield
        finally:
            with self.lock:
                self.at_once -= 1

    def count(self, kind: str = "") -> Counter[str]:
        """Requests by symbol, of a kind."""
        return Counter(symbol for each, symbol in self.asked if not kind or each == kind)


def canonical(code: str) -> str:
    return f"{code}.{'SH' if code[0] == '6' else 'SZ'}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._answer(url.path, {name: values[0] for name, values in parse_qs(url.query).items()})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        form = self.headers.get("Content-Type") == "application/x-www-form-urlencoded"
        self._answer(urlsplit(self.path).path, {} if form else json.loads(body))

    @property
    def vendor(self) -> Vendor:
        return self.server.vendor  # type: ignore[attr-defined]

    def _answer(self, path: str, asked: dict) -> None:
        _, host, rest = path.split("/", 2)
        if host == "push2his.eastmoney.com":
            symbol = canonical(asked["secid"][2:])
            self._with_faults("bars", symbol, lambda: eastmoney(self.vendor, symbol, asked))
        elif host == "oss-ch.csindex.com.cn":
            self._send(200, csindex(self.vendor, rest), "application/vnd.ms-excel")
        elif host in ("query.sse.com.cn", "www.szse.cn", "www.bse.cn"):
            self._send(200, listed(self.vendor, host, asked), "application/octet-stream")
        elif host == "api.waditu.com":
            name = rest.rpartition("/")[2]
            self.vendor.tokens.add(asked["token"])
            symbol = asked["params"].get("ts_code", "")
            self._with_faults(name, symbol, lambda: tushare(self.vendor, name, asked))
        elif host == "query2.finance.yahoo.com":
            symbol = rest.rpartition("/")[2]
            self._with_faults(
                "bars" if "period1" in asked else "zone", symbol, lambda: yahoo(self.vendor, symbol, asked)
            )
        elif rest.endswith("getcrumb"):
            self._send(200, b"crumb", "text/plain")
        else:
            self._send(404, b"nothing here", "text/plain")

    def _with_faults(self, kind: str, symbol: str, body: Callable[[], object]) -> None:
        with self.vendor.request(kind, symbol):
            fault = self.vendor.fault(symbol)
            if fault == "hang up":
                self.close_connection = True
            elif fault == "error":
                self._send(500, b"<html>busy</html>", "text/html")
            elif fault == "page":
                self._send(200, b"<html>slow down</html>", "text/html")
            else:
                self._send(200, json.dumps(body()).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def eastmoney(vendor: Vendor, symbol: str, asked: dict) -> dict:
    """Daily lines as Eastmoney's: raw for fqt 0, backward adjusted for 2, lots of a hundred shares."""
    rows = vendor.rows(symbol, asked["beg"], asked["end"])
    times = rows["factor"] if asked["fqt"] == "2" else pd.Series(1.0, index=rows.index)
    lines = [
        f"{row.day:%Y-%m-%d},{row.open * f:.2f},{row.close * f:.2f},{row.high * f:.2f},{row.low * f:.2f},"
        f"{row.volume / 100:.0f},{row.amount:.2f},1.00,0.50,0.10,0.30"
        for row, f in zip(rows.itertuples(), times, strict=True)
    ]
    return {"data": {"code": symbol[:6], "klines": lines} if lines else None}


def csindex(vendor: Vendor, rest: str) -> bytes:
    """The list of an index as CSI keeps it: a workbook."""
    code = rest.rpartition("/")[2].removesuffix("cons.xls")
    names = vendor.members_on(str(vendor.until))
    table = pd.DataFrame(
        {
            "日期Date": [str(vendor.until).replace("-", "")] * len(names),
            "指数代码 Index Code": code,
            "指数名称 Index Name": "沪深300",
            "指数英文名称Index Name(Eng)": "CSI 300",
            "成份券代码Constituent Code": [name[:6] for name in names],
            "成份券名称Constituent Name": "名",
            "成份券英文名称Constituent Name(Eng)": "name",
            "交易所Exchange": "上海证券交易所",
            "交易所英文名称Exchange(Eng)": "Shanghai Stock Exchange",
        }
    )
    out = BytesIO()
    table.to_excel(out, index=False)
    return out.getvalue()


def listed(vendor: Vendor, host: str, asked: dict) -> bytes:
    """The list of shares of an exchange, as its page has it: JSON, a workbook, or a call with JSON in it."""
    codes = [name[:6] for name in vendor.bars if name.endswith({"q": ".SH", "w": ".SZ"}[host[0]])]
    if host == "query.sse.com.cn":
        star = asked["STOCK_TYPE"] == "8"
        names = ("SEC_NAME_CN", "SEC_NAME_FULL", "COMPANY_ABBR", "FULL_NAME")
        told = [
            {"A_STOCK_CODE": code, "LIST_DATE": "20010827"} | dict.fromkeys(names, "名")
            for code in codes
            if code.startswith("68") == star
        ]
        return json.dumps({"result": told}).encode()
    if host == "www.szse.cn":
        out = BytesIO()
        columns = ("板块", "A股代码", "A股简称", "A股上市日期", "A股总股本", "A股流通股本", "所属行业")
        pd.DataFrame([["主板", code, "名", "1991-04-03", "1", "1", "J"] for code in codes], columns=columns).to_excel(
            out, index=False
        )
        return out.getvalue()
    row = {f"x{at}": "" for at in range(48)} | {"x0": "20200101", "x22": "20240101", "x38": "920001", "x40": "名"}
    return f"null({json.dumps([{'totalPages': 1, 'content': [row]}])})".encode()


def tushare(vendor: Vendor, name: str, asked: dict) -> dict:
    """A table of Tushare Pro, newest day first."""
    params = asked["params"]
    if asked["token"] != TOKEN:
        return {"code": 40101, "msg": "您的token不对，请确认。", "data": None}
    if name == "stock_basic":
        known = vendor.bars if params["list_status"] == "L" else ()
        return _tushare_table({"ts_code": list(known)})
    first, last = params["start_date"], params["end_date"]
    if name == "index_weight":
        days = [str(day.date()) for day in pd.date_range(first, last) if day.day == 1]
        pairs = [(day.replace("-", ""), member) for day in days for member in vendor.members_on(day)]
        return _tushare_table(
            {
                "index_code": [params["index_code"]] * len(pairs),
                "con_code": [member for _, member in pairs],
                "trade_date": [day for day, _ in pairs],
                "weight": [1.0] * len(pairs),
            }
        )
    rows = vendor.rows(params["ts_code"], first, last).iloc[::-1]
    key = {"ts_code": [params["ts_code"]] * len(rows), "trade_date": rows["day"].dt.strftime("%Y%m%d").tolist()}
    if name == "adj_factor":
        return _tushare_table(key | {"adj_factor": rows["factor"].round(6).tolist()})
    prices = {column: rows[column].tolist() for column in ("open", "high", "low", "close")}
    rest = {
        "pre_close": rows["previous"].tolist(),
        "change": [0.0] * len(rows),
        "pct_chg": [0.0] * len(rows),
        "vol": (rows["volume"] / 100).tolist(),
        "amount": (rows["amount"] / 1000).tolist(),
    }
    return _tushare_table(key | prices | rest)


def _tushare_table(columns: dict[str, list]) -> dict:
    items = [list(row) for row in zip(*columns.values(), strict=True)]
    return {"code": 0, "msg": None, "data": {"fields": list(columns), "items": items, "has_more": False}}


def yahoo(vendor: Vendor, symbol: str, asked: dict) -> dict:
    """A chart of Yahoo's."""
    if symbol not in vendor.bars:
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return {"chart": {"result": None, "error": error}}
    meta = {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "NMS",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EDT",
        "gmtoffset": -14400,
        "firstTradeDate": 0,
        "regularMarketTime": 0,
        "priceHint": 2,
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "max"],
        "currentTradingPeriod": {
            name: {"timezone": "EDT", "start": 0, "end": 0, "gmtoffset": -14400} for name in ("pre", "regular", "post")
        },
    }
    if "period1" not in asked:
        return {"chart": {"result": [{"meta": meta, "timestamp": [], "indicators": {"quote": [{}]}}], "error": None}}
    first, last = (pd.Timestamp(int(asked[name]), unit="s", tz="UTC") for name in ("period1", "period2"))
    days = [moment.tz_convert("America/New_York").tz_localize(None).normalize() for moment in (first, last)]
    rows = vendor.rows(symbol, str(days[0]), str(days[1] - pd.Timedelta(days=1)))
    opens = (rows["day"] + pd.Timedelta(hours=9, minutes=30)).dt.tz_localize("America/New_York")
    quote = {name: rows[name].tolist() for name in ("open", "high", "low", "close")}
    newest = vendor.bars[symbol].loc[vendor.bars[symbol]["day"] <= pd.Timestamp(vendor.until), "factor"].iloc[-1]
    adjusted = (rows["close"] * rows["factor"] / newest).tolist()
    return {
        "chart": {
            "result": [
                {
                    "meta": meta,
                    "timestamp": [int(moment.timestamp()) for moment in opens],
                    "indicators": {
                        "quote": [quote | {"volume": rows["volume"].astype(int).tolist()}],
                        "adjclose": [{"adjclose": adjusted}],
                    },
                }
            ],
            "error": None,
        }
    }


@contextmanager
def http_vendor(vendor: Vendor) -> Iterator[str]:
    """A server of all vendors that speak HTTP; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.vendor = vendor  # type: ignore[attr-defined]
    server.daemon_threads = True
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


class _BaoStock(socketserver.BaseRequestHandler):
    """The protocol of baostock: a head of 21 bytes, fields behind it, and an end that says so."""

    PAGE = 2000
    END = b"<![CDATA[]]>\n"

    def handle(self) -> None:
        vendor: Vendor = self.server.vendor  # type: ignore[attr-defined]
        held = b""
        while data := self.request.recv(65536):
            held += data
            while b"\n" in held:
                line, _, held = held.partition(b"\n")
                kind = line.decode().split("\1")[1]
                fields = line[21:].decode().split("\1")[:-1]
                if not self._reply(vendor, kind, fields):
                    return

    def _reply(self, vendor: Vendor, kind: str, fields: list[str]) -> bool:
        method, user, *rest = fields
        if kind in ("00", "02"):
            vendor.asked.append((method, ""))
            self._send(f"{int(kind) + 1:02}", ["0", "success", method, "anonymous"])
            return True
        if kind == "95":
            page, size, code, columns, first, last = rest[:6]
            symbol = f"{code[3:]}.{code[:2].upper()}"
            with vendor.request("bars", symbol):
                match vendor.fault(symbol):
                    case "hang up":
                        return False
                    case "wait":
                        vendor.released.wait(timeout=60)
                        return False
                    case "error":
                        self._send("96", ["10001006", "refused", method, user])
                        return True
                rows = self._bars(vendor, symbol, code, columns.split(","), first, last)
                shown = rows[(int(page) - 1) * int(size) : int(page) * int(size)]
                record = json.dumps({"record": shown})
                told = ["0", "success", method, user, page, size, record, code, columns, first, last, "d", "3"]
                self._send("96", told)
            return True
        page, size, day = rest
        names = list(vendor.bars) if kind == "35" else vendor.members_on(day)
        codes = [f"{name[-2:].lower()}.{name[:6]}" for name in names]
        if kind == "35":
            columns, rows = "code, tradeStatus, code_name", [[code, "1", "n"] for code in ["sh.000001", *codes]]
        else:
            columns, rows = "updateDate, code, code_name", [[day, code, "n"] for code in codes]
        vendor.asked.append((method, ""))
        answer = "36" if kind == "35" else f"{int(kind) + 1}"
        self._send(answer, ["0", "success", method, user, page, size, json.dumps({"record": rows}), day, columns])
        return True

    def _bars(
        self, vendor: Vendor, symbol: str, code: str, columns: list[str], first: str, last: str
    ) -> list[list[str]]:
        cells = {
            "open": "open",
            "high": "high",
            "low": "low",
            "close": "close",
            "preclose": "previous",
        }
        found = []
        other = vendor.confused.get(symbol)
        code = code if other is None else f"{other[-2:].lower()}.{other[:6]}"
        for row in vendor.rows(other or symbol, first, last).to_dict("records"):
            known = {name: f"{row[column]:.4f}" for name, column in cells.items()}
            known |= {"date": f"{row['day']:%Y-%m-%d}", "code": code, "adjustflag": "3", "tradestatus": "1"}
            known |= {"volume": f"{row['volume']:.0f}", "amount": f"{row['amount']:.4f}"}
            found.append([known[name] for name in columns])
        return found

    def _send(self, kind: str, fields: list[str]) -> None:
        body = ("\1".join(fields) + "\1crc\n").encode()
        if kind == "96":
            body = zlib.compress(body)
        self.request.sendall(f"00.9.40\1{kind}\1{len(body):010}".encode() + body + self.END)


@contextmanager
def tcp_vendor(vendor: Vendor) -> Iterator[int]:
    """A server that speaks as baostock's; yields its port."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _BaoStock)
    server.vendor = vendor  # type: ignore[attr-defined]
    server.daemon_threads = True
    with _serving(server):
        yield server.server_address[1]


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def led(patch: pytest.MonkeyPatch, vendor: Vendor, cache: Path) -> Iterator[Callable[..., None]]:
    """A function that leads the clients of sources, by their names, to a vendor; it skips where one is missing."""
    with http_vendor(vendor) as address, tcp_vendor(vendor) as port:

        def begin(*names: str) -> None:
            for name in names:
                pytest.importorskip(name, reason=f"pip install '.[{name}]'")
                if name == "baostock":
                    lead_baostock(patch, port)
                elif name == "yfinance":
                    lead_curl(patch, address, cache)
                else:
                    lead_requests(patch, address)

        yield begin


def lead_requests(patch: pytest.MonkeyPatch, address: str) -> None:
    """Lead every client on top of requests to an address: https://HOST/PATH becomes ADDRESS/HOST/PATH."""
    from requests.adapters import HTTPAdapter

    send = HTTPAdapter.send

    def led(self, request, **options):
        request.url = _elsewhere(request.url, address)
        return send(self, request, **options)

    patch.setattr(HTTPAdapter, "send", led)


def lead_curl(patch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    """Lead yfinance, which speaks through curl, to an address; what it remembers goes into the folder `cache`."""
    import yfinance
    from curl_cffi import requests
    from yfinance.data import YfData

    class Led(requests.Session):
        def request(self, method, url, *rest, **options):
            return super().request(method, _elsewhere(url, address), *rest, **options)

    yfinance.set_tz_cache_location(str(cache))
    data = YfData()
    patch.setattr(data, "_session", Led())
    YfData.cache_get.cache_clear()


def lead_baostock(patch: pytest.MonkeyPatch, port: int) -> None:
    """Lead baostock to a port."""
    from baostock.common import contants

    patch.setattr(contants, "BAOSTOCK_SERVER_IP", "127.0.0.1")
    patch.setattr(contants, "BAOSTOCK_SERVER_PORT", port)


def _elsewhere(url: str, address: str) -> str:
    host, _, rest = url.partition("://")[2].partition("/")
    return url if host.startswith("127.0.0.1") else f"{address}/{host}/{rest}"
