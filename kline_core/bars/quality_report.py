"""The report on the quality of bars: counts, and one line for each finding."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core._text import counted, markdown_table, table

COLUMNS: Final = ("kind", "symbol", "first", "last", "value", "what")
"""Columns of the findings: kind, symbol (empty for all), first and last day, a figure, and a sentence."""

KINDS: Final = {
    "jump": "unexplained jumps, quarantined: no window reaches across them",
    "lost day": "sessions on which many symbols have no bar that have bars before and after",
    "unit": "volumes or amounts in another unit, or adjusted prices in the place of raw ones",
    "split": "changes of price that look like a split, without a change of the factor",
    "off session": "days that are no session of the market",
    "repeated": "bars that repeat the ones before, volume included",
    "difference": "what another vendor says otherwise",
    "stale": "symbols without bars of the newest sessions",
    "hole": "sessions without a bar between bars of a symbol: suspended, or lost",
    "released jump": "jumps that somebody released",
}
"""What each kind of finding is, the weightiest first."""
PROBLEMS: Final = ("jump", "lost day", "unit")
"""Kinds that somebody has to look at: values depend on them, or are missing because of them."""
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Quality of the bars of some symbols and days."""

    symbols: int
    rows: int
    suspended: int
    """Rows of suspended days."""
    first: np.datetime64 | None
    """datetime64[D]: first day; None without rows."""
    last: np.datetime64 | None
    calendar: str | None
    """Calendar whose sessions were expected; None if the home's market is not known."""
    expected: int
    """Sessions between each symbol's first and last row, summed over symbols; 0 without a calendar."""
    present: int
    """Those of them with a row."""
    findings: pd.DataFrame
    """One row for each finding, with the columns `COLUMNS`, the weightiest kinds first."""
    against: int | None = None
    """Rows of another vendor that were compared; None if there was no other."""

    @property
    def problems(self) -> int:
        """Findings that somebody has to look at."""
        return int(self.findings["kind"].isin(PROBLEMS).sum())

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind, the weightiest first; kinds without one are left out."""
        found = self.findings["kind"].value_counts()
        return {kind: int(found[kind]) for kind in KINDS if kind in found}

    @property
    def headline(self) -> str:
        """One sentence."""
        if not self.problems:
            return f"the bars of {counted(self.symbols, 'symbol')} show no problem"
        named = ", ".join(f"{count} x {kind}" for kind, count in self.counts.items() if kind in PROBLEMS)
        problems = counted(self.problems, "problem")
        return f"the bars of {counted(self.symbols, 'symbol')} show {problems}: {named}"

    def text(self) -> str:
        """The report as text for a terminal."""
        parts = ["\n".join([self.headline, *self._facts()])]
        for kind, rows in self._shown():
            parts.append(f"{KINDS[kind]} ({self.counts[kind]}):\n{table(_HEAD, rows)}{self._rest(kind)}")
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """The report as a Markdown page."""
        parts = [f"## {self.headline}", "\n".join(f"- {line}" for line in self._facts())]
        for kind, rows in self._shown():
            title = KINDS[kind]
            parts.append(f"### {title[0].upper()}{title[1:]} ({self.counts[kind]})")
            parts.append(markdown_table(_HEAD, rows, words=True) + self._rest(kind))
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "symbols": self.symbols,
            "rows": self.rows,
            "suspended": self.suspended,
            "first": None if self.first is None else str(self.first),
            "last": None if self.last is None else str(self.last),
            "calendar": self.calendar,
            "expected": self.expected,
            "present": self.present,
            "against": self.against,
            "problems": self.problems,
            "counts": self.counts,
            "findings": self.findings.to_dict("records"),
        }

    def _facts(self) -> Iterable[str]:
        if self.first is not None:
            yield f"{self.rows} rows, {self.suspended} of them suspended days, {self.first} to {self.last}"
        if self.calendar is None:
            yield "no market is kept with the home, so that no sessions were expected; `kline ingest --market` names it"
        elif self.expected:
            share = 100 * self.present / self.expected
            yield f"coverage {share:.2f} %: {self.present} of {self.expected} sessions of {self.calendar} have a row"
        if self.against is not None:
            yield f"{self.against} rows of the other vendor were compared"

    def _shown(self) -> Iterable[tuple[str, list[list[object]]]]:
        for kind in self.counts:
            rows = self.findings[self.findings["kind"] == kind].head(_SHOWN)
            yield kind, rows[["symbol", "first", "last", "what"]].to_numpy(dtype=object).tolist()

    def _rest(self, kind: str) -> str:
        rest = self.counts[kind] - _SHOWN
        return f"\n... and {rest} more; --json has them all" if rest > 0 else ""


_HEAD = ("symbol", "first", "last", "what")


def findings(parts: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Findings as the frame of a report, the weightiest kinds first, and in a kind those of the largest value."""
    frame = pd.DataFrame(list(parts), columns=list(COLUMNS))
    place = frame["kind"].map({kind: at for at, kind in enumerate(KINDS)})
    size = -frame["value"].abs().astype(float)
    order = np.lexsort((frame["symbol"].astype(str), size, place))
    return frame.iloc[order].reset_index(drop=True)


def finding(
    kind: str, symbol: str, first: np.datetime64, last: np.datetime64, value: float, what: str
) -> dict[str, Any]:
    """One finding; days as ISO text."""
    return {"kind": kind, "symbol": symbol, "first": str(first), "last": str(last), "value": value, "what": what}
