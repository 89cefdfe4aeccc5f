"""What a check of the tables finds, kind by kind."""

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
    """Rows concerned."""
    example: str
    """One of them."""
    remedy: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.table}: {self.count} {self.kind}, such as {self.example}; {self.remedy}"


class Ledger:
    """Collects what is found, and what could not be checked."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def add(self, table: str, kind: str, bad: Flags, name: Callable[[int], str], remedy: str) -> None:
        """Write down rows where `bad` (n,) is true, if there are any; `name` says what a row is, by its position."""
        if bad.any():
            self.findings.append(Finding(table, kind, int(bad.sum()), name(int(bad.argmax())), remedy))
