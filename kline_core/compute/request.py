"""What is asked of a run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from kline_core._text import quoted
from kline_core.dates import as_days
from kline_core.errors import SettingError, UnknownSymbolError
from kline_core.store.home import Home
from kline_core.symbol_lookup import did_you_mean, resolve_symbols
from kline_core.typing import Dates

MAX_SAMPLES = 1_000_000
"""Sample dates per symbol, at most; a symbol has some hundred a year."""


@dataclass(frozen=True, slots=True)
class Request:
    """Parameters of a run.

    Raises `SettingError` if one is out of bounds, and `DateError` if dates are not datetime64[D].
    """

    symbols: Sequence[str] | None = None
    """None: every symbol with bars."""
    samples: int = 600
    as_of: np.datetime64 | None = None
    """Newest date that may be a sample."""
    dates: Mapping[str, Dates] | None = None
    """Sample dates by symbol, datetime64[D], instead of `samples` and `as_of`."""
    max_failed_share: float = 0.2

    def __post_init__(self) -> None:
        whole = isinstance(self.samples, int | np.integer) and not isinstance(self.samples, bool)
        if not whole or not 1 <= self.samples <= MAX_SAMPLES:
            most = f"and at most {MAX_SAMPLES}" if whole and self.samples > MAX_SAMPLES else ""
            bound = f"at least 1 {most}".strip() if whole else "a whole number, at least 1"
            raise SettingError(
                f"samples is {quoted(self.samples)}; it must be {bound}",
                parameter="samples",
                value=self.samples,
                bound=bound,
            )
        number = isinstance(self.max_failed_share, int | float) and not isinstance(self.max_failed_share, bool)
        if not number or not 0 <= self.max_failed_share <= 1:
            raise SettingError(
                f"max_failed_share is {quoted(self.max_failed_share)}; it must be between 0 and 1",
                parameter="max_failed_share",
                value=self.max_failed_share,
                bound="between 0 and 1",
            )
        for symbol, dates in (self.dates or {}).items():
            as_days(dates, f"dates of {symbol}")

    def resolved(self, home: Home, known: Collection[str] | None = None) -> Self:
        """The same request by the symbols that the home knows, among `known`: raises as `known_symbols`.

        Dates of several names of one symbol are asked for together.
        """
        if self.dates is not None:
            names, found = known_symbols(home, list(self.dates), known), dict[str, Dates]()
            for symbol, days in zip(names, self.dates.values(), strict=True):
                found[symbol] = np.union1d(found[symbol], days) if symbol in found else days
            return replace(self, dates=found)
        if self.symbols is not None:
            return replace(self, symbols=known_symbols(home, self.symbols, known))
        return self


def known_symbols(home: Home, asked: Sequence[str], known: Collection[str] | None = None) -> list[str]:
    """The symbols with bars that are asked for, as the home knows them: `resolve_symbols`.

    `known`: the symbols with bars; None to read them. Raises `AmbiguousSymbolError` if one may mean several of them,
    and `UnknownSymbolError` if one means none.
    """
    if known is None:
        known = home.symbols()
    known = set(known)
    meant = resolve_symbols(asked, known)
    unknown = sorted(set(meant) - known)
    if unknown:
        named = ", ".join(map(repr, unknown[:5])) + (" ..." if len(unknown) > 5 else "")
        what, fix = (f"symbol {named} has", "it or check the name")
        if len(unknown) > 1:
            what, fix = (f"symbols {named} have", "them or check the names")
        raise UnknownSymbolError(
            f"{what} no bars in {home.uri}, which holds {len(known)} symbols; ingest {fix}"
            f"{did_you_mean(unknown, known)}",
            symbols=unknown,
            home=home.uri,
        )
    return meant
