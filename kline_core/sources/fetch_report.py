"""The report of a fetch: what became of each symbol, and of every row."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd

from kline_core._text import abbreviated
from kline_core.bars.ingest_report import IngestReport
from kline_core.errors import SourceError

FAILED: Final = "failed: "
"""Begins the lines on symbols that did not come."""


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What became of each symbol: ``asked == up_to_date + fetched + failed``."""

    source: str
    """What was asked for, such as akshare:csi300."""
    until: str
    """The last session that is over, up to which bars were asked for: YYYY-MM-DD."""
    asked: int
    """Symbols of the universe, former members included."""
    up_to_date: int
    """Those whose bar of that session was stored already; nothing was asked of them."""
    fetched: int
    """Those that came."""
    failed: dict[str, str]
    """By symbol, why it did not come."""
    whole: list[str]
    """Those whose last days alone did not fit what is stored, so that their whole history was fetched; sorted."""
    snapshots: int
    """Lists of members that are new in the home."""
    bias: str | None
    """What is to be said of survivorship; None where members are known as far back as bars are."""
    bars: IngestReport | None
    """Fate of every row, by symbol in the place of a file's path; None if no row came."""

    @property
    def failure(self) -> str | None:
        """Why nothing came, in one line; None if something came or was there."""
        if not self.failed or self.up_to_date or self.fetched:
            return None
        symbol, reason = next(iter(self.failed.items()))
        others = f" (and {len(self.failed) - 1} other symbols)" if len(self.failed) > 1 else ""
        return f"nothing could be fetched: {symbol}: {reason}{others}"

    def lines(self) -> list[str]:
        """What there is to say of the symbols, line by line; of the rows, see `bars`."""
        found = [
            f"{self.asked} symbols of {self.source} until {self.until} = {self.fetched} fetched + {self.up_to_date} up "
            f"to date + {len(self.failed)} failed"
        ]
        found += [
            f"{FAILED}{len(names)} x {reason}: {abbreviated(names)}"
            for reason, names in grouped(self.failed.items()).items()
        ]
        if self.whole:
            found.append(
                f"{len(self.whole)} symbols were fetched whole, since their last days alone did not go on from what is "
                f"stored: {abbreviated(self.whole)}"
            )
        if self.snapshots:
            found.append(f"{self.snapshots} new {'list' if self.snapshots == 1 else 'lists'} of members")
        return found + ([self.bias] if self.bias is not None else [])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        own = {
            name: getattr(self, name)
            for name in ("source", "until", "asked", "up_to_date", "fetched", "failed", "whole")
        }
        rows = None if self.bars is None else self.bars.to_dict()
        return own | {"snapshots": self.snapshots, "bias": self.bias, "bars": rows}


class NothingFetchedError(SourceError):
    """No symbol could be fetched."""

    report: FetchReport
    """Says why, symbol by symbol."""


def grouped(failed: Collection[tuple[str, str]]) -> dict[str, list[str]]:
    """Symbols by the reason why they failed, the most frequent first; a symbol's own name in it stands for any."""
    groups: dict[str, list[str]] = {}
    for symbol, reason in failed:
        groups.setdefault(reason.replace(symbol, "SYMBOL") if symbol else reason, []).append(symbol)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def joined(first: IngestReport | None, second: IngestReport | None) -> IngestReport | None:
    """Two reports of one fetch as one."""
    if first is None or second is None:
        return first or second
    return replace(
        second,
        files=[*first.files, *second.files],
        rejections=pd.concat([first.rejections, second.rejections], ignore_index=True),
        restated=sorted({*first.restated, *second.restated}),
        unadjusted=sorted({*first.unadjusted, *second.unadjusted}),
        rebased=sorted({*first.rebased, *second.rebased}),
        market=second.market or first.market,
        changed=first.changed or second.changed,
        symbols=sorted({*first.symbols, *second.symbols}),
        since=min((day for day in (first.since, second.since) if day is not None), default=None),
    )


def without(report: IngestReport, symbols: Collection[str]) -> IngestReport | None:
    """A report without what came of some symbols, since it is fetched again; None if nothing is left."""
    gone = {file.path for file in report.files if symbol_of(file.path) in symbols}
    left = [file for file in report.files if file.path not in gone]
    if not left:
        return None
    keep = ~report.rejections["source"].isin(gone)
    return replace(report, files=left, rejections=report.rejections[keep].reset_index(drop=True))


def frame_name(symbol: str, kind: str) -> str:
    """Name of a frame in reports: the symbol, and what the frame tells of it behind a blank, if it is not its bars."""
    return f"{symbol} {kind}".strip()


def symbol_of(name: str) -> str:
    """The symbol in a `frame_name`."""
    return name.partition(" ")[0]
