"""A worker or the scheduler of a standing cluster that is killed during a run."""

import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from tests.faults.story import DAY, RESTATED, Outcome, Undisturbed, difference, run
from tests.support.processes import scheduler_process, workers_of

WORKER, SCHEDULER = "worker", "scheduler"


@dataclass(frozen=True)
class Death:
    """Which part of the cluster dies, and after what share of the seconds that a run on it takes."""

    story: tuple[str, ...]
    part: str
    share: float

    def __str__(self) -> str:
        return f"{self.part} killed after {self.share:.2f} of the run of {'-'.join(self.story)}"


def suffer(death: Death, undisturbed: Undisturbed, scratch: Path) -> Outcome:
    """Kill a part of the cluster during a run, run again without the cluster, and compare with an undisturbed home."""
    place = undisturbed.base.copy(scratch)
    for command in death.story[:2]:
        assert run(command, place).code == 0
    at_work = threading.Event()
    with scheduler_process(scratch, workers=2, threads=1) as (address, scheduler):
        victim = workers_of(scheduler.pid)[0] if death.part == WORKER else psutil.Process(scheduler.pid)

        def kill() -> None:
            at_work.set()
            victim.kill()

        timer = threading.Timer(death.share * 2 * undisturbed.seconds[death.story, "run"], kill)
        timer.start()
        said = run("run", dataclasses.replace(place, scheduler=address))
        timer.cancel()
    assert said.code in (0, 1), (death, said)
    for command in death.story[2:]:
        again = run(command, place)
        assert again.code == 0, (death, said, again)
    found = difference(place.home, undisturbed.tables[death.story])
    return Outcome(f"{death.part} of a cluster killed", str(death), at_work.is_set(), found)


def deaths(count: int, seed: int) -> Iterator[Death]:
    """Deaths at random moments."""
    random = Random(seed)
    for number in range(count):
        yield Death((DAY, RESTATED)[number % 2], (WORKER, SCHEDULER)[number // 2 % 2], random.random())
