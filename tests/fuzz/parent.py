"""The parent of the child processes: gives each a share of the cases, and begins anew where one has died."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kline_core._text import harmless, table

SHARE = 2_000
"""Cases of one process: few enough that what one leaves in memory does not add up."""
MOST_FINDINGS = 50
"""Findings of a target after which the rest of its cases would tell nothing new."""


@dataclass(slots=True)
class Account:
    """What came of the cases of one target."""

    target: str
    cases: int = 0
    refused: int = 0
    rejected: int = 0
    crashes: int = 0
    hangs: int = 0
    wrong: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    """Times of each finding, by the place that it came from."""


def fuzz(name: str, cases: int, seed: int, scratch: Path, keep: Path | None = None) -> Account:
    """Run the cases of a target in child processes."""
    account = Account(name)
    folder = scratch / name
    folder.mkdir()
    for made in ("seeds", "kept", "work"):
        (folder / made).mkdir()
    while account.cases < cases and account.findings.total() < MOST_FINDINGS:
        count = min(SHARE, cases - account.cases)
        words = [sys.executable, "-m", "tests.fuzz.child", name, str(seed), str(account.cases), str(count), str(folder)]
        with (folder / "errors").open("wb") as errors:
            child = subprocess.run(words, stdout=subprocess.PIPE, stderr=errors, check=False)
        told = [json.loads(line) for line in child.stdout.decode().splitlines()]
        for each in told:
            account.refused += each["outcome"] == "refused"
            account.rejected += each.get("rejected", 0)
            if each["outcome"] in ("wrong", "crash"):
                account.wrong += each["outcome"] == "wrong"
                account.crashes += each["outcome"] == "crash"
                _found(account, folder / f"found-{account.cases}", each["place"], each["why"], keep)
            account.cases += 1
        if len(told) < count and not (told and told[-1]["outcome"] == "crash"):
            words_left = (folder / "errors").read_text(errors="replace").strip().splitlines()
            if not (folder / "case").exists():
                raise RuntimeError(f"the child of {name} does not start: {words_left[-1:]}")
            account.cases += 1
            hung = child.returncode == -signal.SIGALRM
            account.hangs += hung
            account.crashes += not hung
            why = "hangs" if hung else f"ends with {child.returncode}"
            _found(account, folder / "case", why, " ".join(words_left[-3:]), keep)
    return account


def _found(account: Account, file: Path, place: str, why: str, keep: Path | None) -> None:
    account.findings[place] += 1
    if account.findings[place] > 1:
        return
    case = file.read_bytes()
    print(f"{account.target}: {place}: {harmless(why, longest=600)} ({len(case)} bytes)", file=sys.stderr)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{account.target}-{len(account.findings)}").write_bytes(case)


def summary(accounts: Sequence[Account]) -> str:
    """The table: target, cases, refused, rejected rows, crashes, hangs, wrong."""
    names = ("cases", "refused", "rejected", "crashes", "hangs", "wrong")
    rows = [[each.target, *(getattr(each, name) for name in names)] for each in accounts]
    sums = [sum(getattr(each, name) for each in accounts) for name in names]
    return table(["target", "cases", "refused", "rejected rows", "crashes", "hangs", "wrong"], [*rows, ["all", *sums]])
