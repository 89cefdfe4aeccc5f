"""How fast the banded warping of full mode is computed, beside the libraries that could do it.

    python -m tests.benchmarks.warping [--pairs 1200000] [--rounds 5] [--json FILE]

600 samples with 2,000 candidates each are 1,200,000 pairs of 20 closes. Compared, in seconds of one processor: our own
recursion over whole arrays of 16-bit steps; the same in numba, its compilation beside it; and dtaidistance, whose C
library takes one pair a call. That numba finds the same distances is checked; dtaidistance squares differences and
takes the root, so its distances are others.

Needs `pip install '.[bench]' dtaidistance`; what is missing is left out.
"""

import argparse
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import numpy as np

from kline_core._text import table
from kline_core.typing import Int16s, Int32s
from kline_core.windows.rounded_shapes import STEPS, warping_distances
from kline_core.windows.similarity import BAND

BARS, FEATURES, AT_ONCE = 20, 6, 16_384
FEW = 5_000
"""Pairs that dtaidistance does in a round; its seconds are scaled up."""


def closes(pairs: int, seed: int) -> Int16s:
    """Columns of random walks in steps, as `RoundedShapes.columns` has them."""
    walks = np.cumsum(np.random.default_rng(seed).standard_normal((BARS, pairs)), axis=0)
    walks = (walks - walks.mean(axis=0)) / walks.std(axis=0)
    columns = np.zeros((2 * BARS - 1 + FEATURES, pairs), dtype=np.int16)
    columns[:BARS] = np.rint(walks * STEPS)
    return columns


def whole_arrays(a: Int16s, b: Int16s) -> Int32s:
    parts = [slice(first, first + AT_ONCE) for first in range(0, a.shape[1], AT_ONCE)]
    return np.concatenate([warping_distances(a[:, part], b[:, part]) for part in parts])


def in_numba() -> Callable[[Int16s, Int16s], Int32s]:
    """The plain recursion of each pair, compiled."""
    from numba import njit

    @njit
    def distances(a, b):  # type: ignore[no-untyped-def]
        count, bars = a.shape
        found = np.empty(count, np.int32)
        for pair in range(count):
            above = np.full(bars + 1, 2**30, np.int32)
            row = np.full(bars + 1, 2**30, np.int32)
            above[0] = 0
            for i in range(bars):
                first, last = max(0, i - BAND), min(bars, i + BAND + 1)
                row[first] = 2**30
                for j in range(first, last):
                    best = min(min(above[j], above[j + 1]), row[j])
                    row[j + 1] = best + abs(np.int32(a[pair, i]) - np.int32(b[pair, j]))
                if last < bars:
                    row[last + 1] = 2**30
                above, row = row, above
            found[pair] = above[bars]
        return found

    def by_rows(a: Int16s, b: Int16s) -> Int32s:
        found: Int32s = distances(np.ascontiguousarray(a[:BARS].T), np.ascontiguousarray(b[:BARS].T))
        return found

    return by_rows


def in_dtaidistance() -> Callable[[Int16s, Int16s], object]:
    from dtaidistance import dtw

    def one_by_one(a: Int16s, b: Int16s) -> object:
        x, y = (np.ascontiguousarray(each[:BARS, :FEW].T, dtype=np.float64) for each in (a, b))
        return [dtw.distance_fast(one, other, window=BAND + 1) for one, other in zip(x, y, strict=True)]

    return one_by_one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    a, b = closes(options.pairs, 0), closes(options.pairs, 1)
    ways: dict[str, tuple[Callable[[Int16s, Int16s], object], float]] = {"whole arrays (ours)": (whole_arrays, 1.0)}
    first: dict[str, float] = {}
    if find_spec("numba"):
        started = process_time()
        compiled = in_numba()
        if not np.array_equal(compiled(a[:, :100], b[:, :100]), warping_distances(a[:, :100], b[:, :100])):
            raise AssertionError("numba finds other distances")
        first["numba"] = process_time() - started
        ways["numba"] = compiled, 1.0
    if find_spec("dtaidistance"):
        started = process_time()
        ways["dtaidistance"] = in_dtaidistance(), options.pairs / min(FEW, options.pairs)
        first["dtaidistance"] = process_time() - started
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (way, times) in ways.items():
            started = process_time()
            way(a, b)
            seconds[name].append(times * (process_time() - started))
    rows = [[name, f"{np.median(took):.3f}", f"{first.get(name, 0.0):.2f}"] for name, took in seconds.items()]
    print(table(["way", f"seconds for {options.pairs} pairs", "import and compilation"], rows))
    if options.json is not None:
        options.json.write_text(json.dumps({"seconds": seconds, "first": first}, indent=2) + "\n")


if __name__ == "__main__":
    main()
