"""Damage to the files of a home: it is told or does no harm, and the remedy that is named heals it.

After the damage the next day's commands run as if nothing had happened. Each may refuse. What must never be: commands
that end well, `verify` that finds no damage, and tables that are not those of an undisturbed home.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.faults.story import DAY, Difference, Outcome, Place, Undisturbed, difference, run

TABLES = ("bars", "patterns", "factors", "matches")


def _flipped(content: bytes, first: int, count: int = 8) -> bytes:
    return content[:first] + bytes(255 - byte for byte in content[first : first + count]) + content[first + count :]


HARMS: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda _: None,
    "emptied": lambda _: b"",
    "halved": lambda content: content[: len(content) // 2],
    "made garbage": lambda content: b"garbage" * (len(content) // 7),
    "flipped at its beginning": lambda content: _flipped(content, 0),
    "flipped at a tenth": lambda content: _flipped(content, len(content) // 10),
    "flipped at a third": lambda content: _flipped(content, len(content) // 3),
    "flipped at a half": lambda content: _flipped(content, len(content) // 2),
    "flipped at two thirds": lambda content: _flipped(content, 2 * len(content) // 3),
    "flipped at its end": lambda content: _flipped(content, len(content) - 8),
    "written twice": lambda content: content + content,
}
FILES: dict[str, Callable[[Path], list[Path]]] = {
    "newest data file": lambda table: sorted(table.glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)[-1:],
    "newest log file": lambda table: sorted((table / "_delta_log").glob("*.json"))[-1:],
    "first log file": lambda table: sorted((table / "_delta_log").glob("*.json"))[:1],
}


@dataclass(frozen=True)
class Damage:
    """One file of a table, or all of it, and what happens to it."""

    table: str
    file: str
    harm: str

    def __str__(self) -> str:
        return f"{self.file} of {self.table} {self.harm}"

    def do(self, place: Place) -> None:
        table = place.home / self.table
        if self.file == "folder":
            shutil.rmtree(table)
            return
        for file in FILES[self.file](table):
            content = HARMS[self.harm](file.read_bytes())
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)


def all_damage() -> Iterator[Damage]:
    """Every harm to every file of every table, and the loss of each table."""
    for table, file, harm in product(TABLES, FILES, HARMS):
        yield Damage(table, file, harm)
    for table in TABLES:
        yield Damage(table, "folder", "deleted")


def said_by(place: Place) -> tuple[str, set[str]]:
    """The state that `verify` finds, and the remedies that it names; those of a refusal if it refuses."""
    import kline_core as kl
    from kline_core.errors import KlineError
    from tests.support.bench import SMALL_SETTINGS

    try:
        report = kl.verify(place.home, settings=SMALL_SETTINGS, encoder=place.folder / "weights.safetensors")
    except KlineError as error:
        return "refused", {str(error)}
    return report.state, {finding.remedy for finding in report.findings}


def restore(place: Place, undisturbed: Undisturbed) -> None:
    """Restore the copy of the evening before."""
    shutil.rmtree(place.home)
    shutil.copytree(undisturbed.base.home, place.home)


def follow(remedy: str, place: Place) -> bool:
    """Do what a remedy says beside restoring a copy; whether there was anything."""
    done = False
    for folders, names in ((("factors", "matches"), "folders `factors` and `matches`"), (("patterns",), "`patterns`")):
        if names in remedy and "remove" in remedy:
            for name in folders:
                shutil.rmtree(place.home / name, ignore_errors=True)
            done = True
    commands = []
    if index := re.search("`kline index[^`]*`", remedy):
        commands.append("rebuild" if "--rebuild" in index[0] else "index")
    if "--as-of of earlier days" in remedy:
        commands.append("run of the day before")
    if "run again" in remedy or "`kline run`" in remedy:
        commands.append("run")
    for command in commands:
        run(command, place)
    return done or bool(commands)


def suffer(damage: Damage, undisturbed: Undisturbed, scratch: Path, steps: int = 4) -> Outcome:
    """Damage a home, go on, ask `verify`, follow what is said, and compare with an undisturbed home."""
    place = undisturbed.base.copy(scratch)
    damage.do(place)
    refusals = [said for said in (run(command, place) for command in DAY) if said.code]
    unexpected = [said for said in refusals if said.code != 1]
    state, remedies = said_by(place)
    at_first = _compared(place, undisturbed)
    silent = not refusals and state in ("sound", "pending", "cut off") and bool(at_first)
    for _ in range(steps):
        if state == "sound" and not _compared(place, undisturbed):
            break
        advice = sorted({*remedies, *(said.message for said in refusals)})
        only_copy = any("from a copy" in remedy and "; or " not in remedy for remedy in advice)
        # The copy where it is the only way; with it all is as it was, and nothing else needs to be done.
        if only_copy or not sum(follow(remedy, place) for remedy in advice):
            restore(place, undisturbed)
        refusals = [said for said in (run(command, place) for command in DAY) if said.code]
        state, remedies = said_by(place)
    found = _compared(place, undisturbed)
    if silent:
        found = Difference(at_first.lost, at_first.doubled, at_first.wrong, ["silent", *at_first.where])
    if unexpected:
        found.where.append(f"unexpected: {unexpected[0].kind}: {unexpected[0].message}")
        found.wrong += 1
    struck = bool(refusals) or state != "sound" or bool(at_first)
    return Outcome(f"damage to {damage.table}", str(damage), struck, found)


def _compared(place: Place, undisturbed: Undisturbed) -> Difference:
    from kline_core.errors import KlineError

    try:
        return difference(place.home, undisturbed.tables[DAY])
    except (KlineError, OSError) as error:
        return Difference(lost=1, where=[str(error)])
