"""Checks of a checkup: each a line that is fine, worth knowing, or a problem with its remedy."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kline_core._logging import one_line
from kline_core.errors import HomeError
from kline_core.store.home import Home
from kline_core.store.schemas import TABLES

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    subject: str
    """What it is about: processor, disk, bars, ..."""
    state: State
    text: str
    """What was found, and what to do about it where something is to be done."""

    def __str__(self) -> str:
        """The check as a line of text."""
        return f"{self.state:<8} {self.subject}: {self.text}"


@dataclass(frozen=True, slots=True)
class Checkup:
    """Everything that was looked at."""

    checks: list[Check]

    @property
    def problems(self) -> list[Check]:
        """The problems alone."""
        return [check for check in self.checks if check.state == "problem"]

    @property
    def headline(self) -> str:
        """The result in one line."""
        count = {state: sum(check.state == state for check in self.checks) for state in ("ok", "note", "problem")}
        return f"{count['problem']} problems, {count['note']} notes, {count['ok']} ok"

    @property
    def failure(self) -> str | None:
        """The first problem in one line; None if there is none."""
        if not self.problems:
            return None
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"{first.subject}: {first.text}{more}"

    def text(self) -> str:
        """The checkup as text for a terminal: a line per check, and the result."""
        return "\n".join([*map(str, self.checks), self.headline])

    def to_dict(self) -> dict[str, Any]:
        """The checkup as plain JSON values."""
        return {"ok": not self.problems, "headline": self.headline, "checks": [asdict(check) for check in self.checks]}


Look = Callable[[], Iterable[Check]]
"""Looks at something, and says what it found."""


def looked_at(subject: str, look: Look, seconds: float) -> list[Check]:
    """What a look finds within some seconds; a problem in its place if it raises or does not answer.

    A look that hangs, such as at a disk of another machine, is left behind in a daemon thread.
    """
    found: list[Check] = []

    def work() -> None:
        try:
            found.extend(look())
        except Exception as error:  # noqa: BLE001  a checkup says what is wrong, whatever it is
            found.append(Check(subject, "problem", one_line(error)))

    thread = threading.Thread(target=work, name=f"look at {subject}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        # A copy, since the thread may go on after all.
        late = Check(subject, "problem", f"no answer within {seconds:g} s; see whether its disk or server hangs")
        return [*list(found), late]
    return found


def table_names(home: Home) -> list[str]:
    """Names of the tables of a home; of all that there may be, where what hinders shows when each is read."""
    try:
        return home.tables()
    except HomeError:
        return list(TABLES)
