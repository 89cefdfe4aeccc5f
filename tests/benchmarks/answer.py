"""A sample's answer in a form in which two ways can be compared, bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kline_core.factor.batch import Scored


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one sample."""

    value: float | None
    """None where there is no value."""
    status: str
    matches: tuple[tuple[str, np.datetime64, float], ...]
    """Symbol, window's end and similarity, best first."""

    @property
    def windows(self) -> tuple[tuple[str, np.datetime64], ...]:
        """The windows matched, without similarities."""
        return tuple(match[:2] for match in self.matches)


def answers(scored: Sequence[Scored]) -> dict[np.datetime64, Answer]:
    """What our own way answers to each sample date."""
    found: dict[np.datetime64, Answer] = {}
    for part in scored:
        matches: dict[np.datetime64, list[tuple[str, np.datetime64, float]]] = {}
        for row in part.matches.sort_by([("date", "ascending"), ("rank", "ascending")]).to_pylist():
            match = row["match_symbol"], np.datetime64(row["match_end"], "D"), row["similarity"]
            matches.setdefault(np.datetime64(row["date"], "D"), []).append(match)
        for row in part.factors.select(["date", "value", "status"]).to_pylist():
            date = np.datetime64(row["date"], "D")
            found[date] = Answer(row["value"], row["status"], tuple(matches.get(date, ())))
    return found
