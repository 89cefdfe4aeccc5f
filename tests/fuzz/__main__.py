"""Hostile input: `python -m tests.fuzz [--cases N] [--seed S] [--only NAME]`, and the table of what came of it.

What a case did that it may not stands on standard error, once for each place in the code, and the case itself in the
folder that `--keep` names.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from time import monotonic

from tests.fuzz.parent import Account, fuzz, summary
from tests.fuzz.targets import TARGETS, share


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(TARGETS), metavar="NAME", help=", ".join(sorted(TARGETS)))
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the cases of all findings here")
    options = parser.parse_args()
    names = [options.only] if options.only else list(TARGETS)
    started = monotonic()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    accounts: list[Account] = []
    with tempfile.TemporaryDirectory(prefix="kline-fuzz-", dir=memory) as scratch:
        for name in names:
            cases = options.cases if options.only else share(name, options.cases)
            accounts.append(fuzz(name, cases, options.seed, Path(scratch), options.keep))
            print(f"{name}: {accounts[-1].cases} cases, {monotonic() - started:.0f} s", file=sys.stderr)
    print(summary(accounts))
    return int(any(account.findings for account in accounts))


if __name__ == "__main__":
    sys.exit(main())
