"""What `tests.benchmarks.scale` measures; each function runs in a process of its own and answers with plain values."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kline_core.arrivals import arrivals
from kline_core.change import session_change
from kline_core.cluster import open_cluster
from kline_core.extend import extend_patterns
from kline_core.ingest import ingest
from kline_core.keys import ResourceKey
from kline_core.latest import latest_values, ranking
from kline_core.run import Request, Run, run_symbols
from kline_core.tables import Home
from tests.benchmarks.market import CALENDAR, Market


class Clock:
    """Seconds by the clock, seconds of all threads, and the process's peak of memory so far, by step."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.steps[name] = {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "peak": peak_megabytes(),
        }


def peak_megabytes() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def daily(home: Path, file: Path, market: Market, threads: int) -> dict[str, Any]:
    """One more bar of every symbol: what the flow `daily` does, without Prefect."""
    clock, store, settings = Clock(), Home(home), market.settings
    day = market.sessions[-1]
    with clock.step("start"), open_cluster(threads=threads) as cluster:
        with clock.step("ingest"):
            taken = ingest([file], store)
            arrivals(store, CALENDAR, day).check(0.05)
        with clock.step("extend"):
            extended = extend_patterns(store, settings.patterns, cluster.encoding(store))
        with clock.step("load"):
            run = Run(store, cluster, ResourceKey.newest(store, settings), Request(samples=1, as_of=day))
        with clock.step("score"):
            report = run_symbols(run)
        with clock.step("publish"):
            latest = latest_values(store, run.symbols, report.fingerprint, day)
            change = session_change(store, report.fingerprint, run.symbols, day)
            ranked = ranking(latest)
    del clock.steps["start"]
    assert taken.stored_new == market.symbols == extended.added, (taken.stored_new, extended)
    assert report.count("done") == market.symbols == change.compared == len(latest), report.to_dict()
    assert change.day == day
    assert len(ranked) == min(40, market.symbols)
    return {
        "steps": clock.steps,
        "stages": report.seconds,
        "loading": run.overview.seconds,
        "patterns": report.n_patterns,
        "peak": peak_megabytes(),
        "value": float(np.nansum(latest["value"])),
    }
