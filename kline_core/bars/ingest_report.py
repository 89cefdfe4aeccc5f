"""The report of an ingest: the fate of every file and row."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from kline_core.bars.quality_report import QualityReport
from kline_core.errors import InputError

_SHOWN_REJECTIONS = 100


@dataclass(frozen=True, slots=True)
class FileReport:
    """Numbers of rows of one file; ``read == new + updated + unchanged + rejected``."""

    path: str
    read: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    error: str | None = None
    """Reason why no row of the file can be used, or None."""
    ignored_columns: tuple[str, ...] = ()
    """Columns that were not read."""
    layout: str | None = None
    """Name of the layout that its columns were understood as; None if it could not be read."""
    mended: dict[str, int] = field(default_factory=dict)
    """Rows whose cells were not taken as they are written, by what was done to them."""
    notes: tuple[str, ...] = ()
    """What else there is to know of its rows."""
    joined: int = 0
    """Rows that are no bars, but gave bars of other files their factors; they are not among those `read`."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """The fate of every row; ``read == stored_new + updated + unchanged + rejected``."""

    files: list[FileReport]
    rejections: pd.DataFrame
    """One line per rejected row, with the columns source, row, symbol, reason and value."""
    restated: list[str]
    """Symbols with a changed stored row, or with a new row before their last stored date; sorted."""
    unadjusted: list[str]
    """Symbols with rows without an adjustment factor, whose prices count as already comparable; sorted."""
    rebased: list[str]
    """Symbols whose factors came on another base than the stored ones, and were chained to these; sorted."""
    skipped: list[str]
    """Files in the folders that no reader knows by their name."""
    left_out: list[str]
    """Folders that were not searched, such as homes and links, each with the reason."""
    market: str | None
    """Name of the market that is kept with the home; None if its symbols tell none, or several."""
    version: int
    """Version of `bars` that holds the rows."""
    changed: bool
    """Whether a new version was made; false if every row was stored already."""
    symbols: list[str]
    """Symbols with a row that is stored now; sorted."""
    since: np.datetime64 | None
    """datetime64[D]: first day of these rows; None if there is none."""
    quality: QualityReport | None = None
    """Quality of the bars of these symbols from that day on; None if every row was stored already, or nobody looked."""

    @property
    def read(self) -> int:
        """Rows of the files that could be read."""
        return sum(file.read for file in self.files)

    @property
    def stored_new(self) -> int:
        """Rows of symbols and dates that were not stored before."""
        return sum(file.new for file in self.files)

    @property
    def updated(self) -> int:
        """Rows that replaced a stored row with different contents."""
        return sum(file.updated for file in self.files)

    @property
    def unchanged(self) -> int:
        """Rows that were stored already."""
        return sum(file.unchanged for file in self.files)

    @property
    def rejected(self) -> int:
        """Rows that were rejected, each with its reason in `rejections`."""
        return sum(file.rejected for file in self.files)

    @property
    def joined(self) -> int:
        """Rows that are no bars, but gave bars of other files their factors; they are not among those `read`."""
        return sum(file.joined for file in self.files)

    @property
    def errors(self) -> list[str]:
        """One line for each file without a usable row."""
        return [file.error for file in self.files if file.error is not None]

    @property
    def mended(self) -> dict[str, int]:
        """Rows whose cells were not taken as they are written, by what was done to them."""
        counts: dict[str, int] = {}
        for file in self.files:
            for what, count in file.mended.items():
                counts[what] = counts.get(what, 0) + count
        return counts

    @property
    def notes(self) -> dict[str, list[str]]:
        """What else there is to know of the rows: files by note."""
        files: dict[str, list[str]] = {}
        for file in self.files:
            for note in file.notes:
                files.setdefault(note, []).append(file.path)
        return files

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, with the rejected rows counted by reason and the first hundred in full."""
        counts = self.rejections["reason"].value_counts(sort=True)
        return {
            "read": self.read,
            "stored_new": self.stored_new,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
            "joined": self.joined,
            "rejected_by_reason": {str(reason): int(count) for reason, count in counts.items()},
            "rejections": self.rejections.head(_SHOWN_REJECTIONS).to_dict("records"),
            "mended": self.mended,
            "files": [
                asdict(file) | {"ignored_columns": list(file.ignored_columns), "notes": list(file.notes)}
                for file in self.files
            ],
            "restated": self.restated,
            "unadjusted": self.unadjusted,
            "rebased": self.rebased,
            "skipped": self.skipped,
            "left_out": self.left_out,
            "market": self.market,
            "version": self.version,
            "changed": self.changed,
            "quality": None if self.quality is None else self.quality.to_dict(),
        }


class NothingUsableError(InputError):
    """No row of any file can be used."""

    report: IngestReport
    """Says why, file by file and row by row."""

    def __init__(self, report: IngestReport) -> None:
        """Quote the first file's reason."""
        others = f" (and {len(report.files) - 1} other files)" if len(report.files) > 1 else ""
        super().__init__(f"nothing could be ingested: {report.errors[0]}{others}", report=report)
