"""Disks that are full, or take no writes: the command refuses in a sentence, and goes on once there is room."""

import contextlib
import resource
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.story import DAY, RESTATED, Outcome, Undisturbed, difference, run

PAGE = 4096
READ_ONLY = -1


def no_file_beyond(size: int) -> None:
    """Let no write of this process make a file longer than `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextlib.contextmanager
def small_disk(at: Path) -> Iterator[None]:
    """A file system in memory at a folder; needs the rights of root."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", at], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def resize(at: Path, pages: int | None) -> None:
    """Leave some free pages; None for plenty, `READ_ONLY` for none that may be written."""
    if pages == READ_ONLY:
        subprocess.run(["mount", "-o", "remount,ro", at], check=True)
        return
    size = 64 * 2**20 if pages is None else used(at) + pages * PAGE
    subprocess.run(["mount", "-o", f"remount,rw,size={size}", at], check=True)


def used(at: Path) -> int:
    found = subprocess.run(["df", "--output=used", "--block-size=1", at], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[-1])


@dataclass(frozen=True)
class FullDisk:
    """A command of a story that finds only so much room."""

    story: tuple[str, ...]
    at: int
    pages: int

    def __str__(self) -> str:
        room = "on a read-only disk" if self.pages == READ_ONLY else f"with {self.pages} free pages"
        return f"{self.story[self.at]} of {'-'.join(self.story)} {room}"


def suffer(fault: FullDisk, undisturbed: Undisturbed, scratch: Path, limit_files: bool = False) -> Outcome:
    """Run a command without enough room, then all that is left with enough; compare with an undisturbed home.

    `limit_files`: let no file grow beyond `pages` bytes, which needs no rights; otherwise `scratch` is a `small_disk`.
    """
    command = fault.story[fault.at]
    place = undisturbed.base.copy(scratch / "place")
    for before in fault.story[: fault.at]:
        assert run(before, place).code == 0
    if limit_files:
        said = run(command, place, prepare=no_file_beyond, arguments=(fault.pages,))
    else:
        resize(scratch, fault.pages)
        said = run(command, place)
        resize(scratch, None)
    assert said.code in (0, 1), (fault, said)
    if said.code:
        assert said.kind in ("HomeError", "TableChangedError"), (fault, said)
        assert "cannot" in said.message or "could not" in said.message, (fault, said)
    for after in fault.story[fault.at :]:
        again = run(after, place)
        assert again.code == 0, (fault, said, again)
    found = difference(place.home, undisturbed.tables[fault.story])
    disk = "read-only" if fault.pages == READ_ONLY else "full"
    return Outcome(f"{command} on a {disk} disk", str(fault), said.code == 1, found)


def full_disks(points: int) -> Iterator[FullDisk]:
    """Faults of every command of both stories, from no room at all to nearly enough."""
    steps = [READ_ONLY, 0, 1, 2, 3, 4, 6, 8, 11, 14, 18, 24, 32]
    for number in range(points):
        story = (DAY, RESTATED)[number % 2]
        at = number // 2 % len(story)
        yield FullDisk(story, at, steps[number // (2 * len(story)) % len(steps)])
