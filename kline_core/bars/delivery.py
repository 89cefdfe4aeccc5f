"""Files of a delivery: which ones an ingest reads, and what it says of everything else in the folders."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from kline_core._text import harmless, refusal
from kline_core.bars.readers import is_one_source, may_read
from kline_core.bars.readers.frame import Frame
from kline_core.store.folder import is_folder, table_around, what_is_stored


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything in the places that were named; what is in a folder stands in the order of its paths."""

    files: dict[Path, str | None] = field(default_factory=dict)
    """Files to read, each once; beside those that cannot be, and folders that cannot be listed, the reason."""
    skipped: list[str] = field(default_factory=list)
    """Files in the folders that no reader knows by their name."""
    left_out: list[str] = field(default_factory=list)
    """Folders that were not searched, each with the reason."""


def sources_by_name(
    sources: Sequence[Path | Frame], delivery: Delivery, frame_names: Sequence[str] = ()
) -> dict[str, Path | Frame | str]:
    """Each file and frame, or why a file is not read, by the name under which it stands in a report.

    Args:
        sources: Files and folders, of which `delivery` holds what was found, and frames.
        delivery: Files of the paths among them.
        frame_names: Names of the frames, in their order, all different; empty for their numbers.
    """
    named: dict[str, Path | Frame | str] = {}
    for path, reason in delivery.files.items():
        name = shown = harmless(path)
        # Two names that differ in what cannot be shown are two files all the same.
        for number in count(2):
            if name not in named:
                break
            name = f"{shown} ({number})"
        named[name] = harmless(reason) if reason else path
    if frame_names:
        named |= dict(zip(frame_names, (each for each in sources if not isinstance(each, Path)), strict=True))
        return named
    for at, source in enumerate(sources, start=1):
        if not isinstance(source, Path):
            named[f"frame {at}"] = source
    return named


def find_files(paths: Sequence[Path]) -> Delivery:
    """Files to read of `paths`: files, and folders that are searched at every depth, or are one source themselves.

    Homes and Delta tables are left out, since their files are no delivery, and so are links to folders.
    """
    found, seen = Delivery(), set[str]()

    def take(path: Path, reason: str | None) -> None:
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            found.files[path] = reason

    for path in paths:
        if not is_folder(path) or is_one_source(path):
            take(path, _why_not(path))
        elif stored := what_is_stored(path) or ("part of a Delta table" if table_around(path) else None):
            found.left_out.append(f"{path}: is {stored}, no delivery; name the folder of the vendor's files")
        else:
            for entry, reason in sorted(_entries(path, found.left_out).items()):
                if reason is not None or may_read(entry) or is_one_source(entry):
                    take(entry, reason)
                else:
                    found.skipped.append(str(entry))
    found.left_out.sort()
    return found


def _entries(root: Path, left_out: list[str]) -> dict[Path, str | None]:
    """All files beneath a folder, and the folders that cannot be listed with the reason."""
    entries: dict[Path, str | None] = {}

    def unlisted(error: OSError) -> None:
        path = Path(error.filename or root)
        entries[path] = f"{path}: cannot be listed: {refusal(error)}; make it readable, or name its files"

    for folder, below, names in os.walk(root, onerror=unlisted):
        here = Path(folder)
        below.sort()
        for name in list(below):
            path = here / name
            if path.is_symlink():
                left_out.append(f"{path}: is a link to a folder, which is not followed; name that folder itself")
            elif stored := what_is_stored(path):
                left_out.append(f"{path}: is {stored}, no delivery")
            elif is_one_source(path):
                entries[path] = None
            else:
                continue
            below.remove(name)
        entries |= {path: _why_not(path) if path.is_symlink() else None for path in (here / name for name in names)}
    return entries


def _why_not(path: Path) -> str | None:
    table = table_around(path)
    return None if table is None else f"{path}: is a file of the Delta table {table}, no delivery; leave it away"
