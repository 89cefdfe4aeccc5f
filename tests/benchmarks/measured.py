"""What one way took in one round, and what many rounds say together."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one way, in seconds for as many samples as the question has."""

    seconds: float
    done: int
    """Samples that were computed; `seconds` and `stages` are scaled up from these."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage, added up over threads."""
    peak_mib: float | None = None
    """Peak memory of the process, where that is its own."""

    @classmethod
    def scaled(cls, seconds: float, stages: dict[str, float], done: int, asked: int) -> Self:
        """What `done` samples took, as if all `asked` had been computed at the same pace."""
        times = asked / done
        return cls(seconds * times, done, {name: each * times for name, each in stages.items()})


def added(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Seconds by stage, added up over parts of the work."""
    return {name: sum(part[name] for part in parts) for name in parts[0]}


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of one figure over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.least:.3g} to {self.most:.3g}"


def middle_round(rounds: Sequence[Measured]) -> Measured:
    """The round of the median, so that its stages add up to its seconds; of two middle ones the faster."""
    return sorted(rounds, key=lambda each: each.seconds)[(len(rounds) - 1) // 2]


def ratio(slow: Sequence[Measured], fast: Sequence[Measured]) -> float:
    """How many times as long the one way takes as the other, by their medians."""
    return Spread.of([each.seconds for each in slow]).median / Spread.of([each.seconds for each in fast]).median
