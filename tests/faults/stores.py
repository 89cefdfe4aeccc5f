"""An object store that closes connections, is busy or slow: the day is done all the same, or refused and done later."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.story import DAY, RESTATED, Outcome, Undisturbed, difference, run
from tests.support.object_store import ObjectStore

URL = "s3://bucket/home"


@dataclass(frozen=True)
class Flaky:
    """A fault of the store during one command of a story."""

    story: tuple[str, ...]
    at: int
    fault: str
    value: int

    def __str__(self) -> str:
        return f"{self.story[self.at]} of {'-'.join(self.story)} on a store with {self.fault} {self.value}"


def suffer(fault: Flaky, undisturbed: Undisturbed, scratch: Path, store: ObjectStore) -> Outcome:
    """Run a story whose command meets the fault, and the rest of it without; compare with an undisturbed home."""
    place = dataclasses.replace(undisturbed.base.copy(scratch), url=URL)
    store.clear()
    for file in (scratch / "home").rglob("*"):
        if file.is_file():
            store.put(f"bucket/home/{file.relative_to(scratch / 'home')}", file.read_bytes())
    for before in fault.story[: fault.at]:
        assert run(before, place).code == 0
    store.fault(fault.fault, fault.value)
    said = run(fault.story[fault.at], place)
    store.fault(fault.fault, 0)
    assert said.code in (0, 1), (fault, said)
    for after in fault.story[fault.at if said.code else fault.at + 1 :]:
        again = run(after, place)
        assert again.code == 0, (fault, said, again)
    found = difference(URL, undisturbed.tables[fault.story])
    return Outcome(f"object store: {fault.fault}", str(fault), True, found)


def flaky_stores(count: int, seed: int) -> Iterator[Flaky]:
    """Faults of every kind during every command."""
    random = Random(seed)
    kinds = {"refused": (1, 40), "every": (2, 9), "busy": (1, 40), "delay": (20, 200)}
    for number in range(count):
        story = (DAY, RESTATED)[number % 2]
        fault = list(kinds)[number // 2 % len(kinds)]
        yield Flaky(story, random.randrange(len(story)), fault, random.randint(*kinds[fault]))
