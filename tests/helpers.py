"""What the tests of whole runs share: homes with runs on them, markets with nothing to find, a cluster elsewhere."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
from distributed import Client

from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.synthetic import random_walk
from kline_core.factor import scoring
from kline_core.factor.batch import Batch, SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.state_key import StateKey
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.settings import FactorSettings, Settings
from kline_core.store.home import Home
from tests.homes import SMALL, add_bars, make_home

PRICES = ["open", "high", "low", "close"]
SMALL_SETTINGS = Settings(SMALL, FactorSettings(return_horizon=3, isolation_bars=5))
"""Windows of five bars: little to encode, and matches after a few weeks."""


class Bench:
    """A home, its settings and its encoder."""

    def __init__(self, home, settings=SMALL_SETTINGS, weights=None):
        self.home, self.settings = home, settings
        self.weights = None if weights is None else str(weights)

    @classmethod
    def of(cls, path, frame, settings=SMALL_SETTINGS, weights=None):
        bench = cls(make_home(path, frame), settings, weights)
        bench.extend()
        return bench

    @property
    def key(self):
        return StateKey.newest(self.home, self.settings, self.weights, "cpu")

    def extend(self):
        return update_patterns(self.home, self.settings.patterns, LocalWindowEncoder(Encoder.load(self.weights, "cpu")))

    def add(self, frame):
        add_bars(self.home, frame)
        self.extend()

    def start(self, cluster, progress=None, **request):
        return Run(self.home, cluster, self.key, Request(**request), progress)

    def run(self, cluster, **request):
        return run_symbols(self.start(cluster, **request))

    def copy(self, path):
        """Another home with the same bars and patterns, and without values."""
        for table in ("bars", "patterns"):
            shutil.copytree(self.home.folder / table, path / table)
        return Bench(Home(path), self.settings, self.weights)

    def rows(self, table, until=None, without=("run_id",)):
        """Rows of a table in the order of their keys, with every float as its bits."""
        keys = ["symbol", "date", *(["rank"] if table == "matches" else [])]
        rows = self.home.read(table).drop_columns(list(without))
        if rows.num_rows:
            rows = rows.sort_by([(key, "ascending") for key in keys])
        return [
            {name: value.hex() if isinstance(value, float) else value for name, value in row.items()}
            for row in rows.to_pylist()
            if until is None or row["date"] <= until.item()
        ]

    def versions(self):
        return {table: self.home.version(table) for table in ("factors", "matches")}


def batch_of(symbol, dates, stored=None):
    """Samples of one symbol; without the histories that are stored, none of them is."""
    if stored is None:
        stored = np.full(len(dates), NEVER_REUSED, np.int64)
    return Batch((SymbolSamples(symbol, dates, stored),))


def break_batches(monkeypatch, days, error):
    """Have the computation break of whatever batch holds one of the days; the sizes of the batches that are begun."""
    real, sizes = scoring.score_batch, []

    def score_batch(state, batch):
        sizes.append(len(batch))
        if any(np.isin(part.dates, days).any() for part in batch.parts):
            raise error
        return real(state, batch)

    monkeypatch.setattr(scoring, "score_batch", score_batch)
    return sizes


def plain(bars, start="2010-01-04", prefix="SYN"):
    """Synthetic bars with the columns of the `bars` table."""
    return bars.to_frame(start, prefix).assign(amount=np.nan, adj_factor=1.0, suspended=False)


def times(frame, levels):
    """The same bars with the prices of each row multiplied by `levels`, which may differ by column (n, 4)."""
    scaled = frame.copy()
    scaled[PRICES] = frame[PRICES].to_numpy() * levels
    return scaled


def walks_together(groups, per_group, n_bars, seed, share=0.8):
    """Random walks of which those of one group share part of every step, as the shares of one industry do.

    Each of them by itself is a pure random walk, and nothing in the past of all of them says anything of what comes.
    """
    frame = plain(random_walk(groups * per_group, n_bars, seed))
    common = random_walk(groups, n_bars, seed + 1).to_frame()[PRICES].to_numpy().reshape(groups, 1, n_bars, 4) / 100
    common = np.broadcast_to(common, (groups, per_group, n_bars, 4)).reshape(-1, 4)
    own = frame[PRICES].to_numpy() / 100
    return times(frame, 100 * common ** np.sqrt(share) * own ** np.sqrt(1 - share) / frame[PRICES].to_numpy())


def perturbed(frame, after, seed):
    """The frame with the bars of all symbols after a date replaced by a random walk from the last close on."""
    parts = []
    for _, bars in frame.groupby("symbol", sort=False):
        later = bars["date"].to_numpy() > after
        walk = random_walk(1, max(1, int(later.sum())), seed + len(parts), 0.04).to_frame()[PRICES].to_numpy()
        close = bars["close"].to_numpy()
        last = close[~later][-1] if (~later).any() else close[0]
        bars = bars.copy()
        bars.loc[later, PRICES] = walk[: later.sum()] / 100 * last
        bars.loc[later, ["suspended", "adj_factor"]] = [False, bars["adj_factor"].iloc[0]]
        parts.append(bars)
    return type(frame)(np.concatenate([part.to_numpy() for part in parts]), columns=frame.columns).astype(frame.dtypes)


@contextmanager
def scheduler_process(folder, workers=1, threads=2):
    """A `dask scheduler` and `dask worker`s, processes on the loopback interface: the address, and the scheduler."""
    file = folder / "scheduler.json"
    common = ["--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--port", "0", *common]]
    commands += [[*dask, "worker", "--nthreads", str(threads), "--no-nanny", *common] for _ in range(workers)]
    processes = []
    with (folder / "log").open("w") as log:
        try:
            for command in commands:
                processes.append(  # noqa: PERF401  those started before one fails are ended too
                    subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=dict(os.environ))
                )
            # Waits for the file, and then for the workers.
            with Client(scheduler_file=str(file), timeout=30, set_as_default=False) as client:
                if workers:
                    client.wait_for_workers(workers, timeout=30)
                address = client.scheduler.address
            yield address, processes[0]
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait(30)
