"""Faults by the hundred: `python -m tests.faults [--kills N] [--seed S]`, and the table of what came of them.

Disks that are full need the rights of root, since a small file system is mounted; they are left out without them.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

from kline_core._text import table
from tests.faults import damage, disks, kills
from tests.faults.story import Outcome, Undisturbed, prepared


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills at random moments, beside those at every commit")
    parser.add_argument("--disks", type=int, default=64, help="points at which the disk is full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("kills", "commits", "disks", "damage"))
    options = parser.parse_args()
    started = monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(
        prefix="kline-faults-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    ) as folder:
        scratch = Path(folder)
        undisturbed = Undisturbed(prepared(scratch / "base"), scratch)

        def each(
            name: str, faults: Iterable[Any], suffer: Callable[[Any, Undisturbed, Path], Outcome], at: Path
        ) -> None:
            if options.only not in (None, name):
                return
            for fault in faults:
                outcome = suffer(fault, undisturbed, at)
                outcomes.append(outcome)
                if outcome.difference:
                    print(f"{outcome.name}: {outcome.difference}", file=sys.stderr)
                print(f"{len(outcomes)} faults in {monotonic() - started:.0f} s", end="\r", file=sys.stderr)

        each("kills", kills.random_kills(undisturbed, options.kills, options.seed), kills.suffer, scratch / "work")
        each("commits", kills.commit_kills(), kills.suffer, scratch / "work")
        if os.geteuid() == 0:
            with disks.small_disk(scratch / "small"):
                each("disks", disks.full_disks(options.disks), disks.suffer, scratch / "small")
        each("damage", damage.all_damage(), damage.suffer, scratch / "work")
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
