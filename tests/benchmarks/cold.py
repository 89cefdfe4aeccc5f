"""The process that `tests.benchmarks.ours.cold` starts; it imports nothing that a run does not."""

import argparse
import json
import resource
import sys

import numpy as np

from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.factor.batch import Batch, Choice, SymbolSamples
from kline_core.factor.state_key import StateKey
from kline_core.settings import Settings
from kline_core.store.home import Home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("symbol")
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    key = StateKey.newest(Home(options.home), Settings(), device="cpu")
    with open_cluster(threads=options.threads) as cluster:
        overview = cluster.load(key)
        none = np.zeros(0, "datetime64[D]"), np.zeros(0, np.int64)
        batch = Batch((SymbolSamples(options.symbol, *none),), Choice(options.samples, None))
        scored = [cluster.call(tasks.score, key, batch)]
        used = resource.getrusage(resource.RUSAGE_SELF)
        said = {
            "samples": sum(part.factors.num_rows for part in scored),
            "load": overview.seconds,
            "peak_mib": used.ru_maxrss / 1024,
            "processor_seconds": used.ru_utime + used.ru_stime,
            "torch": "torch" in sys.modules,
        }
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
