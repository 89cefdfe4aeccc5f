"""Stooq: its ASCII files, with names in angle brackets, and its download in Polish.

Prices are adjusted for splits and dividends unless one unticks that. `<PER>` is D for daily bars; others are rejected.
Tickers have the suffix of their country (ibm.us, vod.uk, 7203.jp); Polish ones and indices have none. The download in
English is like the plain layout, and cannot be told from it.
"""

import pandas as pd

from kline_core.bars.readers.layout import Layout

NOTE = (
    "Stooq adjusts prices for splits and dividends, so that the past changes with each new one and later deliveries do "
    "not go on from these; deliver a symbol's whole history each time"
)
_SUFFIXES = {"UK": "L", "JP": "T", "HU": "BD"}
"""Suffix of Yahoo by that of Stooq, where they differ."""


def _tidy(cells: pd.DataFrame) -> pd.DataFrame:
    if "symbol" not in cells.columns:
        return cells
    names = {name: _canonical(name) for name in cells["symbol"].unique() if isinstance(name, str)}
    return cells.assign(symbol=cells["symbol"].map(lambda name: names.get(name, name)))


def _canonical(name: str) -> str:
    code, dot, suffix = name.strip().upper().rpartition(".")
    return f"{code}.{_SUFFIXES[suffix]}" if dot and suffix in _SUFFIXES else name


LAYOUT = Layout(
    name="Stooq",
    columns={
        "<ticker>": "symbol",
        "<per>": "period",
        "<date>": "date",
        "<open>": "open",
        "<high>": "high",
        "<low>": "low",
        "<close>": "close",
        "<vol>": "volume",
    },
    telling=("<ticker>", "<per>", "<date>", "<close>"),
    tidy=_tidy,
    note=NOTE,
)
POLISH = Layout(
    name="Stooq, in Polish",
    columns={
        "data": "date",
        "otwarcie": "open",
        "najwyzszy": "high",
        "najnizszy": "low",
        "zamkniecie": "close",
        "wolumen": "volume",
    },
    telling=("data", "otwarcie", "najwyzszy", "najnizszy", "zamkniecie"),
    file_name=r"([A-Z0-9-]{1,10})(?:_(us|hk))?_d",
    note=NOTE,
)
