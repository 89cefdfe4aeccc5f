"""Homes that hold a synthetic market, for the benchmark of scale.

A home is made once and kept: bars of all days but the newest, the patterns that they give, the values of the newest
day among them, and one vendor file with the day that is to come. The history lies in one commit, and the last week
in one commit a day, as it does between two compactions. Measurements work on copies whose files are links: Delta never
changes a file.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core.bars.sessions import session_ordinal, sessions_until
from kline_core.compute.opening import open_cluster
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.encoder.synthetic import synthetic_market
from kline_core.factor.state_key import StateKey
from kline_core.settings import PatternSettings, Settings
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema

CALENDAR = "XSHG"
UNTIL = np.datetime64("2024-12-31")
WEEK = 5
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Market:
    """How much there is."""

    symbols: int
    bars: int
    """Sessions, that of the day that is to come included."""
    stride: int

    @property
    def settings(self) -> Settings:
        """Patterns every `stride` sessions."""
        return Settings(PatternSettings(pattern_stride=self.stride, calendar=CALENDAR))

    @property
    def name(self) -> str:
        """A folder of its own."""
        return f"{self.symbols}x{self.bars}-{self.stride}"

    @property
    def sessions(self) -> "np.ndarray[tuple[int], np.dtype[np.datetime64]]":
        """The newest of them is one on which a pattern of every symbol becomes known: the dearest kind of day."""
        found = sessions_until(UNTIL, self.bars + self.stride, CALENDAR)
        ends = found[: -self.settings.patterns.outcome_bars or None]
        due = np.flatnonzero(session_ordinal(ends, CALENDAR) % self.stride == 0)[-1]
        last = due + self.settings.patterns.outcome_bars
        return found[last + 1 - self.bars : last + 1]


def made(place: Path, market: Market) -> Path:
    """The folder of a market, made where it is missing: `home` and `day.csv`."""
    folder = place / market.name
    done, home = folder / "done", folder / "home"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sessions = market.sessions
    _write_bars(home, market, sessions, folder / "day.csv")
    _extend(Home(home), market)
    _score(Home(home), market)
    done.touch()
    return folder


def _write_bars(path: Path, market: Market, sessions: "np.ndarray[tuple[int], np.dtype[np.datetime64]]", file: Path):
    home = Home(path, create=True)
    drawn = synthetic_market(market.symbols, market.bars, 0)
    names = [f"S{number:05d}" for number in range(market.symbols)]
    history = market.bars - 1 - WEEK
    home.append("bars", _rows(drawn, names, sessions, slice(0, history)))
    for day in range(history, market.bars - 1):
        home.append("bars", _rows(drawn, names, sessions, slice(day, day + 1)))
    newest = pd.DataFrame({"symbol": names, "date": str(sessions[-1])})
    for name in PRICES:
        newest[name] = getattr(drawn, name)[:, -1]
    newest.assign(volume=1_000_000, adj_factor=1.0).to_csv(file, index=False)


def _extend(home: Home, market: Market) -> None:
    with open_cluster() as cluster:
        cluster.update_patterns(home, market.settings.patterns)


def _score(home: Home, market: Market) -> None:
    """Values of the newest day, so that the next one has a day before it."""
    with open_cluster() as cluster:
        run_symbols(Run(home, cluster, StateKey.newest(home, market.settings), Request(samples=1)))


def _rows(drawn, names, sessions, days) -> pa.Table:
    dates = sessions[days]
    count = len(dates)
    code = np.repeat(np.arange(len(names), dtype=np.int32), count)
    columns = {
        "symbol": pa.DictionaryArray.from_arrays(pa.array(code), pa.array(names)).cast(pa.string()),
        "date": pa.array(np.tile(dates, len(names))),
        **{name: getattr(drawn, name)[:, days].ravel() for name in PRICES},
        "volume": np.full(len(code), 1_000_000.0),
        "amount": pa.nulls(len(code), pa.float64()),
        "adj_factor": np.ones(len(code)),
        "suspended": pa.array(np.zeros(len(code), dtype=bool)),
    }
    schema = table_schema("bars")
    return pa.table([columns[name] for name in schema.names], schema=schema)


def day_before(folder: Path, market: Market) -> None:
    """A copy of a market's home, `copy`, as the run of the day before has left it, its index cache included.

    That of the home would not be trusted in a copy, nor that of other code.
    """
    home = Home(linked(folder / "home", folder / "copy"))
    _extend(home, market)
    with open_cluster() as cluster:
        cluster.load(StateKey.newest(home, market.settings))


def linked(source: Path, target: Path) -> Path:
    """A copy of a home whose files are links to those of the first."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=os.link)
    return target
