"""Faults by the hundred: `python -m tests.faults [--kills N] [--seed S]`, and the table of what came of them.

Disks that are full or read-only need the rights of root, since a small file system is mounted; they are left out
without them.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from kline_core._text import table
from tests.faults import clocks, clusters, damage, disks, fetches, kills, stores
from tests.faults.story import NIGHT, Outcome, Undisturbed, prepared
from tests.support.object_store import object_store
from tests.support.prefect_server import prefect_server

KINDS = ("kills", "commits", "fetches", "nights", "disks", "clusters", "stores", "clocks", "damage")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills at random moments, beside those at every commit")
    parser.add_argument("--disks", type=int, default=64, help="points at which the disk is full")
    parser.add_argument(
        "--others", type=int, default=40, help="of nights and fetches killed, clusters, clocks and stores, each"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    options = parser.parse_args()
    started = monotonic()
    outcomes: list[Outcome] = []
    kinds = KINDS if options.only is None else [options.only]
    with ExitStack() as stack:
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kline-faults-", dir=memory)))
        # Children see the environment in which the first of them was started.
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        store = stack.enter_context(object_store(patch)) if "stores" in kinds else None
        if "nights" in kinds:
            (scratch / "prefect").mkdir()
            server = stack.enter_context(prefect_server(scratch / "prefect"))
            for name, value in server.env.items():
                patch.setenv(name, value)
        undisturbed = Undisturbed(prepared(scratch / "base"), scratch)

        def each(
            name: str,
            faults: Callable[[], Iterable[Any]],
            suffer: Callable[..., Outcome],
            at: Path,
            *more: Any,
            by: Undisturbed = undisturbed,
        ) -> None:
            if name not in kinds:
                return
            for fault in faults():
                outcome = suffer(fault, by, at, *more)
                outcomes.append(outcome)
                if outcome.difference:
                    print(f"{outcome.name}: {outcome.difference}", file=sys.stderr)
                print(f"{len(outcomes)} faults in {monotonic() - started:.0f} s", end="\r", file=sys.stderr)

        work, count, seed = scratch / "work", options.others, options.seed
        each("kills", lambda: kills.random_kills(undisturbed, options.kills, seed), kills.suffer, work)
        each("commits", kills.commit_kills, kills.suffer, work)
        if "fetches" in kinds:
            fetched = fetches.undisturbed(stack.enter_context(fetches.vendor()), scratch)
            each("fetches", lambda: fetches.fetch_kills(fetched, count, seed), kills.suffer, work, by=fetched)
        if "nights" in kinds:
            # Windows of 20 bars, of which there must be enough.
            nights = Undisturbed(prepared(scratch / "nights", 130), scratch, ("daily",), (NIGHT,))
            each("nights", lambda: kills.random_kills(nights, count, seed), kills.suffer, work, by=nights)
        if os.geteuid() == 0 and "disks" in kinds:
            with disks.small_disk(scratch / "small"):
                each("disks", lambda: disks.full_disks(options.disks), disks.suffer, scratch / "small")
        each("clusters", lambda: clusters.deaths(count, seed), clusters.suffer, work)
        each("stores", lambda: stores.flaky_stores(count, seed), stores.suffer, work, store)
        each("clocks", lambda: clocks.clock_jumps(count, seed), clocks.suffer, work)
        each("damage", damage.all_damage, damage.suffer, work)
    print(file=sys.stderr)
    print(summary(outcomes))
    return int(any(outcome.difference for outcome in outcomes))


def summary(outcomes: list[Outcome]) -> str:
    """The table: fault, times injected, of which at work, rows lost, doubled and wrong."""
    rows = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.kind == kind]
        lost, doubled, wrong = (
            sum(getattr(outcome.difference, name) for outcome in mine) for name in ("lost", "doubled", "wrong")
        )
        rows.append([kind, len(mine), sum(outcome.struck for outcome in mine), lost, doubled, wrong])
    return table(["fault", "injected", "struck", "lost", "doubled", "wrong"], rows)


if __name__ == "__main__":
    sys.exit(main())
