"""Habits of a vendor: units, codes and dates that a layout is written in."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kline_core.symbols import canonical_symbol, is_symbol, market_of

_CODE: Final = re.compile(
    r"(?:(?<![A-Z])(?:SH|SZ|BJ)[.#_]?)?(?<![0-9])[0-9]{6}(?![0-9])(?:\.[A-Z]{2,4})?", re.ASCII | re.IGNORECASE
)
_ON_EXCHANGE: Final = re.compile(
    r"(?<![A-Z0-9])(?:(?:SH|SZ|BJ)[.#_]?[0-9]{6}|[0-9]{6}\.(?:SH|SS|SZ|BJ|XSHG|XSHE))(?![A-Z0-9])",
    re.ASCII | re.IGNORECASE,
)
"""A mainland code with its exchange, amid other words."""
_NAME: Final = re.compile(
    r"\^?[A-Z0-9&]{1,12}(?:[.][A-Z0-9]{1,5}|[-/][A-Z]{1,4}|=[A-Z])?(?:\.[A-Z]{1,4})?", re.ASCII | re.IGNORECASE
)
"""Forms of symbols as exchanges and vendors write them: no file is named so by chance, but for the words below."""
_NO_NAME: Final = re.compile(
    r"(?:bars?|daily|data|download|eod|export|historical|historicaldata|history|klines?|monthly|ohlcv?|output|prices?|"
    r"quotes?|stocks?|table|weekly|(?:19|20)\d\d|\d{8,})\d*",
    re.ASCII,
)
"""What people call files of bars, and years and days."""
_INDEX: Final = re.compile(r"(?:上证|深证|沪深|中证|国证|创业板|中小板|科创板|北证).*|.*指.*|.*[0-9]{2,}.*", re.DOTALL)
"""Names of indices of the mainland: of their makers and boards, with 指 or a number of shares. No share is named so."""
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_FLOAT: Final = re.compile(r"([0-9]{1,6})\.0+", re.ASCII)
"""A code that a tool took for a number with decimals, as where another row of its column has none."""
_QUOTED: Final = re.compile(r"^['‘’](?=[0-9])", re.ASCII)
_VENDOR: Final = (
    r"(?:akshare|alpha[ _-]?vantage|baostock|eastmoney|investing(?:[._]com)?|joinquant|jqdata|metastock|nasdaq|netease|"
    r"163|qlib|ricequant|sina|stooq|tdx|tencent|tushare|wind|yahoo(?:[ _-]?finance)?|yfinance)"
)
_BESIDE_VENDOR: Final = re.compile(
    rf"(?:{_VENDOR}[ _-]+(?P<after>\S+)|(?P<before>\S+?)[ _-]+{_VENDOR})", re.ASCII | re.IGNORECASE
)
"""A name of a file with that of its vendor: yahoo_MSFT, IBM_stooq."""


def exchange_of_index(code: str, name: str) -> str:
    """The exchange whose index a code of six digits is by its name, SH or SZ; empty if it is none.

    000300 is an index of Shanghai as 沪深300, and a share of Shenzhen by any other name.
    """
    if code.startswith("399"):
        return "SZ"
    return "SH" if code.startswith("000") and _INDEX.fullmatch(name.strip()) else ""


class Adjustment(Enum):
    """What prices are."""

    RAW = "raw"
    """As they were traded."""
    FORWARD = "forward adjusted"
    """The last ones as they were traded, all others moved at every payment (qfq)."""
    BACKWARD = "backward adjusted"
    """The first ones as they were traded, and payments added to later ones (hfq)."""


class FactorRows(Enum):
    """How rows that hold factors are meant."""

    DAILY = "daily"
    """Each is the factor of its day."""
    STEPS = "steps"
    """Each holds from its day on, until the next one."""
    MOVING_STEPS = "moving steps"
    """As steps, on a base that moves with each payment: only their changes count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How the cells of a layout are meant."""

    volume_unit: float = 1.0
    """Shares in one unit of the volume: 100 for a vendor that counts lots."""
    amount_unit: float = 1.0
    """Units of the currency in one of the amount: 1000 for a vendor that counts thousands."""
    chinese: bool = False
    """Codes are those of the mainland's exchanges, and may have lost their leading zeros."""
    lasting_factor: bool = True
    """Whether factors are on a base that lasts; false for a vendor that bases them anew with each payment or delivery,
    so that only their changes count."""
    month_first: bool | None = None
    """Whether 03/04/2024 is in March; None to decide it by all the dates of a file."""

    def symbol(self, value: object) -> str:
        """The canonical symbol that a vendor's cell stands for."""
        # Blanks from columns of one width, and the sign by which spreadsheets are told that digits are text.
        text = _QUOTED.sub("", str(value).strip())
        if (number := _FLOAT.fullmatch(text)) and (self.chinese or len(number[1]) == 6):
            text = number[1]
        # What begins with a zero has lost none: it is a code of five digits, of Hong Kong.
        if self.chinese and text.startswith("0") and len(text) < 6 and _DIGITS.fullmatch(text):
            return ""
        return canonical_symbol(text, lost_zeros=self.chinese)

    def symbol_of_name(self, stem: str) -> str:
        """The canonical symbol that the name of a file, without its ending, stands for; empty if it is none.

        Beside a code with its exchange there may be more in a name, and beside one without it in that of a file of
        Chinese bars: sh600519_daily, 600519 贵州茅台. What is no code there must be a whole symbol, but for the name of
        a vendor: yahoo_MSFT is MSFT, and IBM_2020 is none.
        """
        codes = _ON_EXCHANGE.findall(stem) or (_CODE.findall(stem) if self.chinese else [])
        if len(codes) == 1:
            return self.symbol(codes[0])
        if (beside := _BESIDE_VENDOR.fullmatch(stem)) and (rest := beside["after"] or beside["before"]) == rest.upper():
            # In capitals alone: yahoo_all may hold anything.
            return self.symbol_of_name(rest)
        word = not stem.isupper() and _NO_NAME.fullmatch(stem.lower())
        if word or _NO_NAME.fullmatch(stem) or (_NAME.fullmatch(stem) is None and market_of(stem) is None):
            return ""
        symbol = self.symbol(stem)
        # What has these layouts' columns and is of no exchange of the mainland is named where its rows are checked.
        return "" if self.chinese and is_symbol(symbol) and market_of(symbol) is None else symbol


PLAIN = Convention()
"""Shares, units of the currency, any symbol, and dates that say what is the month."""
