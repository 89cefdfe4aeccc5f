"""`kline plan` beside what then happens: a synthetic market is planned, and each of its jobs done for real.

    python -m tests.benchmarks.plan --place DIR [--symbols 200] [--bars 750] [--years 1] [--threads N]

The plan and each job are of a process of their own, one after the other; on a machine whose load changes meanwhile
the ratios tell of that as well. Daily comes after the first run, so that values are stored as on any day.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from kline_core._text import table
from kline_core.api.plan import plan
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.encoder.synthetic import synthetic_market
from kline_core.factor.sample_dates import usable_dates
from kline_core.factor.state_key import StateKey
from kline_core.planning.extent import DAYS_OF_A_YEAR
from kline_core.settings import Settings
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.benchmarks.market import linked
from tests.benchmarks.scale import alone
from tests.benchmarks.scale_steps import peak_megabytes

SETTINGS = Settings()


def bars_of(symbols: int, bars: int) -> list[pa.Table]:
    """The rows of a market: of all days but the newest, and of the newest."""
    frame = synthetic_market(symbols, bars, 1).to_frame().assign(amount=np.nan, adj_factor=1.0, suspended=False)
    schema = table_schema("bars")
    newest = frame["date"] == frame["date"].max()
    return [
        pa.Table.from_pandas(part[schema.names], schema, preserve_index=False)
        for part in (frame[~newest], frame[newest])
    ]


def planned(place: Path, years: float, threads: int | None) -> dict[str, Any]:
    return plan(place, years=years, threads=threads).to_dict()


def index(place: Path, threads: int | None) -> dict[str, float]:
    began = time.perf_counter()
    from kline_core.compute.opening import open_cluster

    home = Home(place)
    with open_cluster(threads=threads) as cluster:
        made = cluster.update_patterns(home, SETTINGS.patterns)
    return {"seconds": time.perf_counter() - began, "patterns": made.total}


def run(place: Path, threads: int | None, samples: int, years: float | None, extend: bool) -> dict[str, float]:
    began = time.perf_counter()
    from kline_core.compute.opening import open_cluster

    home = Home(place)
    with open_cluster(threads=threads) as cluster:
        if extend:
            cluster.update_patterns(home, SETTINGS.patterns)
        dates = None
        if years is not None:
            newest = max(days[-1] for days in usable_dates(home, SETTINGS.patterns).values())
            dates = usable_dates(home, SETTINGS.patterns, first=newest - int(years * DAYS_OF_A_YEAR) + 1)
        report = run_symbols(Run(home, cluster, StateKey.newest(home, SETTINGS), Request(samples=samples, dates=dates)))
    return {
        "seconds": time.perf_counter() - began,
        "samples": report.count("samples") - report.count("reused"),
        "peak": 1e6 * peak_megabytes() * 1.048576,
    }


def values_bytes(place: Path) -> int:
    home = Home(place)
    return sum(size for name in ("factors", "matches") for size in home.files(name).values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--bars", type=int, default=750)
    parser.add_argument("--years", type=float, default=1.0)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    place, threads = options.place.absolute(), options.threads
    shutil.rmtree(place / "home", ignore_errors=True)
    history, day = bars_of(options.symbols, options.bars)
    home = Home(place / "home", create=True)
    home.append("bars", history)
    loads = [psutil.getloadavg()[0]]
    plans = [alone(planned, place / "home", options.years, threads)]
    done: dict[str, dict[str, float]] = {"index": alone(index, place / "home", threads)}
    loads.append(psutil.getloadavg()[0])
    filled = linked(place / "home", place / "filled")
    done["backfill"] = alone(run, filled, threads, 600, options.years, False)
    first = linked(place / "home", place / "first")
    done["first"] = alone(run, first, threads, 600, None, False)
    stored = values_bytes(first)
    Home(first).append("bars", day)
    done["daily"] = alone(run, first, threads, 1, None, True)
    loads.append(psutil.getloadavg()[0])
    plans.append(alone(planned, place / "home", options.years, threads))
    loads.append(psutil.getloadavg()[0])
    report(plans, done, {"patterns": sum(home.files("patterns").values()), "values": stored}, loads)


def report(plans: list[dict[str, Any]], done: dict[str, Any], disk: dict[str, int], loads: list[float]) -> None:
    rows: list[list[object]] = []

    def row(what: str, before: float, after: float, real: float) -> None:
        rows.append(
            [what, *(f"{value:,.1f}" for value in (before, after, real)), f"{real / before:.2f}", f"{real / after:.2f}"]
        )

    seconds = [{job["name"]: job["seconds"] for job in each["projected"]} for each in plans]
    for name, found in done.items():
        row(f"{name}, seconds", seconds[0][name], seconds[1][name], found["seconds"])
    counted = [each["counted"] for each in plans]
    row("patterns", *(each["patterns"] for each in counted), done["index"]["patterns"])
    for name in ("first", "backfill"):
        row(f"{name}, samples", *(each[name]["samples"] for each in counted), done[name]["samples"])
    computed = [each["computed"] for each in plans]
    row("peak memory, MB", *(each["memory_bytes"]["peak"] / 1e6 for each in computed), done["first"]["peak"] / 1e6)
    row("disk of patterns, MB", *(each["disk_bytes"]["patterns"] / 1e6 for each in computed), disk["patterns"] / 1e6)
    values = (each["disk_bytes"]["values of the first run"] / 1e6 for each in computed)
    row("disk of values, MB", *values, disk["values"] / 1e6)
    print(table(["what", "planned before", "planned after", "happened", "ratio to before", "to after"], rows))
    print("load averages before, after indexing, after the runs, at the end:", *(f"{load:.1f}" for load in loads))


if __name__ == "__main__":
    main()
