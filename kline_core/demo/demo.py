"""Steps and report of the demo: the whole path on real bars of five US stocks (`kline_core.demo.stocks`)."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core._text import table
from kline_core.bars.ingest_report import IngestReport
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.demo.stocks import SYMBOLS, load_us_stocks
from kline_core.errors import HomeError
from kline_core.evaluation.forward_returns import forward_returns
from kline_core.evaluation.information_coefficient import RankIC
from kline_core.factor.explain import explain_sample
from kline_core.factor.scoring import plan_dates
from kline_core.factor.state import loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.patterns.update import PatternsUpdate
from kline_core.plots.match_plot import match_picture
from kline_core.settings import Settings
from kline_core.store.home import Home
from kline_core.symbols import symbol_file_name

FOLDER = "demo-csv"
"""Folder in a demo home with the bars as CSV files; it marks the home as a demo home."""
PICTURE = "match.png"
CALENDAR = "XNYS"
LAST_DAY = "2013-03-01"
"""Day of the newest bars, and of the demo's run."""


@dataclass(frozen=True, slots=True)
class DemoSymbol:
    """One row of the demo's table."""

    result: SymbolResult
    latest: np.datetime64
    """Newest sample date."""
    value: float
    """Its value, NaN if it failed."""
    ic: RankIC
    """Rank IC of the run's values with 5-bar forward returns."""

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        return self.result.to_dict() | {
            "latest": str(self.latest),
            "value": _or_none(self.value),
            "rank_ic": _or_none(self.ic.value),
            "rank_ic_se": _or_none(self.ic.se),
            "rank_ic_pairs": self.ic.n,
            "rank_ic_independent": self.ic.n_independent,
        }


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Report of the demo."""

    home: Path
    samples: int
    """Sample dates asked of each symbol."""
    ingested: IngestReport
    patterns: PatternsUpdate
    run: RunReport
    symbols: list[DemoSymbol]
    seconds: dict[str, float]
    """Wall-clock seconds, by stage and in total."""
    picture: Path

    @property
    def commands(self) -> list[str]:
        """Commands to try next."""
        kline = f"kline --home {shlex.quote(str(self.home))}"
        return [
            f"{kline} match AAPL 2008-10-10 --png match.png",
            f"{kline} run",
            f"{kline} export factors.csv",
            f"{kline} up",
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "home": str(self.home),
            "bars": {name: getattr(self.ingested, name) for name in ("read", "stored_new", "unchanged", "rejected")},
            "patterns": self.patterns.to_dict(),
            "run_id": self.run.run_id,
            "symbols": [symbol.to_dict() for symbol in self.symbols],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "picture": str(self.picture),
            "commands": self.commands,
        }

    def text(self) -> str:
        """The report as text for a terminal: table, notes, seconds, picture, next commands."""
        head = ["symbol", "samples", "done", "failed", "re-used", "latest date", "value"]
        rows = [
            [
                *(getattr(symbol.result, name) for name in ("symbol", "samples", "done", "failed", "reused")),
                str(symbol.latest),
                _number(symbol.value, ".3f"),
                f"{_number(symbol.ic.value, '+.3f')} ± {_number(symbol.ic.se, '.3f')}",
            ]
            for symbol in self.symbols
        ]
        seconds = ", ".join(f"{name} {value:.1f}" for name, value in self.seconds.items())
        return "\n".join(
            [
                table([*head, f"rank IC, {Settings().factor.return_horizon} bars"], rows),
                "",
                *self._notes(),
                "",
                f"seconds: {seconds}",
                f"picture: {self.picture}",
                "",
                "Try next:",
                *(f"  {command}" for command in self.commands),
                "The last one shows the run that has just been made, with its pictures, in the browser.",
            ]
        )

    def _notes(self) -> Iterator[str]:
        bars, patterns = self.ingested, self.patterns
        yield f"bars: {bars.read} = {bars.stored_new} new + {bars.unchanged} stored already + {bars.rejected} rejected"
        yield f"patterns: {patterns.added} new, {patterns.total} in all"
        for result in self.run.symbols:
            if result.samples < self.samples:
                yield f"{result.symbol}: all of its {result.samples} usable dates, fewer than {self.samples}"
        for reason, count in self.run.reasons.most_common():
            yield f"failed: {count} x {reason}"
        yield from ("", *_verdict([symbol for symbol in self.symbols if not np.isnan(symbol.ic.se)]))


def write_bars(path: Path) -> tuple[Home, Path]:
    """Make the home and, in it, a folder with one CSV file of bars per symbol; returns both.

    Args:
        path: A folder that is missing, empty, or the home of an earlier demo.

    Raises:
        InputError: bokeh_sampledata is not installed.
        HomeError: The folder holds other things, or cannot be written.
    """
    stocks = load_us_stocks()
    home = Home(path, create=True)
    folder = path / FOLDER
    if home.version("bars") != 0 and not folder.is_dir():
        raise HomeError(
            f"{path} is a home of other bars, to which the demo would add its own; name a new folder", home=home.uri
        )
    folder.mkdir(exist_ok=True)
    for symbol, frame in stocks.groupby("symbol"):
        # pandas writes numbers so that they read back as the same ones.
        frame.drop(columns="symbol").to_csv(folder / f"{symbol_file_name(str(symbol))}.csv", index=False)
    return home, folder


def evaluate(home: Home, report: RunReport, samples: int) -> list[DemoSymbol]:
    """Rows of the demo's table for a run of `samples` samples per symbol, in the order of the run's symbols."""
    key = StateKey.newest(home, Settings())
    loaded = loaded_state(key)
    stored = home.read("factors", ["symbol", "date", "value"], symbols=SYMBOLS, fingerprint=key.fingerprint)
    lines = []
    for result in report.symbols:
        asked = pa.array(plan_dates(loaded, result.symbol, samples, np.datetime64(LAST_DAY)), pa.date32())
        mine = stored.filter(pc.equal(stored["symbol"].cast(pa.string()), result.symbol))
        chosen = mine.filter(pc.is_in(mine["date"], asked))
        joined = forward_returns(chosen, loaded.frames[result.symbol], key.settings)
        lines.append(DemoSymbol(result, joined.dates[-1], float(joined.values[-1]), joined.rank_ic()))
    return lines


def draw(home: Home, file: Path) -> Path:
    """Draw the newest sample of the first symbol with its matches into `file`; returns `file`."""
    return match_picture(explain_sample(home, SYMBOLS[0], None, Settings()), file)


def _verdict(symbols: Sequence[DemoSymbol]) -> Iterator[str]:
    """What rank ICs are, and what these say."""
    yield "Value: weighted share of the most similar charts after which the price rose. Rank IC: its rank correlation"
    yield "with the return that followed, ± one standard error, which counts overlapping returns once."
    far = [symbol.result.symbol for symbol in symbols if abs(symbol.ic.value) > 2 * symbol.ic.se]
    if far:
        chance = 1 - 0.9545 ** len(symbols)
        yield f"It lies more than two standard errors from zero for {', '.join(far)}. Among {len(symbols)} symbols"
        yield f"chance alone does that to one or more in {chance:.0%} of cases, so it proves nothing."
    else:
        yield "It is about zero: nowhere two standard errors away. On these stocks alone the value did not tell which"
        yield "days would be followed by higher returns."


def _number(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
