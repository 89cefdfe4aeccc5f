"""Clocks that jump between the commands of a day, and within them: names, records and ages come from the clock."""

import datetime as datetime_module
import sys
import time as time_module
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.story import DAY, RESTATED, Outcome, Undisturbed, difference, run

LOOKS = 200
"""Looks at the clock, of which a command takes hundreds, before it jumps once more."""


def jump(days: float, within: float) -> None:
    """Have the clock of this process be so many days off, and jump by so many more while the process works."""
    real, looks = datetime_module.datetime, [0]

    def off() -> datetime_module.timedelta:
        looks[0] += 1
        return datetime_module.timedelta(days + within * (looks[0] > LOOKS))

    class Jumping(real):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: datetime_module.tzinfo | None = None) -> Any:
            return real.now(tz) + off()

    clock = time_module.time

    def time() -> float:
        return clock() + off().total_seconds()

    # Wherever somebody has taken hold of it: two clocks that differ are another fault.
    time_module.time = time
    for name, module in list(sys.modules.items()):
        if vars(module).get("time") is clock:
            module.time = time  # type: ignore[attr-defined]
        if name.startswith("kline_core") and vars(module).get("datetime") is real:
            module.datetime = Jumping  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Jumps:
    """How many days off the clock is at each command of a story, and how many more it jumps while each works."""

    story: tuple[str, ...]
    days: tuple[float, ...]
    within: float

    def __str__(self) -> str:
        return f"{'-'.join(self.story)} with clocks off by {self.days} days, and {self.within} more while they work"


def suffer(fault: Jumps, undisturbed: Undisturbed, scratch: Path) -> Outcome:
    """A story whose clock jumps, compared with an undisturbed one; what was refused is done again at the true time."""
    place = undisturbed.base.copy(scratch)
    for command, days in zip(fault.story, fault.days, strict=True):
        said = run(command, place, prepare=jump, arguments=(days, fault.within))
        if said.code:
            # Set back, so that Dask would hold back its messages for as long.
            assert said.kind in ("SchedulerError", "RunFailedError"), (fault, said)
            assert "was set back by" in said.message, (fault, said)
            said = run(command, place)
        assert said.code == 0, (fault, said)
    return Outcome("clock jumps", str(fault), True, difference(place.home, undisturbed.tables[fault.story]))


def clock_jumps(count: int, seed: int) -> Iterator[Jumps]:
    """Jumps of hours to years, back and forth."""
    random = Random(seed)
    for number in range(count):
        story = (DAY, RESTATED)[number % 2]
        days = tuple(round(random.choice((-1, 1)) * 10 ** random.uniform(-1, 3), 2) for _ in story)
        yield Jumps(story, days, random.choice((0.0, 0.04, -0.04, 30.0, -30.0)))
