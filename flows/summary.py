"""What a daily run tells: a line, a page, and the newest value of each symbol."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.console import some
from kline_core.errors import RunFailedError
from kline_core.extend import ExtendReport
from kline_core.ingest_report import IngestReport
from kline_core.run_report import RunReport
from kline_core.tables import Home

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Summary:
    """What a daily run did, and to which symbols it could not do it."""

    report: RunReport
    broken: Mapping[str, str]
    """Symbols whose task run failed, and the error of its last attempt."""
    refreshed: IngestReport | None
    extended: ExtendReport

    @property
    def headline(self) -> str:
        """One line."""
        count = self.report.count
        unused = len(self.refreshed.errors) if self.refreshed is not None else 0
        warning = f"; {unused} files of bars could not be used" if unused else ""
        return (
            f"{len(self.report.symbols)} symbols, {count('samples')} samples = {count('done')} done + "
            f"{count('failed')} failed + {count('reused')} re-used{warning}"
        )

    def failure(self, max_failed_share: float) -> str | None:
        """Why the run counts as failed, in one line, or None."""
        why = []
        if self.broken:
            total = len(self.broken.keys() | {result.symbol for result in self.report.symbols})
            named = some([f"{symbol} ({error})" for symbol, error in self.broken.items()], SHOWN)
            why.append(f"{len(self.broken)} of {total} symbols broke: {named}")
        if self.report.symbols or not self.broken:
            try:
                self.report.check(max_failed_share)
            except RunFailedError as error:
                why.append(str(error))
            else:
                why += [f"stored: {self.headline}"] if why else []
        return "; ".join(why) or None

    def markdown(self) -> str:
        """One page."""
        report, extended = self.report, self.extended
        parts = [
            f"## {self.headline}",
            _listed("Symbols that broke", (f"**{name}**: `{error}`" for name, error in self.broken.items())),
            _listed("Symbols without samples", (f"**{each.symbol}**: {each.problem}" for each in report.broken)),
            _listed(
                "Failed samples by reason", (f"{count} x {reason}" for reason, count in report.reasons.most_common())
            ),
        ]
        data = []
        if (bars := self.refreshed) is not None:
            data.append(
                f"bars: {bars.read} rows read = {bars.stored_new} new + {bars.updated} updated + "
                f"{bars.unchanged} stored already + {bars.rejected} rejected"
            )
            data += [f"file not used: {error}" for error in bars.errors]
        data.append(f"patterns: {extended.added} added, {extended.removed} removed, {extended.total} in all")
        if refreshed := report.count("refreshed"):
            data.append(f"{refreshed} values of earlier runs no longer held, and were made again")
        data += [f"version of {table}: {version}" for table, version in report.versions.items()]
        data += [f"run {report.run_id}, values under fingerprint {report.fingerprint}"]
        parts.append(_listed("Data", data, len(data)))
        rows = "\n".join(f"| {name} | {seconds:.2f} |" for name, seconds in report.seconds.items())
        parts.append(
            f"### Seconds\n\n`load`, `write` and `total` by the clock; the others added up over threads.\n\n"
            f"| stage | seconds |\n|---|---:|\n{rows}"
        )
        return "\n\n".join(part for part in parts if part)


def latest_values(
    home: Home, symbols: Sequence[str], fingerprint: str, as_of: np.datetime64 | None
) -> list[dict[str, Any]]:
    """The newest stored sample of each symbol (up to `as_of`), one row each in order of the symbols."""
    columns = ["symbol", "date", "value", "status", "reason"]
    rows = home.read("factors", columns, symbols=symbols, fingerprint=fingerprint)
    if as_of is not None:
        rows = rows.filter(pc.field("date") <= pa.scalar(as_of.astype(object), pa.date32()))
    newest = rows.group_by("symbol").aggregate([("date", "max")]).rename_columns(["symbol", "date"])
    found = newest.join(rows, ["symbol", "date"]).sort_by("symbol").to_pylist()
    return [row | {"date": row["date"].isoformat()} for row in found]


def _listed(title: str, lines: Iterable[str], shown: int = SHOWN) -> str:
    lines = list(lines)
    more = [f"and {len(lines) - shown} more"] if len(lines) > shown else []
    return f"### {title}\n\n" + "\n".join(f"- {line}" for line in lines[:shown] + more) if lines else ""
