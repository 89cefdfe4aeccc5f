"""A child process: some cases of one target, under a limit of memory and of time for each.

`python -m tests.fuzz.child NAME SEED FIRST COUNT FOLDER` writes a line of JSON for each case on standard output; the
case that is being read stands in FOLDER/case, and those that did what they may not in FOLDER/found-N. Nothing but the
folder may be written, and no program be started: the interpreter's audit says so.
"""

import json
import os
import random
import resource
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from kline_core.errors import KlineError
from tests.fuzz.guide import Guide
from tests.fuzz.target import Target, WrongError, check, check_line
from tests.fuzz.targets import load

MEMORY = 6 * 2**30
"""Bytes beyond what the process has reserved when it begins."""
SECONDS = 30.0
"""For a case; the process is then ended from outside of Python, wherever it is."""
_STARTS = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
}


def main(name: str, seed: int, first: int, count: int, folder: Path) -> None:
    # Dask reads it when it is imported, for the folders of its workers.
    os.environ["DASK_TEMPORARY_DIRECTORY"] = str(folder)
    target = load(name)
    # Lines for the parent alone: what the house prints goes nowhere.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    sys.dont_write_bytecode = True
    work = folder / "work"
    work.mkdir(exist_ok=True)
    seeds = target.seeds(folder / "seeds")
    target.take(seeds[0], work)  # what is imported and made once, outside of the limits
    reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (reserved + MEMORY, reserved + MEMORY))
    guide = Guide(target.guided_by, seeds, folder / "kept")
    watch = _Watch(folder)
    for at in range(first, first + count):
        draw = random.Random(f"{name} {seed} {at}")
        case = seeds[at] if at < len(seeds) else target.mutate(draw, guide.choose(draw), guide.kept)
        (folder / "case").write_bytes(case)
        before = _names(folder)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        with guide.watching(), watch:
            told = outcome(target, case, work)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if told["outcome"] != "crash" and _names(folder) != before:
            told = {"outcome": "wrong", "why": f"left {_names(folder)}", "place": "outside"}
        if watch.found:
            told = {"outcome": "wrong", "why": watch.found, "place": watch.found}
            watch.found = ""
        if told["outcome"] in ("wrong", "crash"):
            (folder / f"found-{at}").write_bytes(case)
        print(json.dumps(told), file=out)
        if told["outcome"] == "crash":
            return
        guide.keep(case)


def outcome(target: Target, case: bytes, work: Path) -> dict[str, Any]:
    """What came of a case."""
    try:
        taken = target.take(case, work)
    except KlineError as error:
        try:
            check_line(str(error))
        except WrongError as wrong:
            return {"outcome": "wrong", "why": str(wrong), "place": _place(error)}
        return {"outcome": "refused", "rejected": 0}
    except MemoryError as error:
        return {"outcome": "crash", "why": "memory", "place": _place(error)}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  a panic of a library's is no Exception
        return {"outcome": "wrong", "why": f"{type(error).__name__}: {error!s:.500}", "place": _place(error)}
    return {"outcome": "taken", "rejected": taken.rejected}


def _place(error: BaseException) -> str:
    """Type of an error, and where in the house it came from, for telling findings apart."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/kline_core/" in f.filename or "/flows/" in f.filename
    ]
    mine = frames or traceback.extract_tb(error.__traceback__)
    where = mine[-1] if mine else None
    return (
        type(error).__name__ if where is None else f"{type(error).__name__} {Path(where.filename).name}:{where.lineno}"
    )


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("found-"))


class _Watch:
    """What Python opens for writing outside the folder, or starts, while a case is read."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._on, self.found = str(folder), False, ""
        sys.addaudithook(self._heard)

    def __enter__(self) -> None:
        self._on = True

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event == "pickle.find_class" and (arguments[0].startswith("kline_core.") or _is_dask()):
            return  # Dask hands work and errors of the house from thread to thread
        if event in _STARTS:
            self.found = f"{event} {arguments!s:.100}"
        elif event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            place = os.path.realpath(os.fsdecode(arguments[0]))
            if not place.startswith((self._folder, "/dev/null")):
                self.found = f"writes {place:.100}"


def _is_dask() -> bool:
    """Whether Dask's own code is at work in this thread: it unpickles what it has pickled itself."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if f"{os.sep}distributed{os.sep}protocol{os.sep}" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    check(len(sys.argv) == 6, "usage: python -m tests.fuzz.child NAME SEED FIRST COUNT FOLDER")
    main(sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5]))
