"""TDX (通达信): the binary files of daily bars that its client keeps (vipdoc/sh/lday/sh600000.day).

A file has no header: every 32 bytes are a day, little-endian, with date (YYYYMMDD), open, high, low, close, amount
(float32), volume and a reserve. The file's name is the symbol, with its exchange. Prices are raw, in hundredths of the
currency, those of funds and of B shares of Shanghai in thousandths. Volume counts shares, that of an index lots of 100.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kline_core.bars.columns import PRICES
from kline_core.bars.convention import Convention
from kline_core.bars.readers.contents import stem_of
from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.raw_rows import RawRows
from kline_core.bars.row_errors import rejected_frame, rejected_rows
from kline_core.errors import InputError

SUFFIXES: tuple[str, ...] = (".day",)
LAYOUT: Final = Layout(
    name="TDX day",
    columns={},
    telling=(),
    convention=Convention(chinese=True),
    unadjusted="TDX's own files hold raw prices and tell no payments",
)
_RECORD: Final = np.dtype(
    [
        ("date", "<u4"),
        ("open", "<u4"),
        ("high", "<u4"),
        ("low", "<u4"),
        ("close", "<u4"),
        ("amount", "<f4"),
        ("volume", "<u4"),
        ("reserve", "<u4"),
    ]
)
_NAMED: Final = re.compile(r"(?<![A-Z])(?:SH|SZ|BJ)#?[0-9]{6}(?![0-9])", re.ASCII | re.IGNORECASE)
_UNITS: Final = {
    **dict.fromkeys(("SH60", "SH68", "SZ00", "SZ30", "SZ20", "BJ43", "BJ83", "BJ87", "BJ88", "BJ92"), (100, 1)),
    **dict.fromkeys(("SH90", "SH50", "SH51", "SH52", "SH53", "SH55", "SH56", "SH58"), (1000, 1)),
    **dict.fromkeys(("SZ15", "SZ16", "SZ18"), (1000, 1)),
    **dict.fromkeys(("SH00", "SH88", "SH99", "SZ39", "BJ89"), (100, 100)),
}
"""Units of a price in one of the currency, and shares in one of the volume, by exchange and first digits of a code."""


def recognises(data: bytes, path: Path) -> bool:  # noqa: ARG001  the signature of readers
    """By the name: the contents have no mark."""
    return path.name.lower().endswith((".day", ".day.gz"))


def read(data: bytes, path: Path, max_bytes: int, mapping: Mapping[str, str] | None = None) -> RawRows:  # noqa: ARG001
    """Days of a file, numbered from 1.

    Raises `InputError` if it is empty, its name tells no symbol whose units are known, or it holds no such days.
    """
    source = str(path)
    stem = stem_of(path, SUFFIXES)
    named = _NAMED.findall(stem)
    symbol = LAYOUT.convention.symbol(named[0]) if len(named) == 1 else ""
    code, _, exchange = symbol.partition(".")
    units = _UNITS.get(f"{exchange}{code[:2]}")
    if units is None:
        raise InputError(
            f"{path}: its name {stem!r} tells no share, fund or index whose units are known; name it as TDX does, "
            "sh600000.day",
            source=source,
            column="symbol",
            value=stem,
        )
    if not data:
        raise InputError(f"{path}: holds no rows; deliver it again, whole", source=source)
    whole, rest = divmod(len(data), _RECORD.itemsize)
    days = np.frombuffer(data, _RECORD, whole)
    number = np.arange(1, whole + 1)
    if whole and not ((days["date"] >= 19000101) & (days["date"] <= 21991231)).any():
        raise InputError(f"{path}: is no file of TDX: none of its records has a date; export it as text", source=source)
    frame = pd.DataFrame({"symbol": symbol, "date": days["date"].astype(str)}, index=number)
    frame = frame.assign(**{name: days[name] / units[0] for name in PRICES})
    frame = frame.assign(volume=days["volume"] * float(units[1]), amount=days["amount"].astype(np.float64))
    torn = []
    if rest:
        at = pd.Index([whole + 1])
        value = pd.Series([f"{rest} of {_RECORD.itemsize} bytes"], index=at)
        torn = [rejected_rows(source, at, pd.Series(symbol, index=at), "row is cut off", value)]
    return RawRows(frame, rejected_frame(torn), (), LAYOUT)
