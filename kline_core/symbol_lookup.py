"""Symbols as people type them, looked up among those that a home holds."""

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence, Set
from functools import cached_property

from kline_core._text import abbreviated, quoted
from kline_core.errors import InputError
from kline_core.symbols import canonical_symbol, code_of

_FEW = 5
_MOST = 100_000


class AmbiguousSymbolError(InputError):
    """What was typed may mean several symbols."""

    candidates: list[str] | None = None
    """Those that it may mean, sorted."""


def resolve_symbols(typed: Sequence[str], known: Collection[str]) -> list[str]:
    """The known symbol that each typed text means, in the same order; its canonical form if there is none.

    1. A known symbol means itself, whether canonical or not.
    2. Digits alone mean the symbols with this code; leading zeros may be missing: 1 is ``000001.SZ``, 700 ``0700.HK``.
    3. Any other text means the known symbol with the same canonical form: ``sh600519`` is ``600519.SH``.

    Raises `AmbiguousSymbolError` for the first text that means several known symbols.

        >>> resolve_symbols(["sh600519", "AAPL", "1"], {"600519.SH", "000001.SZ", "AAPL"})
        ['600519.SH', 'AAPL', '000001.SZ']
    """
    names = _Known(known if isinstance(known, set | frozenset) else set(known))
    return [names.meant_by(text) for text in typed]


def did_you_mean(unknown: Iterable[str], known: Collection[str]) -> str:
    """The known symbols nearest to the first few unknown ones, as a question in brackets; empty if none is near."""
    if len(known) > _MOST:
        # A comparison with each of a million takes seconds.
        return ""
    by_lower: dict[str, list[str]] = defaultdict(list)
    for symbol in sorted(known):
        by_lower[symbol.lower()].append(symbol)
    near = [
        symbol
        for text in list(unknown)[:_FEW]
        for lower in difflib.get_close_matches(text.lower(), by_lower, n=3, cutoff=0.7)
        for symbol in by_lower[lower]
    ]
    return f" (did you mean {abbreviated(list(dict.fromkeys(near)), _FEW)}?)" if near else ""


class _Known:
    """Known symbols, in the orders in which they are looked up."""

    def __init__(self, symbols: Set[str]) -> None:
        self._symbols = symbols

    def meant_by(self, text: str) -> str:
        """The symbol that a text means; see `resolve_symbols`."""
        if text in self._symbols:
            return text
        canonical = canonical_symbol(text)
        if text.isascii() and text.isdigit():
            coded = self._by_code.get(text.lstrip("0"), [])
            meant = [symbol for code, symbol in coded if len(text) <= len(code)]
        elif canonical in self._symbols:
            return canonical
        else:
            meant = self._by_form.get(canonical, [])
        if len(meant) > 1:
            raise AmbiguousSymbolError(
                f"{quoted(text)} is ambiguous: {abbreviated(meant)}; name one of them",
                column="symbol",
                value=text,
                candidates=meant,
            )
        return meant[0] if meant else canonical

    @cached_property
    def _by_form(self) -> dict[str, list[str]]:
        """Symbols by their canonical form."""
        found: dict[str, list[str]] = defaultdict(list)
        for symbol in sorted(self._symbols):
            found[canonical_symbol(symbol)].append(symbol)
        return found

    @cached_property
    def _by_code(self) -> dict[str, list[tuple[str, str]]]:
        """Codes with their symbols, by the code without leading zeros."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for symbol in sorted(self._symbols):
            if code := code_of(symbol):
                found[code.lstrip("0")].append((code, symbol))
        return found
