"""Kills: at random moments, and before, within and after every commit, followed by the same or by another command."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.story import DAY, RESTATED, Outcome, Undisturbed, difference, run

BEFORE, WITHIN, AFTER = "before", "within", "after"


def die_at(number: int, when: str) -> None:
    """Have this process kill itself before, within or after its commit of a number, counted from 0.

    Within: the data files are written, and the commit itself is not.
    """
    from kline_core.store.writing import TableWriter

    write, seen = TableWriter.commit, [0]

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(self: Any, *arguments: Any, **options: Any) -> Any:
        here = seen[0] == number
        seen[0] += 1
        if here and when == BEFORE:
            die()
        if here and when == WITHIN:
            folder = Path(self.table.path)
            (folder / "part-00000-cut-off.parquet").write_bytes(b"PAR1 and nothing more")
            (folder / "_delta_log" / "_commit_cut_off.json.tmp").write_bytes(b'{"commitInfo":')
            die()
        result = write(self, *arguments, **options)
        if here and when == AFTER:
            die()
        return result

    TableWriter.commit = dying  # type: ignore[method-assign]


@dataclass(frozen=True)
class Kill:
    """A command of a story that is killed, after some seconds or at a commit, and what follows."""

    story: tuple[str, ...]
    at: int
    """Position of the command in the story."""
    seconds: float | None = None
    commit: int = 0
    when: str = BEFORE
    then: str = "same"
    """The same command again, or the next one of the story."""

    @property
    def command(self) -> str:
        return self.story[self.at]

    def __str__(self) -> str:
        moment = f"{self.when} commit {self.commit}" if self.seconds is None else f"after {self.seconds:.3f} s"
        return f"{self.command} of {'-'.join(self.story)} killed {moment}, then {self.then}"


def suffer(kill: Kill, undisturbed: Undisturbed, scratch: Path) -> Outcome:
    """Kill a command, go on, and compare with an undisturbed home."""
    place = undisturbed.base.copy(scratch)
    for command in kill.story[: kill.at]:
        assert run(command, place).code == 0
    if kill.seconds is None:
        said = run(kill.command, place, prepare=die_at, arguments=(kill.commit, kill.when))
    else:
        said = run(kill.command, place, kill_after=kill.seconds)
    killed = said.code == -signal.SIGKILL
    refusals = [said] if said.code > 0 else []
    rest = kill.story[kill.at + (kill.then == "next") :]
    refusals += [said for said in (run(command, place) for command in rest) if said.code]
    if kill.then == "next" or refusals:
        # The whole day again: what was refused names a command of it.
        after = [run(command, place) for command in kill.story]
        assert all(said.code == 0 for said in after), (kill, refusals, after)
    return Outcome(f"{kill.command} killed", str(kill), killed, difference(place.home, undisturbed.tables[kill.story]))


def random_kills(undisturbed: Undisturbed, count: int, seed: int, first: bool = False) -> Iterator[Kill]:
    """Kills at random moments of random commands, or of the `first` of a story alone."""
    random = Random(seed)
    stories = list(dict.fromkeys(story for story, _ in undisturbed.seconds))
    for _ in range(count):
        story = random.choice(stories)
        at = 0 if first else random.randrange(len(story))
        seconds = random.uniform(0, undisturbed.seconds[story, story[at]])
        yield Kill(story, at, seconds=seconds, then=random.choice(("same", "next")))


def commit_kills(stories: Sequence[tuple[str, ...]] = (DAY, RESTATED), most: int = 4) -> Iterator[Kill]:
    """Kills at every commit of every command of some stories."""
    for story in stories:
        for at in range(len(story)):
            for commit in range(most):
                for when in (BEFORE, WITHIN, AFTER):
                    for then in ("same", "next"):
                        yield Kill(story, at, commit=commit, when=when, then=then)
