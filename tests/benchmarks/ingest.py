"""How long a folder of CSV files takes to ingest, beside reading the same files with pyarrow alone.

    python -m tests.benchmarks.ingest [--files 5000] [--rows 2500] [--rounds 3] [--place DIR] [--json FILE]

The files are like those of AkShare: one a symbol, named by its code, with a BOM and rounded prices. In each round, by
turns and each in a process of its own:

* `pyarrow`: `pyarrow.csv.read_csv` of every file, one after the other, on all cores; nothing is kept.
* `first`: an ingest of the folder into an empty home. `again`: the same files once more, which changes nothing.

Two figures of each: seconds by the clock, which others on the machine make worse, and of all threads together. The
bound is a minute for 5,000 files of 2,500 rows on two cores, or twice what pyarrow takes.
"""

import argparse
import json
import resource
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
from pyarrow import csv

from kline_core._text import table
from kline_core.api.data import ingest
from tests.benchmarks.machine import Elsewhere, description
from tests.benchmarks.scale import alone

WAYS = ("pyarrow", "first", "again")


def write_files(place: Path, files: int, rows: int) -> Path:
    """A folder of so many files, made if it is not there."""
    folder = place / f"files-{files}-{rows}"
    done = folder / "done"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(7)
    weekdays = np.arange("1990-01-01", "2090-01-01", dtype="datetime64[D]")
    days = weekdays[np.is_busday(weekdays)][:rows].astype(str).tolist()
    for number in range(files):
        close = 10 * np.exp(np.cumsum(draw.normal(0, 0.01, rows)))
        volume = draw.integers(10_000, 10_000_000, rows)
        lines = ["\ufeffdate,open,high,low,close,volume,amount"]
        cells = zip(days, close.tolist(), volume.tolist(), strict=True)
        lines += [f"{day},{x:.2f},{1.01 * x:.2f},{0.99 * x:.2f},{x:.2f},{v},{v * x:.2f}" for day, x, v in cells]
        code = f"{600_000 + number:06}" if number < 4000 else f"{number - 3999:06}"
        (folder / f"{code}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done.touch()
    return folder


def measured(work: Callable[[], int]) -> dict[str, float]:
    """What some work took, and how many rows it read."""
    began, spent = perf_counter(), process_time()
    rows = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": perf_counter() - began, "cpu": process_time() - spent, "rows": rows, "peak_mib": peak}


def with_pyarrow(folder: str) -> dict[str, float]:
    """Every file read by pyarrow, with its numbers as numbers."""
    return measured(lambda: sum(len(csv.read_csv(file)) for file in sorted(Path(folder).glob("*.csv"))))


def with_ingest(folder: str, home: str) -> dict[str, float]:
    """The folder ingested into a home."""
    return measured(lambda: ingest(home, Path(folder)).read)


def compared(place: Path, files: int, rows: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """What each way took, by round."""
    folder, home = str(write_files(place, files, rows)), place / "home"
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        shutil.rmtree(home, ignore_errors=True)
        found["pyarrow"].append(alone(with_pyarrow, folder))
        for way in WAYS[1:]:
            found[way].append(alone(with_ingest, folder, str(home)))
    for way, each in found.items():
        if {int(one["rows"]) for one in each} != {files * rows}:
            raise AssertionError(f"{way} did not read all of {files * rows} rows")
    return found


def text(found: dict[str, list[dict[str, float]]], files: int, busy: float) -> str:
    """The medians as a table, with the ratios to pyarrow."""
    middle = {
        way: {name: statistics.median(one[name] for one in each) for name in ("wall", "cpu", "peak_mib")}
        for way, each in found.items()
    }
    base = middle["pyarrow"]
    rows = [
        [
            way,
            f"{each['wall']:.1f}",
            f"{each['wall'] / base['wall']:.1f}",
            f"{each['cpu']:.1f}",
            f"{each['cpu'] / base['cpu']:.1f}",
            f"{1000 * each['wall'] / files:.2f}",
            f"{each['peak_mib']:.0f}",
        ]
        for way, each in middle.items()
    ]
    shown = table(["way", "wall s", "x pyarrow", "CPU s", "x pyarrow", "ms a file", "peak MiB"], rows)
    return f"{shown}\nother programs kept {busy:.2f} cores busy meanwhile" + ("; measure again" if busy > 0.2 else "")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.ingest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=Path, help="folder for the files, used again where they are there")
    parser.add_argument("--json", type=Path, help="file for everything that was found")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as scratch:
        elsewhere = Elsewhere()
        found = compared(options.place or Path(scratch), options.files, options.rows, options.rounds)
        busy = elsewhere.cores()
    print(text(found, options.files, busy))
    if options.json is not None:
        document: dict[str, Any] = {"machine": description(("pandas", "pyarrow", "deltalake")), "elsewhere": busy}
        options.json.write_text(json.dumps(document | {"ways": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
