"""A backup of a home: a folder that is a home itself, so that restoring it is naming it, or copying it back.

Runs, ingests and `kline up` may work meanwhile. The versions that are copied belong together
(`kline_core.maintenance.moment`): no value without its matches, no pattern without its bars, no record of a run without
the versions that it names. Work that is pending or half done at that moment is so in the backup as well, and the same
command goes on there.

The backup is made beside its place, under another name, and gets its own at the end: whatever comes between leaves none
that is half.
"""

import json
import os
import re
import shlex
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from kline_core._text import counted, refusal, table
from kline_core.errors import HomeError
from kline_core.factor.stored_values import check_not_lost
from kline_core.maintenance.moment import derived_first, values_with_matches
from kline_core.store.copying import CopiedTable, copy_table
from kline_core.store.folder import table_around
from kline_core.store.home import Home
from kline_core.store.run_records import RunRecord, copy_records

_PREFECT = "prefect"
_DATABASE = "prefect.db"
PLACE_NOTE = "place.json"
"""File in a home's folder `prefect` that tells in which folder its server has worked."""
_SETTINGS = ("source.json",)
"""What `kline up` keeps beside the database, and a start on the backup asks for."""
_BUSY_SECONDS = 60.0
# As a path has it, which makes one slash of two.
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied of a home, and where to."""

    home: str
    place: str
    tables: list[CopiedTable]
    records: int
    """Records of runs."""
    records_left: int
    """Records of runs that ended after the moment of the backup."""
    database: bool
    """Whether the database of the Prefect server came along."""
    seconds: float

    @property
    def headline(self) -> str:
        """The result in one line."""
        size = sum(each.bytes for each in self.tables)
        files = sum(each.files for each in self.tables)
        return f"backed up {counted(files, 'file')}, {size / 1e6:.1f} MB, into {self.place}"

    def text(self) -> str:
        """The result as text for a terminal: a line per table, and what else came along."""
        rows = [[each.table, each.version, each.files, round(each.bytes / 1e6, 1)] for each in self.tables]
        prefect = "the Prefect server's database" if self.database else "no database of a Prefect server"
        left = f", without {self.records_left} that ended meanwhile" if self.records_left else ""
        return "\n".join(
            [
                self.headline,
                table(["table", "version", "files", "MB"], rows),
                f"with {counted(self.records, 'record')} of runs{left}, and {prefect}",
                f"it is a home: to restore it, name it by --home {shlex.quote(self.place)}, or copy it back",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {"headline": self.headline} | asdict(self)


def back_up(home: Home, place: Path, prefect: bool = True) -> Backup:
    """Copy a home into a new folder, which is a home then.

    Args:
        home: Home to copy, in a folder or an object store.
        place: Folder to make; one that is empty may be there.
        prefect: Whether the database of the Prefect server that lies in the home comes along.

    Raises:
        HomeError: Something of the home is damaged or cannot be read, or the place holds something, lies in the home,
            or cannot be written. There is no backup then.
    """
    started = time.monotonic()
    home.check_there()
    place = _checked_place(home, place)
    check_not_lost(home)
    versions = values_with_matches(home)
    with _whole(place) as scratch:
        # Before the versions of the others are looked at, which are then those that these runs read, or later ones.
        records, left = copy_records(home, scratch, lambda record: _had_ended(record, versions))
        for name in derived_first(home.tables()):
            if name not in versions:
                versions[name] = home.version(name)
        tables = [copy_table(home, name, version, scratch) for name, version in versions.items() if version is not None]
        copy = Home(scratch)
        for each in tables:
            copy.check_sizes(each.table, each.version)
        database = prefect and home.folder is not None and _copy_prefect(home.folder / _PREFECT, scratch / _PREFECT)
    return Backup(home.uri, str(place), tables, records, left, database, time.monotonic() - started)


def _checked_place(home: Home, place: Path) -> Path:
    if _URL.match(str(place)):
        raise HomeError(
            f"backup {place} is a URL; name a folder, which the store's own tools copy there", home=str(place)
        )
    place = place.absolute()
    why = None
    if home.folder is not None and place.resolve().is_relative_to(home.folder.resolve()):
        why = f"lies in the home {home.uri} itself; name a folder elsewhere, best on another disk"
    elif (around := table_around(place)) is not None:
        why = f"lies in the table {around}; name a folder elsewhere"
    elif not place.parent.is_dir():
        why = "cannot be made; its folder does not exist"
    elif place.exists() and not place.is_dir():
        why = "is a file; name a folder"
    elif place.exists() and any(place.iterdir()):
        why = "holds something, and no backup is overwritten; name a new folder"
    if why is not None:
        raise HomeError(f"backup {place} {why}", home=str(place))
    return place


def _had_ended(record: RunRecord, versions: dict[str, int | None]) -> bool:
    """Whether the versions hold all that the record says was stored."""
    return all((versions[name] or 0) >= (stored or 0) for name, stored in record.stored.items() if name in versions)


@contextmanager
def _whole(place: Path) -> Iterator[Path]:
    """A folder beside the place, which gets its name at the end of the block, and is removed if that does not come."""
    scratch = place.with_name(f".{place.name}.{uuid4().hex[:8]}.partial")
    try:
        scratch.mkdir()
        yield scratch
        # A power cut right after the new name must not leave empty files under it.
        os.sync()
        scratch.rename(place)
    except (OSError, pa.ArrowException) as error:
        raise HomeError(
            f"backup {place} cannot be written ({refusal(error)}); nothing of it is left, make room or name another "
            "folder",
            home=str(place),
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy_prefect(source: Path, target: Path) -> bool:
    """Copy the database of a Prefect server, which may be at work, and what `kline up` keeps beside it."""
    if not (source / _DATABASE).is_file():
        return False
    # For its owner alone: the database holds the secrets of messages with the key to them.
    target.mkdir(mode=0o700)
    try:
        with (
            closing(
                sqlite3.connect(f"{(source / _DATABASE).as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
            ) as old,
            closing(sqlite3.connect(target / _DATABASE)) as new,
        ):
            old.backup(new)
    except sqlite3.Error as error:
        raise HomeError(
            f"the Prefect server's database {source / _DATABASE} cannot be copied ({error}); restore it from a copy, "
            "or leave it out with --no-prefect",
            home=str(source.parent),
        ) from error
    for name in _SETTINGS:
        with suppress(FileNotFoundError):
            shutil.copy(source / name, target / name)
    # For the first `kline up` of the backup, whose schedules and messages are those of the home.
    (target / PLACE_NOTE).write_text(json.dumps({"home": str(source.parent.resolve()), "backup": True}) + "\n")
    return True
