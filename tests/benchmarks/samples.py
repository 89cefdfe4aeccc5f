"""Seconds and memory of 600 samples of one symbol, cold and warm, against all patterns of a home.

    python -m tests.benchmarks.samples --home H SYMBOL [--threads N] [--repeat K]

Cold is the first answer in a fresh process, with everything loaded from the tables. Warm is the same work with the
state loaded. Nothing is stored and nothing re-used; the work goes through the Dask cluster in `--threads` chunks.
"""

import argparse
import resource
from time import perf_counter

import numpy as np

from kline_core.cluster import open_cluster
from kline_core.keys import ResourceKey
from kline_core.settings import Settings
from kline_core.tables import Home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("symbol")
    parser.add_argument("--home", required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    home = Home(options.home)
    key = ResourceKey.newest(home, Settings())
    with open_cluster(threads=options.threads) as cluster:
        times, stages = [], []
        for _ in range(1 + options.repeat):
            start = perf_counter()
            overview = cluster.load(key)
            dates = cluster.plan(key, options.symbol, 600, None)
            stored = np.zeros(len(dates), np.int64)
            scored = list(cluster.score(key, options.symbol, dates, stored, cluster.threads))
            times.append(perf_counter() - start)
            stages.append({name: sum(part.seconds[name] for part in scored) for name in scored[0].seconds})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    warm = np.array(times[1:])
    print(
        f"{len(dates)} samples of {options.symbol}, {overview.n_patterns} patterns, {options.threads or 'all'} threads"
    )
    print("load: " + ", ".join(f"{name} {value:.2f} s" for name, value in overview.seconds.items()))
    print(f"cold {times[0]:.2f} s; warm median {np.median(warm):.3f} s, from {warm.min():.3f} to {warm.max():.3f}")
    middle = stages[1 + int(np.argsort(warm)[len(warm) // 2])]
    print("warm, added up over threads: " + ", ".join(f"{name} {value:.3f} s" for name, value in middle.items()))
    print(f"peak memory of the process {peak:.0f} MiB")


if __name__ == "__main__":
    main()
