"""Coverage of a session: how many symbols of a run have a value on it, and why the others have none."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kline_core.compute.run_report import RunReport
from kline_core.store.schemas import FAILED

_REASONS = 2
_NO_BAR = "no traded bar of the session"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Symbols of a run by whether they have a value on one session."""

    session: np.datetime64 | None
    """datetime64[D]; None if nothing is stored."""
    scored: int
    """Symbols with a value."""
    losses: Counter[str]
    """Symbols without one, by reason."""

    @property
    def expected(self) -> int:
        """Symbols of the run."""
        return self.scored + self.losses.total()

    @property
    def line(self) -> str:
        """Both in one short line, with the most frequent reasons."""
        said = f"{self.scored:,} of {self.expected:,} scored"
        if not self.losses:
            return said
        named = [f"{count:,} {reason}" for reason, count in self.losses.most_common(_REASONS)]
        rest = self.losses.total() - sum(count for _, count in self.losses.most_common(_REASONS))
        return f"{said} ({', '.join([*named, *([f'{rest:,} otherwise'] if rest else [])])})"


def coverage(report: RunReport, latest: pd.DataFrame, session: np.datetime64 | None = None) -> Coverage:
    """How many symbols of a run have a value on a session.

    Args:
        report: The run.
        latest: Newest sample of each symbol, as `latest_values` gives them.
        session: datetime64[D]; None for the newest date of `latest`.
    """
    if session is None and not latest.empty:
        session = np.datetime64(latest["date"].max().date(), "D")
    there = latest[latest["date"] == pd.Timestamp(session)] if session is not None else latest
    reasons = {str(row["symbol"]): _reason(row) for row in there.to_dict("records")}
    losses: Counter[str] = Counter()
    for result in report.symbols:
        why = "broke" if result.broke else result.problem or reasons.get(result.symbol, _NO_BAR)
        if why is not None:
            # Without its figures, which differ from symbol to symbol.
            losses[why.partition(":")[0]] += 1
    return Coverage(session, len(report.symbols) - losses.total(), losses)


def _reason(row: Mapping[Any, Any]) -> str | None:
    return str(row["reason"]) if row["status"] == FAILED else None
