"""Lock of a home: one `kline up` or `kline demo` at a time."""

import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows.local_stack.notes import read_json, write_json
from kline_core._text import refusal
from kline_core.errors import HomeError

NOTE = "up.json"
"""File in the locked folder that tells who holds the lock; removed with the lock."""


@contextmanager
def locked(home: Path) -> Iterator[Path]:
    """Lock the home, and yield its folder for Prefect, made if it is missing, and its owner's alone in any case.

    The lock is on the folder itself, so that no file is left behind and a killed process leaves no lock. Raises
    `HomeError` if another process holds the lock, naming it and how to stop it, or if the folder cannot be used.
    """
    folder = home / "prefect"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # Database, results, logs and profiles are written with modes that let all others read, by programs that cannot
        # be told otherwise: results as pickles of whatever a flow raised. Earlier versions left the folder open too.
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            folder.chmod(0o700)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise HomeError(
            f"{folder} cannot be used ({refusal(error)}); name a home that can be written", home=str(home)
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HomeError(_who(home, folder / NOTE), home=str(home)) from error
        try:
            write_note(folder, {})
            yield folder
        finally:
            (folder / NOTE).unlink(missing_ok=True)
    finally:
        os.close(handle)


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """Record who holds the lock, for the next process that asks."""
    write_json(folder / NOTE, {"pid": os.getpid()} | note)


def _who(home: Path, note: Path) -> str:
    known: dict[str, Any] = {}
    with suppress(OSError):
        known = read_json(note) or {}
    process = f" (process {known['pid']})" if "pid" in known else ""
    link = f" at {known['ui']}" if "ui" in known else ""
    stop = f"kill {known['pid']}" if "pid" in known else "end that process"
    return (
        f"kline runs for the home {shlex.quote(str(home))} already{process}{link}; "
        f"stop it with Ctrl-C where it runs, or with `{stop}`"
    )
