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
from kline_core._text import markdown_table
from kline_core.evaluation.session_change import Change, Move

COMPLETED: Final = "completed"
"""How a run ended that had no values to show, such as one that found nothing to do."""
_BREAK: Final = "\n\n"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is for: a session of a market."""

    calendar: str
    session: np.datetime64

    @property
    def name(self) -> str:
        """Market and session, such as `XSHG 2026-11-24`."""
        return f"{self.calendar} {self.session}"


@dataclass(frozen=True, slots=True)
class Ended:
    """The newest board of a run that ended with its pages published."""

    line: str
    artifact: str


@dataclass(frozen=True, slots=True)
class Status:
    """How a run is that has no values yet, or ended without them."""

    title: str
    """Of a page without values."""
    line: str
    """The same in one line."""
    does: str
    """After the words for the run, such as `is at work`."""
    text: str
    """The rest, as Markdown."""


def under_way(since: datetime, does: str, where: Sequence[str]) -> Status:
    """Of a run that works or waits, or has been killed since.

    Args:
        since: Its start, in the time zone of the exchange.
        does: What it does, such as `is at work`.
        where: Links to it, and to what tells how far it is.
    """
    says = f"Begun {since:%Y-%m-%d %H:%M %Z}; it {does}. {' or '.join(where)} says how far it is, or what became of it."
    return Status("no values yet", "no values yet", does, says)


def ended_without(ended: str, reason: str, run: str) -> Status:
    """Of a run that ended without its pages.

    Args:
        ended: How, such as failed, cancelled or `COMPLETED`.
        reason: Why, in one line.
        run: Link to it.
    """
    once = "Retry" if ended == "cancelled" else "Once that is mended, Retry"
    then = (
        f"What was finished is stored. {once} on the page of {run} runs it again."
        if ended != COMPLETED
        else f"So says {run}, and there is nothing to run again."
    )
    does = {COMPLETED: "completed without values", "cancelled": "was cancelled"}.get(ended, ended)
    # Fenced by more than a reason would hold, so that nothing in it is taken for Markdown.
    return Status(ended, f"{ended}: {reason}", does, f"````\n{reason}\n````\n\n{then}")


def without_values(scope: Scope, status: Status, before: Ended | None) -> str:
    """Page of a session without values.

    Args:
        scope: What the run is for.
        status: How the run is.
        before: What was there before.
    """
    return _page(f"# {scope.name}: {status.title}", status.text, _before(before))


def with_note(page: str, status: Status) -> tuple[str, int]:
    """A page of values that says beneath its title how the latest run of its session is, and the length of that."""
    title, _, rest = page.partition(_BREAK)
    note = _page(f"**The latest run {status.does}; the values below are from before it.**", status.text, "---")
    return _page(title, f"{note}{_BREAK}{rest}"), len(f"{note}{_BREAK}")


def without_note(page: str, length: int) -> str:
    """The page without its note, which is as long as `with_note` says; 0 if there is none."""
    title, _, rest = page.partition(_BREAK)
    return _page(title, rest[length:])


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
    return _BREAK.join(part for part in parts if part)


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
