"""The board of a market: one page on its newest session, whatever became of it.

Pure text; `flows.artifacts.board_series` publishes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from flows.artifacts.coverage import Coverage
from flows.artifacts.links import artifact_link
from flows.artifacts.summary import Summary, listed
from kline_core._text import counted, markdown_table
from kline_core.evaluation.session_change import Change, Move

WHOLE: Final = 10**9
"""Stands for all symbols; more than are ever chosen."""
COMPLETED: Final = "completed"
"""How a run ended that found nothing to do."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is for: a session of a market, of all symbols or of chosen ones."""

    calendar: str
    session: np.datetime64
    symbols: int = WHOLE
    """Number of chosen symbols; `WHOLE` for all."""

    @property
    def name(self) -> str:
        """Market and session, such as `XSHG 2026-11-24`."""
        chosen = f" ({counted(self.symbols, 'chosen symbol')})" if self.symbols != WHOLE else ""
        return f"{self.calendar} {self.session}{chosen}"

    def replaces(self, other: "Scope") -> bool:
        """Whether a board of it takes the place of another: never that of a newer session, or of more symbols."""
        return bool((self.session, self.symbols) >= (other.session, other.symbols))


@dataclass(frozen=True, slots=True)
class Ended:
    """The newest board of a run that ended with its pages published."""

    line: str
    artifact: str


def under_way(scope: Scope, since: datetime, run: str, before: Ended | None) -> str:
    """Page of a session whose run works, or has been killed since.

    Args:
        scope: What the run is for.
        since: Its start, in the time zone of the exchange.
        run: Link to it.
        before: What was there before.
    """
    return _page(
        f"# {scope.name}: no values yet",
        f"Begun {since:%Y-%m-%d %H:%M %Z}: {run} says how far it is, or what became of it.",
        _before(before),
    )


def without_values(scope: Scope, ended: str, reason: str, run: str, before: Ended | None) -> str:
    """Page of a session whose run ended without its pages.

    Args:
        scope: What the run was for.
        ended: How, such as failed, cancelled or `COMPLETED`.
        reason: Why, in one line.
        run: Link to it.
        before: What was there before.
    """
    # Fenced by more than a reason would hold, so that nothing in it is taken for Markdown.
    return _page(
        f"# {scope.name}: {ended}",
        f"````\n{reason}\n````",
        f"What was finished is stored. Once that is mended, Retry on the page of {run} runs it again."
        if ended != COMPLETED
        else f"Nothing was to be done: {run}.",
        _before(before),
    )


def with_values(
    scope: Scope,
    found: Coverage,
    summary: Summary,
    alarms: Sequence[str],
    links: Sequence[str],
    picture: str,
    following: np.datetime64 | None,
) -> str:
    """Page of a session that has values.

    Args:
        scope: What the run was for.
        found: Its coverage.
        summary: Its summary.
        alarms: What somebody has to look at, a line each.
        links: Links to the run and its artifacts.
        picture: Distribution of the values, as Markdown.
        following: The next session, datetime64[D]; None if it is not known.
    """
    return _page(
        f"# {scope.name}: {found.line}",
        " · ".join(links),
        listed("Alarms", alarms, len(alarms)) or "### Alarms\n\nNone.",
        _coverage(found),
        _samples(summary),
        _movers(summary.change),
        "### Values" if picture else "",
        picture,
        summary.seconds(),
        f"The next session is {following}." if following is not None else "",
    )


def _page(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _before(before: Ended | None) -> str:
    if before is None:
        return "No session before it has a board."
    return f"What was there before: {artifact_link(before.line, before.artifact)}"


def _coverage(found: Coverage) -> str:
    share = f" ({found.scored / found.expected:.1%})" if found.expected else ""
    rows: list[list[object]] = [[f"with a value{share}", f"{found.scored:,}"]]
    rows += [[reason, f"{count:,}"] for reason, count in found.losses.most_common()]
    rows.append(["**expected**", f"**{found.expected:,}**"])
    return f"### Coverage\n\n{markdown_table(('symbols', 'number'), rows, words=True)}"


def _samples(summary: Summary) -> str:
    count = summary.report.count
    lines = [
        f"samples: {count('samples'):,} = {count('done'):,} done + {count('failed'):,} failed + "
        f"{count('reused'):,} re-used",
        f"patterns: {summary.patterns.added:,} added, {summary.patterns.removed:,} removed, "
        f"{summary.patterns.total:,} in all",
    ]
    if (bars := summary.bars.ingested) is not None:
        lines.append(f"bars: {bars.stored_new:,} new, {bars.updated:,} updated, {bars.rejected:,} rejected")
    if refreshed := count("refreshed"):
        lines.append(f"{refreshed:,} values of earlier runs no longer held, and were made again")
    return listed("Counts", lines)


def _movers(change: Change | None) -> str:
    if change is None or change.before is None:
        return "### Movers\n\nNo session before it is stored to compare with."
    moves = sorted([*change.up, *change.down], key=lambda move: (-abs(move.change), move.symbol))
    table = markdown_table(("symbol", "before", "now", "change"), list(map(_move, moves)))
    return f"### Movers since {change.before}\n\n{table if moves else 'No value has changed.'}"


def _move(move: Move) -> list[object]:
    return [f"**{move.symbol}**", f"{move.before:.2f}", f"{move.now:.2f}", f"{move.change:+.2f}"]
