"""What the work of a small home amounts to, in counts that no machine changes: the guard of its speed.

    python -m tests.benchmarks.counts [--keep]

* `encoded`: charts that went through the network.
* `scanned`: rows that an index was asked to search, for each query the patterns known on its date; those that are asked
  for once more, because the first ones did not suffice, count again.
* `read`: bytes that the process read from files while it worked (Linux alone). What is mapped into memory is not in it.

The steps are those of a home's life: all patterns made, a run, the same run again, a new day, a day in a process that
holds nothing, and a match by hand. `test_counts.py` compares with `counts.json`, where `--keep` writes what is there
now; a change that makes a count larger has to show it there. Seconds are not in it: no test can rely on them.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import kline_core as kl
from kline_core import _cache
from kline_core._processor import LEAVE_OUT
from kline_core._text import table
from kline_core.encoder.encoder import Encoder
from kline_core.factor import index_cache
from kline_core.patterns import update
from kline_core.search.flat_index import FlatIndex
from kline_core.settings import Settings
from kline_core.store.home import Home
from tests.support.homes import add_bars, make_home, market

KEPT = Path(__file__).with_suffix(".json")
SYMBOLS, BARS, SAMPLES = 6, 140, 40
READ_TOLERANCE = 0.1
"""Share by which bytes may differ: a checkpoint's or a file's size follows its statistics and its version."""
_IO = Path("/proc/self/io")

Counts = dict[str, dict[str, int]]
"""Counts by step and name."""


@contextmanager
def counted(counts: Counts, step: str) -> Iterator[None]:
    """Count what is done meanwhile, in all threads of this process, under the name of a step."""
    encoded: list[int] = []
    scanned: list[int] = []
    encode, nearest, at_least = Encoder.encode, FlatIndex.nearest, FlatIndex.at_least

    def counting_encode(self: Encoder, charts: Any) -> Any:
        encoded.append(len(charts))
        return encode(self, charts)

    def counting_nearest(self: FlatIndex, vectors: Any, known: Any, count: int) -> Any:
        scanned.append(int(known.sum()))
        return nearest(self, vectors, known, count)

    def counting_at_least(self: FlatIndex, vectors: Any, known: Any, bound: Any) -> Any:
        scanned.append(int(known.sum()))
        return at_least(self, vectors, known, bound)

    before = _read()
    with (
        patch.object(Encoder, "encode", counting_encode),
        patch.object(FlatIndex, "nearest", counting_nearest),
        patch.object(FlatIndex, "at_least", counting_at_least),
    ):
        yield
    counts[step] = {"encoded": sum(encoded), "scanned": sum(scanned)}
    if before is not None:
        counts[step]["read"] = (_read() or 0) - before


def _read() -> int | None:
    if not _IO.exists():
        return None
    return next(int(line.split()[1]) for line in _IO.read_text().splitlines() if line.startswith("rchar:"))


def life(place: Path) -> Counts:
    """The counts of each step in the life of a home that is made in a folder."""
    with ExitStack() as stack:
        # As a large home does: with an index cache, and without it a small one would encode what it keeps here.
        for module in (index_cache, update):
            stack.enter_context(patch.object(module, "LEAST_CACHED", 1))
        # What is proposed, and so what is asked for once more, is the same on processors with VNNI and without.
        stack.enter_context(patch.dict(os.environ, {LEAVE_OUT: "avx512_vnni"}))
        return _life(place)


def _life(place: Path) -> Counts:
    frame = market(SYMBOLS, BARS)
    last = frame["date"].max()
    home = make_home(place / "home", frame[frame["date"] < last])
    # Imports read files too.
    _warm(place)
    counts: Counts = {}
    with counted(counts, "index"):
        _index(home)
    with counted(counts, "run"):
        _run(home, SAMPLES)
    with counted(counts, "same run again"):
        _run(home, SAMPLES)
    add_bars(home, frame[frame["date"] == last])
    with counted(counts, "new day"):
        _index(home)
        _run(home, 1)
    _cache._caches.clear()
    with counted(counts, "run, nothing loaded"):
        _run(home, 2)
    _cache._caches.clear()
    with counted(counts, "match, nothing loaded"):
        kl.explain(home, "S00000", settings=Settings(), device="cpu")
    return counts


def _warm(place: Path) -> None:
    home = make_home(place / "warm", market(2, 60))
    _index(home)
    _run(home, 5)
    kl.explain(home, "S00000", settings=Settings(), device="cpu")
    _cache._caches.clear()


def _index(home: Home) -> None:
    kl.update_patterns(home, device="cpu", threads=1)


def _run(home: Home, samples: int) -> None:
    kl.compute_factor(home, samples=samples, device="cpu", threads=1, max_failed_share=1)


def differences(found: Counts, kept: Counts) -> list[str]:
    """Sentences on what is not as it was kept: every other count, and bytes by more than `READ_TOLERANCE`."""
    said = []
    for step in sorted(found.keys() | kept.keys()):
        now, then = found.get(step, {}), kept.get(step, {})
        for name in sorted(now.keys() | then.keys()):
            one, other = now.get(name), then.get(name)
            if one is None and name == "read" and step in found:
                # This system does not count it.
                continue
            slack = READ_TOLERANCE * other if name == "read" and other is not None else 0
            if one is None or other is None or abs(one - other) > slack:
                said.append(f"{step}: {name} is {one}, kept is {other}")
    return said


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help=f"write them to {KEPT.name}")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        found = life(Path(place))
    rows = [
        [step, *(f"{each.get(name, '')}" for name in ("encoded", "scanned", "read"))] for step, each in found.items()
    ]
    print(table(["step", "charts encoded", "rows scanned", "bytes read"], rows))
    for line in differences(found, json.loads(KEPT.read_text()) if KEPT.exists() else {}):
        print(line)
    if options.keep:
        KEPT.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
