"""Change since the previous session: the newest values of a universe against the earlier ones.

The newest session is the newest stored date with at least `MIN_NEWEST` times as many symbols as the fullest date, so
that one symbol whose bars are ahead of the others makes no session. The previous session is the newest earlier date
with at least `MIN_EARLIER` times as many symbols as the newest one. An earlier run stored it as its newest date: the
other sample dates of a symbol are its own, and few symbols share them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core._text import abbreviated
from kline_core.by_year import Fingerprint
from kline_core.evaluation.information_coefficient import rank_ic
from kline_core.store.home import Home

SHOWN: Final = 5
MIN_NEWEST: Final = 0.5
MIN_EARLIER: Final = 0.8
MAX_DAYS: Final = 31
"""Calendar days beyond which an earlier session is too old to compare with."""


@dataclass(frozen=True, slots=True)
class Move:
    """Value of a symbol on both sessions."""

    symbol: str
    before: float
    now: float

    @property
    def change(self) -> float:
        """Rise of the value."""
        return self.now - self.before


@dataclass(frozen=True, slots=True)
class Change:
    """Comparison of two sessions, symbol by symbol."""

    day: np.datetime64 | None
    """datetime64[D]: the newer session; None if nothing is stored."""
    before: np.datetime64 | None
    """datetime64[D]: the previous session; None if none is stored."""
    compared: int = 0
    """Symbols with a value on both sessions."""
    mean_absolute: float = float("nan")
    """Mean absolute change; NaN if no symbol is compared."""
    rank_correlation: float = float("nan")
    """Spearman's coefficient of the values of both sessions; NaN for fewer than three symbols."""
    up: list[Move] = field(default_factory=list)
    """Largest rises first, at most `SHOWN`."""
    down: list[Move] = field(default_factory=list)
    """Largest falls first, at most `SHOWN`."""
    gained: list[str] = field(default_factory=list)
    """Symbols whose sample failed on the previous session and has a value now."""
    lost: list[str] = field(default_factory=list)
    """Symbols whose sample had a value and fails now."""
    only_now: list[str] = field(default_factory=list)
    """Symbols with a sample on the newer session only."""
    only_before: list[str] = field(default_factory=list)
    """Symbols with a sample on the previous session only."""
    earlier: dict[str, float] = field(default_factory=dict)
    """Every value of the previous session by symbol; samples without one are left out."""

    def markdown(self) -> str:
        """The comparison as a few lines of Markdown."""
        if self.day is None:
            return "No value is stored yet."
        if self.before is None:
            return f"No earlier session is stored to compare {self.day} with."
        lines = [f"{self.compared} symbols have a value on {self.day} and on {self.before}, stored before it."]
        if self.compared:
            lines[0] += f" Mean absolute change: {self.mean_absolute:.3f}."
        if not math.isnan(self.rank_correlation):
            lines[0] += f" Rank correlation: {self.rank_correlation:+.2f}."
        for name, moves in (("up", self.up), ("down", self.down)):
            if moves:
                listed = ", ".join(
                    f"**{move.symbol}** {move.before:.2f} → {move.now:.2f} ({move.change:+.2f})" for move in moves
                )
                lines.append(f"- most {name}: {listed}")
        for what, symbols in (
            ("have a value again", self.gained),
            ("lost theirs", self.lost),
            (f"have no sample on {self.before}", self.only_now),
            (f"have no sample on {self.day}", self.only_before),
        ):
            if symbols:
                lines.append(f"- {len(symbols)} symbols {what}: {abbreviated(symbols)}")
        return "\n".join([lines[0], *([""] if lines[1:] else []), *lines[1:]])


def session_change(
    home: Home, fingerprint: Fingerprint, symbols: Sequence[str] | None, day: np.datetime64 | None
) -> Change:
    """Compare the newest stored session up to a day with the previous one.

    Args:
        home: Home with the values.
        fingerprint: Fingerprint of the values.
        symbols: Only these; None for all.
        day: datetime64[D]: last date to consider; None for the newest.
    """
    rows = home.read("factors", ["symbol", "date", "value"], symbols=symbols, fingerprint=fingerprint)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    days, counts = np.unique(dates if day is None else dates[dates <= day], return_counts=True)
    if len(days) == 0:
        return Change(None, None)
    at = int(np.flatnonzero(counts >= MIN_NEWEST * counts.max())[-1])
    known = np.flatnonzero(counts[:at] >= MIN_EARLIER * counts[at])
    if len(known) == 0 or days[at] - days[known[-1]] > np.timedelta64(MAX_DAYS, "D"):
        return Change(days[at], None)
    newest, earlier = days[at], days[known[-1]]
    return _compared(newest, earlier, *(_values(rows, dates == each) for each in (newest, earlier)))


def _values(rows: pa.Table, chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "pd.Series[float]":
    part = rows.filter(pa.array(chosen))
    values: pd.Series[float] = pd.Series(part["value"].to_numpy(), index=part["symbol"].to_pylist(), dtype=float)
    return values.sort_index()


def _compared(
    newest: np.datetime64, earlier: np.datetime64, now: "pd.Series[float]", before: "pd.Series[float]"
) -> Change:
    both = now.index.intersection(before.index)
    had, has = before[both].notna(), now[both].notna()
    x, y = before[both][had & has], now[both][had & has]
    # Stable, so that equal moves stay in the order of their symbols.
    moves = (y - x).sort_values(kind="stable", ascending=False)
    up, down = (
        moves[moves > 0].index[:SHOWN],
        (-moves[moves < 0]).sort_values(kind="stable", ascending=False).index[:SHOWN],
    )
    return Change(
        day=newest,
        before=earlier,
        compared=len(x),
        mean_absolute=float((y - x).abs().mean()),
        rank_correlation=rank_ic(np.asarray(x, np.float64), np.asarray(y, np.float64)),
        up=[Move(name, float(x[name]), float(y[name])) for name in up],
        down=[Move(name, float(x[name]), float(y[name])) for name in down],
        gained=both[~had & has].tolist(),
        lost=both[had & ~has].tolist(),
        only_now=now.index.difference(before.index).tolist(),
        only_before=before.index.difference(now.index).tolist(),
        earlier={str(name): float(value) for name, value in before.dropna().items()},
    )
