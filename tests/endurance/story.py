"""Days of a home: a delivery, patterns, a run on a standing worker, and upkeep once a week.

Real days would take years, and so the clock of the upkeep is moved: it keeps what was needed since the moment at which
the day of `keep_days` days ago ended. Files, commits and records keep their true times.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

import kline_core as kl
from kline_core.compute.opening import open_cluster
from kline_core.maintenance.upkeep import compact, vacuum
from kline_core.settings import Settings
from kline_core.store.home import Home
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import market, write_encoder

HISTORY = 60
"""Sessions with bars before the first day."""
WEEK = 5
SAMPLES = 25


class Story:
    """A home to which a day comes at a time."""

    def __init__(self, folder: Path, scheduler: str, days: int, symbols: int, keep_days: int, samples: int = SAMPLES):
        self.home = Home(folder / "home", create=True)
        self.scheduler, self.keep_days, self.samples = scheduler, keep_days, samples
        self.settings: Settings = SMALL_SETTINGS
        self.weights = write_encoder(folder / "weights.safetensors")
        self._bars = market(symbols, HISTORY + days, seed=1)[
            ["symbol", "date", "open", "high", "low", "close", "volume", "adj_factor"]
        ]
        self._dates = np.unique(self._bars["date"])
        self._ended: list[datetime] = []
        kl.ingest(self.home, self._bars[self._bars["date"] < self._dates[HISTORY]])
        self._compute()

    def day(self) -> None:
        """The next day, and the upkeep of the week if it is due."""
        done = len(self._ended)
        kl.ingest(self.home, self._bars[self._bars["date"] == self._dates[HISTORY + done]])
        self._compute()
        self._ended.append(datetime.now(UTC))
        if (done + 1) % WEEK == 0:
            self.maintain()

    def _compute(self) -> None:
        # A client of its own each time, as each night's run has.
        with open_cluster(self.scheduler) as cluster:
            cluster.update_patterns(self.home, self.settings.patterns, self.weights, "cpu")
            report = kl.compute_factor(
                self.home,
                samples=self.samples,
                settings=self.settings,
                encoder=self.weights,
                device="cpu",
                cluster=cluster,
                max_failed_share=1,
            ).report
        assert report is not None
        assert report.count("samples") > 0

    def maintain(self) -> None:
        """The upkeep of a week."""
        compact(self.home)
        if len(self._ended) > self.keep_days:
            now = self._ended[-1 - self.keep_days] + timedelta(days=self.keep_days)
            vacuum(self.home, self.keep_days, self.keep_days, now)
