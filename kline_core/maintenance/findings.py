"""Findings of a verification, by table and kind of damage."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from kline_core.typing import Flags

State: TypeAlias = Literal["damaged", "cut off", "pending"]
DAMAGED: Final[State] = "damaged"
"""Something stored is not what was written, or is lost."""
CUT_OFF: Final[State] = "cut off"
"""A command was stopped half way; the same command goes on from there."""
PENDING: Final[State] = "pending"
"""Work waits for its turn: bars have come that patterns were not made of yet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of rows of one table that are damaged, cut off or pending."""

    table: str
    kind: str
    """What is wrong with the rows, such as "stored more than once"."""
    count: int
    """Number of such rows."""
    example: str
    """Name of one of them."""
    remedy: str
    state: State = DAMAGED

    def __str__(self) -> str:
        """The finding in one line."""
        return f"{self.state}: {self.table}: {self.count} {self.kind}, such as {self.example}; {self.remedy}"


class Ledger:
    """Collects findings, and notes on what could not be checked."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []

    def add(
        self, table: str, kind: str, bad: Flags, name: Callable[[int], str], remedy: str, state: State = DAMAGED
    ) -> None:
        """Record the rows for which `bad`, bool (n,), is true, if any; `name` names a row by its position."""
        if bad.any():
            self.findings.append(Finding(table, kind, int(bad.sum()), name(int(bad.argmax())), remedy, state))
