"""A vendor's folder: three symbols, of which some may be late."""

from collections.abc import Mapping
from pathlib import Path

from kline_core.encoder.synthetic import random_walk
from kline_core.typing import Dates


def deliver(folder: Path, sessions: Dates, until: str, sooner: Mapping[str, str]) -> None:
    """Write a file of bars for each symbol, up to a session; for those in `sooner` up to another one."""
    frame = random_walk(3, len(sessions), seed=3).to_frame(prefix="S")
    frame["date"] = list(sessions) * 3
    for symbol, rows in frame.groupby("symbol"):
        rows[rows["date"] <= sooner.get(str(symbol), until)].to_csv(folder / f"{symbol}.csv", index=False)
