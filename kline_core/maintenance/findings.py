"""Findings of a verification, by table and kind of damage."""

from collections.abc import Callable
from dataclasses import dataclass

from kline_core.typing import Flags


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of damage in one table."""

    table: str
    kind: str
    """What is wrong with the rows, such as "stored more than once"."""
    count: int
    """Number of damaged rows."""
    example: str
    """Name of one of them."""
    remedy: str

    def __str__(self) -> str:
        """The finding in one line."""
        return f"{self.table}: {self.count} {self.kind}, such as {self.example}; {self.remedy}"


class Ledger:
    """Collects findings, and notes on what could not be checked."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def add(self, table: str, kind: str, bad: Flags, name: Callable[[int], str], remedy: str) -> None:
        """Record the rows for which `bad`, bool (n,), is true, if any; `name` names a row by its position."""
        if bad.any():
            self.findings.append(Finding(table, kind, int(bad.sum()), name(int(bad.argmax())), remedy))
