"""Symbols: the texts that are one, their canonical form, and the market that they belong to.

The canonical form is what a home stores: mainland codes with their exchange (600519.SH), US tickers bare (AAPL, BRK.B),
all others with the suffix that Yahoo gives them (0700.HK, 7203.T, M&M.NS).
"""

import re
from functools import lru_cache
from typing import Final

from kline_core._text import quoted
from kline_core.errors import InputError
from kline_core.markets import MARKETS

SYMBOL_RULE: Final = (
    "1-32 ASCII letters, digits or ._^=-&/ that begin with a letter or a digit, perhaps after one ^, without '..', "
    "and with & and / between letters or digits only"
)
"""What a symbol is, as messages state it."""

_SYMBOL = re.compile(r"\^?[A-Z0-9](?:[A-Z0-9._^=-]|(?<=[A-Z0-9])[&/](?=[A-Z0-9]))*", re.ASCII | re.IGNORECASE)
_LONGEST = 32
_AS_THEY_ARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

NUMBER_PREFIXES: Final = {
    "SH": ("60", "688", "689", "900", "5"),
    "SZ": ("000", "001", "002", "003", "004", "30", "200", "201", "15", "16", "18"),
    "BJ": ("43", "83", "87", "88", "92"),
}
"""First digits of six-digit codes, by exchange, as the exchanges assign them to shares and funds.

Shanghai: 60 main board, 688 and 689 STAR market, 900 B shares, 5 funds. Shenzhen: 000 to 004 main board, 30 ChiNext,
200 and 201 B shares, 15, 16 and 18 funds. Beijing: 43, 83, 87 and 88 for companies that came from the NEEQ, 92 for all
listed since 2024. Bonds and indices share digits with them across exchanges: 000001 is a share in Shenzhen and the
composite index in Shanghai.
"""

_EXCHANGES = {
    **dict.fromkeys(("SH", "SS", "XSHG", "SSE", "SHSE"), "SH"),
    **dict.fromkeys(("SZ", "XSHE", "SZSE"), "SZ"),
    **dict.fromkeys(("BJ", "BJSE"), "BJ"),
    **dict.fromkeys(("HK", "XHKG", "HKEX", "SEHK"), "HK"),
    **dict.fromkeys(("US", "NYSE", "NASDAQ", "AMEX"), "US"),
}
"""The canonical suffix, or US, by what vendors call an exchange."""
_DIGITS_OF = {**dict.fromkeys(NUMBER_PREFIXES, "six digits"), "HK": "up to five digits"}
_MARKET_OF_SUFFIX = {suffix: market.name for market in MARKETS.values() for suffix in market.suffixes}

# sh600519, sh.600519, SH#601006, HK00700; 600519.XSHG, 700.HK.
_NUMBERED = re.compile(
    r"(?P<before>[A-Z]{2,4})(?:[.#](?P<apart>[0-9]{1,6})|(?P<close>[0-9]{4,6}))|(?P<first>[0-9]{1,6})\.(?P<after>[A-Z]{2,4})",
    re.ASCII | re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
# A ticker beside US, in capitals: AAPL, BRK.B, BRK-B, BAC_A.
_WITH_US = re.compile(r"[A-Z][A-Z0-9]*(?:[._/-][A-Z0-9]+)*", re.ASCII)
# A class of one letter after a dot, of one or two after others: BRK.B, BF-B, BAC-PL, RDS/A. BTC-USD is no share.
_US_SHARE = re.compile(r"[A-Z]{1,5}(?:\.[A-Z]|[/-][A-Z]{1,2})?", re.ASCII | re.IGNORECASE)


def is_symbol(value: object) -> bool:
    """Whether a value is text that may serve as a symbol; see `SYMBOL_RULE`.

    Such a text is safe in a query. It is no file name as it stands: see `symbol_file_name`.
    """
    return (
        isinstance(value, str) and len(value) <= _LONGEST and _SYMBOL.fullmatch(value) is not None and ".." not in value
    )


def check_symbol(symbol: object, name: str = "symbol") -> str:
    """The symbol itself, if it is one. Raises `InputError` if it is not."""
    if isinstance(symbol, str) and is_symbol(symbol):
        return symbol
    raise InputError(
        f"{name} is {symbol!r}; a symbol is {SYMBOL_RULE}, for instance 600519.SH", column=name, value=symbol
    )


def symbol_file_name(symbol: str) -> str:
    """Name of a file or folder for a symbol: other characters than capitals, digits and ``._-`` as ``%`` and hex.

    Different symbols have different names, also where letter case is ignored; `urllib.parse.unquote` gives the symbol
    back. Raises `InputError` if it is no symbol.

        >>> symbol_file_name("600519.SH"), symbol_file_name("RDS/A"), symbol_file_name("NaN")
        ('600519.SH', 'RDS%2FA', 'N%61N')
    """
    return "".join(letter if letter in _AS_THEY_ARE else f"%{ord(letter):02X}" for letter in check_symbol(symbol))


def canonical_symbol(text: str, exchange: str | None = None, *, lost_zeros: bool = False) -> str:
    """Canonical form of a symbol as vendors and people write it; text of no known form is returned as it is.

    1. A number with its exchange, before or after it and in any letter case: ``sh600519``, ``SH.600519``,
       ``SH#600519``, ``600519.XSHG``, ``600519.SS`` become ``600519.SH``; ``HK.00700``, ``HK00700``, ``00700.HK``
       become ``0700.HK``.
    2. A ticker beside US: ``ibm.us``, ``US.IBM`` become ``IBM``.
    3. Six digits alone: the exchange follows from `NUMBER_PREFIXES`, if one of them fits.

    The canonical form of a canonical form is itself. What is returned need not be a symbol: see `is_symbol`.

    Args:
        text: The symbol as written, without surrounding blanks.
        exchange: The exchange, where it is known from elsewhere: SH, XSHE, NASDAQ, or a suffix of Yahoo such as T. The
            result then is a symbol of this exchange.
        lost_zeros: Whether fewer than six digits are a mainland code that lost its leading zeros: 1 is ``000001.SZ``.
            Only for sources that hold nothing but such codes.

    Raises:
        InputError: The exchange is unknown, the text names another one, or the exchange has no such codes.

    Examples:
        >>> [canonical_symbol(text) for text in ("sh600519", "000001", "HK.00700", "brk-b.us", "7203.T")]
        ['600519.SH', '000001.SZ', '0700.HK', 'BRK-B', '7203.T']
        >>> canonical_symbol("000001", "XSHG"), canonical_symbol("1", lost_zeros=True)
        ('000001.SH', '000001.SZ')
    """
    if exchange is not None:
        return _on_exchange(text, exchange, lost_zeros)
    code, place = _parts(text, lost_zeros)
    if place is None and _DIGITS.fullmatch(code):
        number = _number(code, "SH", lost_zeros)
        place = next((name for name, firsts in NUMBER_PREFIXES.items() if number and number.startswith(firsts)), None)
        code = number if number and place else code
    return _joined(code, place)


def code_of(symbol: str) -> str | None:
    """Digits by which an exchange knows a symbol, however it is written; None if its code has letters.

    Codes of Hong Kong have five digits, as the exchange writes them.

        >>> code_of("sh600519"), code_of("0700.HK"), code_of("7203.T"), code_of("AAPL")
        ('600519', '00700', '7203', None)
    """
    code, place = _parts(canonical_symbol(symbol))
    if not _DIGITS.fullmatch(code):
        return None
    return code.zfill(5) if place == "HK" else code


@lru_cache(maxsize=2**17)
def market_of(symbol: str) -> str | None:
    """Name in `MARKETS` of the market whose share or fund a symbol is; None if that is not to be seen from it.

    Bare tickers of up to five letters count as US, with their class (BRK.B, BF-B, RDS/A). None for indices (^GSPC),
    currencies and futures (EURUSD=X, ES=F), and suffixes that no market has.
    """
    canonical = canonical_symbol(symbol)
    code, place = _parts(canonical)
    if not is_symbol(canonical) or code.startswith("^") or "=" in code:
        return None
    if place is not None:
        return _MARKET_OF_SUFFIX[place]
    return "US" if _US_SHARE.fullmatch(code) else None


def _parts(text: str, lost_zeros: bool = False) -> tuple[str, str | None]:
    """Code of a text, in the form that its exchange has it, and the exchange: a suffix or US, None if none is named."""
    capitals = text.upper()
    ticker = capitals.removeprefix("US.") if capitals.startswith("US.") else capitals.removesuffix(".US")
    # Letters that are ASCII as capitals only, such as a long s, are none of a ticker.
    if ticker == capitals or not text.isascii() or not _WITH_US.fullmatch(ticker):
        return _outside_us(text, lost_zeros)
    # Not what names an exchange twice, such as US.600519.SH.
    twice = ticker.startswith("US.") or ticker.endswith(".US") or _outside_us(ticker, False)[1]
    return (text, None) if twice else (ticker, "US")


def _outside_us(text: str, lost_zeros: bool) -> tuple[str, str | None]:
    """`_parts` of what names no exchange of the US."""
    if found := _NUMBERED.fullmatch(text):
        exchange = _EXCHANGES.get((found["before"] or found["after"]).upper())
        number = _number(found["apart"] or found["close"] or found["first"], exchange, lost_zeros)
        if number is not None:
            return number, exchange
    code, _, suffix = text.rpartition(".")
    return (code, suffix) if code and suffix in _MARKET_OF_SUFFIX else (text, None)


def _number(digits: str, exchange: str | None, lost_zeros: bool) -> str | None:
    """Code of an exchange with these digits; None if the exchange has no such codes."""
    if exchange == "HK":
        return digits.lstrip("0").zfill(4) if len(digits) <= 5 else None
    if exchange not in NUMBER_PREFIXES:
        return None
    code = digits.zfill(6) if lost_zeros else digits
    return code if len(code) == 6 else None


def _on_exchange(text: str, exchange: str, lost_zeros: bool) -> str:
    """`canonical_symbol` of a text whose exchange is given."""
    name = exchange.strip().upper()
    asked = _EXCHANGES.get(name, name)
    if asked != "US" and asked not in _MARKET_OF_SUFFIX:
        known = ", ".join([*_EXCHANGES, *sorted(_MARKET_OF_SUFFIX.keys() - _EXCHANGES.keys())])
        raise InputError(
            f"exchange is {quoted(exchange)}; it must be one of {known}", column="exchange", value=exchange
        )
    code, place = _parts(text, lost_zeros)
    if place not in (None, asked):
        raise InputError(
            f"{quoted(text)} names the exchange {place}, not {asked}; correct the one or the other",
            column="symbol",
            value=text,
        )
    number: str | None = code
    if place is None and asked in _DIGITS_OF:
        number = _number(code, asked, lost_zeros) if _DIGITS.fullmatch(code) else None
    symbol = _joined(number or "", asked)
    if not number or canonical_symbol(symbol) != symbol:
        which = f", whose codes have {_DIGITS_OF[asked]}" if asked in _DIGITS_OF else ""
        raise InputError(
            f"{quoted(text)} is no code of the exchange {asked}{which}; correct it",
            column="symbol",
            value=text,
        )
    return symbol


def _joined(code: str, place: str | None) -> str:
    return code if place in (None, "US") else f"{code}.{place}"
