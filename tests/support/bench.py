"""Homes with runs on them, and runs that break half way."""

import shutil

import numpy as np

import kline_core as kl
from kline_core.compute.request import Request
from kline_core.compute.run import Run
from kline_core.factor import scoring
from kline_core.factor.batch import Batch, Choice, SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.state_key import StateKey
from kline_core.settings import FactorSettings, Settings
from kline_core.store.home import Home
from tests.support.homes import SMALL, add_bars, make_home

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
        return kl.update_patterns(self.home, settings=self.settings.patterns, encoder=self.weights, device="cpu")

    def add(self, frame):
        add_bars(self.home, frame)
        self.extend()

    def start(self, cluster, progress=None, **request):
        return Run(self.home, cluster, self.key, Request(**request), progress)

    def run(self, cluster, **request):
        """The report of a run that is not judged, over a cluster that is open."""
        asked = {"check": False, "device": "cpu", "settings": self.settings, "encoder": self.weights, **request}
        return kl.compute_factor(self.home, cluster=cluster, **asked).report

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


def chosen_batch(symbol, samples, as_of=None):
    """Samples of one symbol, of which none is stored, on dates that a worker chooses."""
    return Batch(batch_of(symbol, np.zeros(0, "datetime64[D]")).parts, Choice(samples, as_of))


def named_batch(state, batch):
    """A batch with the dates that are chosen for it."""
    if batch.choice is None:
        return batch
    choice = batch.choice.samples, batch.choice.as_of
    return batch.with_dates([scoring.plan_dates(state, symbol, *choice) for symbol in batch.symbols])


def break_batches(monkeypatch, days, error):
    """Have the computation break of whatever batch holds one of the days; the sizes of the batches that are begun."""
    real, sizes = scoring.score_batch, []

    def score_batch(state, batch):
        named = named_batch(state, batch)
        sizes.append(len(named))
        if any(np.isin(part.dates, days).any() for part in named.parts):
            raise error
        return real(state, batch)

    monkeypatch.setattr(scoring, "score_batch", score_batch)
    return sizes
