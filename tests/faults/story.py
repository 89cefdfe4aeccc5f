"""What is disturbed: a small home, the commands of a day on it, and what they leave undisturbed.

Commands run in children of a fork server that has imported everything, so that a child is at work within milliseconds,
and can be killed at any of its moments.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import SMALL, market, write_encoder

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.story", "kline_core.factor.scoring", "kline_core.compute.opening"])

SYMBOLS, DAYS, NEW_DAYS = 4, 60, 3
SAMPLES = 25
KEYS = {
    "bars": ["symbol", "date"],
    "patterns": ["symbol", "end"],
    "factors": ["symbol", "date", "fingerprint"],
    "matches": ["symbol", "date", "fingerprint", "rank"],
    "members": ["universe", "symbol", "date", "source"],
}
DAY = ("ingest", "index", "run", "maintain")
RESTATED = ("restate", "index", "run", "maintain")
NIGHT = ("daily",)
"""The flow, which does the first three by itself, with the settings that it knows."""


@dataclass(frozen=True)
class Place:
    """A folder with a home, and the deliveries that are still to come."""

    folder: Path
    url: str | None = None
    """Of a home that is not in the folder."""
    scheduler: str | None = None
    vendor: int | None = None
    """Port of the vendor that bars are fetched from."""

    @property
    def home(self) -> Path | str:
        return self.url or self.folder / "home"

    def copy(self, to: Path) -> "Place":
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to)
        return replace(self, folder=to)


def act(command: str, place: Place) -> None:
    """One command on the home of a place."""
    import kline_core as kl
    from kline_core.maintenance import upkeep

    weights = place.folder / "weights.safetensors"
    if command in ("ingest", "restate"):
        kl.ingest(place.home, place.folder / f"{command}.csv")
    elif command == "index":
        kl.update_patterns(place.home, settings=SMALL, encoder=weights, device="cpu", threads=2)
    elif command == "rebuild":
        kl.update_patterns(place.home, settings=SMALL, encoder=weights, device="cpu", threads=2, rebuild=True)
    elif command in ("run", "run of the day before"):
        asked: dict[str, Any] = {"settings": SMALL_SETTINGS, "encoder": weights, "device": "cpu"}
        asked |= {"scheduler": place.scheduler} if place.scheduler else {"threads": 2}
        if command != "run":
            days = np.unique(kl.Home(place.home).read("bars", ["date"])["date"].to_numpy())
            asked["as_of"] = str(days[-1 - NEW_DAYS])
        kl.compute_factor(place.home, samples=SAMPLES, max_failed_share=1, **asked)
    elif command in ("fetch", "fetch of the month before"):
        from tests.faults import fetches

        fetches.fetch(place, fetches.DAY if command == "fetch" else fetches.DAY_BEFORE)
    elif command == "daily":
        from flows.daily import daily

        delivered = str(place.folder / "delivered")
        daily(str(place.home), delivered, samples=SAMPLES, max_failed_share=1.0, threads=2)
    elif command == "maintain":
        upkeep.MANY_FILES = 2
        home = kl.Home(place.home)
        upkeep.compact(home)
        # As a week later, so that there is something to remove.
        upkeep.vacuum(home, 7, 7, now=datetime.now(UTC) + timedelta(days=8))
    else:
        raise ValueError(command)


@dataclass
class Said:
    """How a command ended: `code` 0 done, 1 refused with `message`, negative killed by that signal."""

    code: int
    message: str = ""
    kind: str = ""
    log: str = ""
    """What was written to standard error."""


def child(
    command: str, place: Place, said: Path, prepare: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    """The main function of a child; leaves in a file what it said, and what it wrote to standard error beside it."""
    from kline_core.errors import KlineError

    os.dup2(os.open(said.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    code = 0
    try:
        if prepare is not None:
            prepare(*arguments)
        act(command, place)
    except KlineError as error:
        said.write_text(json.dumps([type(error).__name__, str(error)]))
        code = 1
    except BaseException as error:  # noqa: BLE001  whatever it was, it is what this looks for
        said.write_text(json.dumps([f"unexpected {type(error).__name__}", str(error)]))
        code = 3
    sys.stderr.flush()
    os._exit(code)


def run(
    command: str,
    place: Place,
    kill_after: float | None = None,
    prepare: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
    limit: float = 120,
) -> Said:
    """Run a command in a child, and kill it after some seconds if it is still at work then."""
    # Elsewhere than the home, whose disk may be full.
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        process = CONTEXT.Process(target=child, args=(command, place, said, prepare, arguments))
        process.start()
        process.join(limit if kill_after is None else kill_after)
        if process.is_alive():
            process.kill()
            process.join(30)
            if kill_after is None:
                return Said(-int(signal.SIGALRM), f"{command} did not end within {limit} s", "hang")
        # A killed one may leave half of it.
        whole = said.exists() and process.exitcode in (1, 3)
        kind, message = json.loads(said.read_text()) if whole else ("", "")
        log = said.with_suffix(".log")
        return Said(int(process.exitcode or 0), message, kind, log.read_text() if log.exists() else "")


def prepared(folder: Path, history: int = DAYS) -> Place:
    """A home of `history` days with patterns and values, a delivery of `NEW_DAYS` more, and a restated one."""
    place = Place(folder)
    (folder / "delivered").mkdir(parents=True)
    write_encoder(folder / "weights.safetensors")
    frame = market(SYMBOLS, history + NEW_DAYS, seed=5)
    columns = ["symbol", "date", "open", "high", "low", "close", "volume", "adj_factor"]
    days = np.unique(frame["date"])
    old = frame[frame["date"] < days[history]]
    restated = old.assign(close=old["close"].where(old["symbol"] != "S00001", old["low"]))
    import kline_core as kl

    kl.ingest(kl.Home(place.home, create=True), old[columns])
    for name, part in (("ingest", frame[frame["date"] >= days[history]]), ("restate", restated)):
        part[columns].to_csv(folder / f"{name}.csv", index=False)
    shutil.copy(folder / "ingest.csv", folder / "delivered")
    return place


def tables(home: Path | str) -> dict[str, dict[tuple[Any, ...], Counter[str]]]:
    """Rows of each table by their keys, without the run that made them; every number as its bits."""
    from kline_core.store.home import Home

    found = {}
    for table, keys in KEYS.items():
        rows = Home(home).read(table).to_pylist()
        by_key: dict[tuple[Any, ...], Counter[str]] = {}
        for row in rows:
            row.pop("run_id", None)
            by_key.setdefault(tuple(row[key] for key in keys), Counter())[repr(sorted(row.items()))] += 1
        found[table] = by_key
    return found


@dataclass
class Difference:
    """Rows of a home's tables that are not those of an undisturbed one."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    where: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.wrong)


def difference(home: Path | str, undisturbed: dict[str, dict[tuple[Any, ...], Counter[str]]]) -> Difference:
    """Compare a home's tables with those of an undisturbed one."""
    found = Difference()
    for table, rows in tables(home).items():
        expected = undisturbed[table]
        lost = expected.keys() - rows.keys()
        doubled = [key for key, each in rows.items() if each.total() > 1]
        wrong = [key for key, each in rows.items() if set(each) - set(expected.get(key, ()))]
        found.lost, found.doubled = found.lost + len(lost), found.doubled + len(doubled)
        found.wrong += len(wrong)
        found.where += [
            f"{table}: {what} {sorted(keys, key=str)[0]}"
            for what, keys in (("lost", lost), ("doubled", doubled), ("wrong", wrong))
            if keys
        ]
    return found


@dataclass
class Outcome:
    """What became of one fault."""

    kind: str
    """Line of the table that it is counted in."""
    name: str
    struck: bool
    """Whether the fault hit the command; it may have been over before."""
    difference: Difference


class Undisturbed:
    """What each story leaves where nothing disturbs it, and how long its commands take."""

    def __init__(
        self,
        base: Place,
        scratch: Path,
        first: tuple[str, ...] = ("index", "run"),
        stories: Sequence[tuple[str, ...]] = (DAY, RESTATED),
    ) -> None:
        self.base = base
        for command in first:
            said = run(command, base)
            assert said.code == 0, said
        self.seconds: dict[tuple[tuple[str, ...], str], float] = {}
        self.tables = {}
        for number, story in enumerate(stories):
            place = base.copy(scratch / f"undisturbed-{'-'.join(first)}-{number}")
            for command in story:
                started = monotonic()
                said = run(command, place)
                self.seconds[story, command] = monotonic() - started
                assert said.code == 0, said
            self.tables[story] = tables(place.home)
