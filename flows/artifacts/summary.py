"""Summary of a daily run: a line, a page, and a row per symbol."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from prefect import State
from prefect.states import Completed, Failed

from flows.common.states import INCOMPLETE
from flows.steps.refresh import BarsInfo
from kline_core._text import abbreviated
from kline_core.bars.quality_report import PROBLEMS
from kline_core.compute.run_report import RunReport
from kline_core.errors import RunFailedError
from kline_core.evaluation.session_change import Change
from kline_core.patterns.update import PatternsUpdate

SHOWN = 20
_FILES_SHOWN = 3


class Summary:
    """Summary of a daily run.

    No dataclass: as the data of a flow's state, Prefect would search one for futures, symbol by symbol.
    """

    def __init__(self, report: RunReport, bars: BarsInfo, patterns: PatternsUpdate, change: Change | None) -> None:
        self.report, self.bars, self.patterns, self.change = report, bars, patterns, change

    @property
    def warnings(self) -> list[str]:
        """What somebody has to look at, though the run went on; a line each."""
        said = []
        if self.bars.ingested is not None and self.bars.ingested.errors:
            said.append(f"{len(self.bars.ingested.errors)} files of bars could not be used")
        if self.bars.arrived is not None and self.bars.arrived.missing:
            said.append(f"{len(self.bars.arrived.missing)} {self.bars.arrived.noun} without a bar of the session")
        if self.bars.quality is not None and self.bars.quality.problems:
            said.append(self.bars.quality.headline)
        if self.report.newer is not None:
            said.append(f"{self.report.newer}: the next run takes them")
        return said

    @property
    def headline(self) -> str:
        """The summary in one line."""
        count = self.report.count
        said = (
            f"{len(self.report.without_broken().symbols)} symbols, {count('samples')} samples = {count('done')} done + "
            f"{count('failed')} failed + {count('reused')} re-used"
        )
        return "; ".join([said, *self.warnings])

    def failure(self, max_failed_share: float) -> str | None:
        """Why the run counts as failed, in one line; None if it does not."""
        broke = [result for result in self.report.symbols if result.broke]
        why = []
        if broke:
            named = abbreviated([f"{result.symbol} ({result.problem})" for result in broke], SHOWN)
            why.append(f"{len(broke)} of {len(self.report.symbols)} symbols broke: {named}")
        others = self.report.without_broken()
        if others.symbols or not broke:
            try:
                others.check(max_failed_share)
            except RunFailedError as error:
                why.append(str(error))
            else:
                why += [f"stored: {self.headline}"] if why else []
        return "; ".join(why) or None

    def state(self, max_failed_share: float, data: Any) -> State[Any]:
        """The state in which the flow ends: failed, with the report, or completed, with `data`."""
        failure = self.failure(max_failed_share)
        if failure is not None:
            error = RunFailedError(failure, report=self.report, reasons=self.report.reasons)
            return Failed(message=failure, data=error)
        if lacking := self.lacking:
            # Completed, by another name: pages show it, and a message can tell of it.
            return Completed(name=INCOMPLETE, message="; ".join([self.headline, *lacking]), data=data)
        return Completed(message=self.headline, data=data)

    @property
    def lacking(self) -> list[str]:
        """What a person has to bring in or to look at after this run, a line each; empty if all is there.

        Of the quality of the bars, which looks back over weeks, only what is wrong with those of the session.
        """
        lines = []
        if (arrived := self.bars.arrived) is not None and arrived.missing:
            lines.append(f"no bar of {arrived.session}: {abbreviated(arrived.missing)}; the next run takes them up")
        if (ingested := self.bars.ingested) is not None:
            lines += [f"file not used: {error}" for error in ingested.errors[:_FILES_SHOWN]]
            more = len(ingested.errors) - _FILES_SHOWN
            lines += [f"and {more} more files"] if more > 0 else []
        if (quality := self.bars.quality) is not None:
            found = quality.findings[quality.findings["kind"].isin(PROBLEMS)]
            if arrived is not None:
                found = found[pd.to_datetime(found["last"]) >= pd.Timestamp(arrived.session)]
            named = [f"{each.symbol} {each.kind}".strip() for each in found.itertuples()]
            lines += [f"look at the quality of the bars: {abbreviated(named)}"] if named else []
        return lines

    def markdown(self, links: str = "") -> str:
        """The summary as a Markdown page, with a line of `links` to the others."""
        report, patterns = self.report, self.patterns
        broke = [each for each in report.broken if each.broke]
        without = [each for each in report.broken if not each.broke]
        parts = [
            f"## {self.headline}",
            links,
            listed("Symbols that broke", (f"**{each.symbol}**: `{each.problem}`" for each in broke)),
            listed("Symbols without samples", (f"**{each.symbol}**: {each.problem}" for each in without)),
            listed(
                "Failed samples by reason", (f"{count} x {reason}" for reason, count in report.reasons.most_common())
            ),
            "### Against the previous session\n\n"
            + (self.change.markdown() if self.change is not None else "No value is stored yet."),
        ]
        data = []
        if (bars := self.bars.ingested) is not None:
            data.append(
                f"bars: {bars.read} rows read = {bars.stored_new} new + {bars.updated} updated + "
                f"{bars.unchanged} stored already + {bars.rejected} rejected"
            )
            data += [f"file not used: {error}" for error in bars.errors]
        if (arrived := self.bars.arrived) is not None:
            data.append(
                f"session: {arrived.expected - len(arrived.missing)} of {arrived.expected} {arrived.noun} have its bar"
            )
            data += [f"no bar of the session: {abbreviated(arrived.missing, SHOWN)}"] if arrived.missing else []
        data.append(f"patterns: {patterns.added} added, {patterns.removed} removed, {patterns.total} in all")
        if refreshed := report.count("refreshed"):
            data.append(f"{refreshed} values of earlier runs no longer held, and were made again")
        data += [f"version of {table}: {version}" for table, version in report.versions.items()]
        data += [f"run {report.run_id}, values under fingerprint {report.fingerprint}"]
        parts.append(listed("Data", data, len(data)))
        parts.append(self.seconds())
        return "\n\n".join(part for part in parts if part)

    def seconds(self) -> str:
        """Seconds by stage as a Markdown table."""
        rows = "\n".join(f"| {name} | {seconds:.2f} |" for name, seconds in self.report.seconds.items())
        return (
            f"### Seconds\n\n`load`, `write` and `total` by the clock; the others added up over threads.\n\n"
            f"| stage | seconds |\n|---|---:|\n{rows}"
        )


def listed(title: str, lines: Iterable[str], shown: int = SHOWN) -> str:
    """Markdown list of the first `shown` lines under a title; empty if there are none."""
    lines = list(lines)
    more = [f"and {len(lines) - shown} more"] if len(lines) > shown else []
    return f"### {title}\n\n" + "\n".join(f"- {line}" for line in lines[:shown] + more) if lines else ""
