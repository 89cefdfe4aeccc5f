"""Checks of the machine and of what is installed on it: cores, memory, disk, processor, packages, clock, calendars."""

import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kline_core import __version__
from kline_core._cores import CORE_COUNT
from kline_core._memory import container_limit
from kline_core._processor import Processor, processor
from kline_core.maintenance.checkup import Check

PACKAGE = "kline-factor"
GIB = 2**30
FEW_MEMORY, LITTLE_MEMORY = 2 * GIB, GIB // 2
"""Free memory below which a run on a market may fail, and below which hardly anything works."""
FEW_DISK, LITTLE_DISK = 10 * GIB, GIB
ZONES = ("Asia/Shanghai", "America/New_York")
"""Zones of the schedules."""
CALENDARS = ("XSHG", "XNYS")


def check_machine(folder: Path | None) -> Iterator[Check]:
    """Cores, memory, processor, and the disk where the home is; `folder` is None if that is not on a disk."""
    total = os.cpu_count() or CORE_COUNT
    granted = "" if total == CORE_COUNT else f" of {total}, as the system grants them to this process"
    yield Check("cores", "ok", f"{CORE_COUNT}{granted}")
    memory = psutil.virtual_memory()
    yield _room(
        "memory",
        min(memory.available, container_limit()),
        memory.total,
        (FEW_MEMORY, LITTLE_MEMORY),
        "close other programs",
    )
    yield check_processor(processor())
    if folder is not None:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        disk = shutil.disk_usage(place)
        remedy = (
            "run the flow `maintain`, or make room; a write that finds none fails and leaves the tables as they were"
        )
        yield _room("disk", disk.free, disk.total, (FEW_DISK, LITTLE_DISK), remedy)


def check_processor(has: Processor) -> Check:
    """What the processor's instructions mean for speed, and for the last bits of vectors."""
    if has.instructions is None:
        return Check("processor", "note", f"{has.name}: this system does not tell its instructions; speed is unknown")
    if "avx512_vnni" in has.instructions:
        return Check("processor", "ok", f"{has}: searches by 8-bit products, the fastest way")
    if "avx512f" in has.instructions or "avx2" in has.instructions or "asimd" in has.instructions:
        text = f"{has}: no AVX-512 VNNI, so a search takes two to three times as long; values are exact all the same"
        return Check("processor", "note", text)
    return Check("processor", "note", f"{has}: neither AVX2 nor NEON; everything takes several times as long")


def _room(subject: str, free: int, total: int, bounds: tuple[int, int], remedy: str) -> Check:
    text = f"{free / GIB:.1f} GiB free of {total / GIB:.1f}"
    if free >= bounds[0]:
        return Check(subject, "ok", text)
    return Check(subject, "note" if free >= bounds[1] else "problem", f"{text}; {remedy}")


def check_packages() -> Iterator[Check]:
    """Versions of Python and of all packages against the bounds that this package asks for."""
    try:
        asked, installed = metadata.requires(PACKAGE) or [], metadata.version(PACKAGE)
        python = str(metadata.metadata(PACKAGE)["Requires-Python"])
    except metadata.PackageNotFoundError:
        text = f"{PACKAGE} is not installed, so no bounds are known; install it with pip"
        yield Check("packages", "note", text)
        return
    if installed != __version__:
        text = f"{PACKAGE} {installed} is installed, but {__version__} runs; check which folder Python imports it from"
        yield Check("packages", "note", text)
    now = ".".join(map(str, sys.version_info[:3]))
    if SpecifierSet(python).contains(now):
        yield Check("Python", "ok", f"{now} ({python})")
    else:
        yield Check("Python", "problem", f"{now} is outside {python}; make an environment with another Python")
    yield from compared([Requirement(text) for text in asked])


def compared(requirements: list[Requirement]) -> Iterator[Check]:
    """Installed versions against requirements: a problem for each that is not met, and the others in one line."""
    fine = []
    for asked in requirements:
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            yield Check("packages", "problem", f"{asked.name} is missing; run `pip install '{asked}'`")
            continue
        if asked.specifier.contains(version, prereleases=True):
            fine.append(f"{asked.name} {version}")
        else:
            text = f"{asked.name} {version} is outside {asked.specifier}; run `pip install '{asked}'`"
            yield Check("packages", "problem", text)
    if fine:
        yield Check("packages", "ok", f"{len(fine)} within their bounds: {', '.join(sorted(fine))}")


def check_clock(now: datetime | None = None) -> Iterator[Check]:
    """The clock against the files of this package, and the zones of the schedules."""
    moment = datetime.now(UTC) if now is None else now
    local = moment.astimezone()
    made = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    if moment < made:
        text = f"it is {moment:%Y-%m-%d %H:%M} UTC here, before this program was installed; set the clock"
        yield Check("clock", "problem", text)
    else:
        yield Check("clock", "ok", f"{local:%Y-%m-%d %H:%M} {local.tzname()} (UTC{local:%z})")
    try:
        for zone in ZONES:
            ZoneInfo(zone)
    except ZoneInfoNotFoundError:
        text = f"this system does not know the zone {zone}; run `pip install tzdata`"
        yield Check("time zones", "problem", text)
    else:
        yield Check("time zones", "ok", ", ".join(ZONES))


def check_calendars(today: datetime | None = None) -> Iterator[Check]:
    """How long the calendars of the schedules go on."""
    import numpy as np

    from kline_core.bars.sessions import ending, last_known_day

    day = np.datetime64((datetime.now(UTC) if today is None else today).date(), "D")
    for name in CALENDARS:
        last = last_known_day(name)
        soon = ending(name, day)
        if soon is None:
            yield Check("calendar", "ok", f"{name} ends on {last}, {last - day} from now")
        else:
            yield Check("calendar", "problem" if last < day else "note", soon)
