"""Symbols: the texts that are safe in a path and in a query."""

import re

from kline_core.errors import InputError

_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._^=-]{0,31}", re.ASCII)


def is_symbol(value: object) -> bool:
    """Whether a value is text that may serve as a symbol: 1-32 letters, digits or ``._^=-``, without ``..``."""
    return isinstance(value, str) and _SYMBOL.fullmatch(value) is not None and ".." not in value


def check_symbol(symbol: object, name: str = "symbol") -> str:
    """The symbol itself, if it is safe to use in a path and in a query. Raises `InputError` if it is not."""
    if isinstance(symbol, str) and is_symbol(symbol):
        return symbol
    raise InputError(
        f"{name} is {symbol!r}; a symbol is 1-32 letters, digits or ._^=- without '..', for instance 600519.SH",
        column=name,
        value=symbol,
    )
