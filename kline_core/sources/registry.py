"""All live sources by name, and what is asked of them: `akshare:csi300`, `baostock:600519,000001`, `tushare:all`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kline_core.errors import InputError, SettingError
from kline_core.sources.akshare import AkShare
from kline_core.sources.baostock import BaoStock
from kline_core.sources.source import Source
from kline_core.sources.tushare import Tushare
from kline_core.sources.yfinance import YFinance
from kline_core.symbols import canonical_symbol, check_symbol, market_of

SOURCES: Final[dict[str, Callable[[], Source]]] = {
    "akshare": AkShare,
    "baostock": BaoStock,
    "tushare": Tushare,
    "yfinance": YFinance,
}
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Universe:
    """What is asked of a source."""

    text: str
    """As it was typed."""
    source: str
    name: str | None
    """An index that the source knows, or `all`; None for symbols that are named."""
    symbols: tuple[str, ...]
    """The named ones, canonical; empty for an index and for all."""


def is_live(text: str) -> bool:
    """Whether a text names a live source and no folder: `akshare`, `akshare:csi300`. A folder akshare is ./akshare."""
    return text.partition(":")[0].strip().lower() in SOURCES


def parse_universe(text: str) -> Universe:
    """What a text asks for.

    Raises:
        SettingError: It names no source, or what this source does not tell.
        InputError: What should be a symbol is none, or is of another market than the source.
    """
    name, _, rest = text.strip().partition(":")
    name, rest = name.strip().lower(), rest.strip()
    if name not in SOURCES:
        raise SettingError(
            f"source is {text!r}; it must be one of {', '.join(SOURCES)}, with what is asked for behind a colon, such "
            "as akshare:csi300",
            parameter="source",
            value=text,
        )
    source = SOURCES[name]()
    known = [*source.indices, *([ALL] if source.has_all else [])]
    word = rest.lower() or ALL
    if word in known:
        return Universe(text, name, word, ())
    if word == ALL or word in _every_index():
        offers = f"{', '.join(known)}, or symbols" if known else "symbols"
        raise SettingError(
            f"source is {text!r}, and {name} tells no members of {word}; name {offers}, as in "
            f"{name}:{_example(source)}",
            parameter="source",
            value=text,
        )
    return Universe(text, name, None, _symbols(text, rest, source))


def check_source(text: str) -> Universe:
    """What a text asks for, after a look whether it can be asked: the client is installed, the token is set.

    Raises as `parse_universe`, and `SourceError` where it cannot.
    """
    universe = parse_universe(text)
    SOURCES[universe.source]().check()
    return universe


def canonical(symbol: str, source: Source) -> str:
    """Canonical form of a symbol that a source, or a person who asks it, has written."""
    return canonical_symbol(symbol.strip(), lost_zeros=source.market == "CN")


def _symbols(text: str, rest: str, source: Source) -> tuple[str, ...]:
    typed = [part.strip() for part in rest.split(",") if part.strip()]
    found = []
    for part in typed:
        symbol = check_symbol(canonical(part, source), f"source {source.name}: {part}")
        if source.market is not None and market_of(symbol) != source.market:
            raise InputError(
                f"source is {text!r}, and {part} is no share of {source.market}, which is all that {source.name} has; "
                f"name an index that it knows ({', '.join(source.indices)}) or codes such as {_example(source)}",
                source=source.name,
                value=part,
            )
        found.append(symbol)
    if not found:
        raise SettingError(
            f"source is {text!r}; name at least one symbol, such as {_example(source)}", parameter="source", value=text
        )
    return tuple(dict.fromkeys(found))


def _example(source: Source) -> str:
    return "600519,000001" if source.market == "CN" else "AAPL,MSFT"


def _every_index() -> set[str]:
    return {index for make in SOURCES.values() for index in make().indices}
