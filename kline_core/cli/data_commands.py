"""`kline ingest`, `index` and `verify`: ingest bars, update patterns, check tables."""

import argparse
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from kline_core._text import abbreviated
from kline_core.cli.answer import Answer
from kline_core.cli.options import check_writable, named_home, opened_home, settings_from
from kline_core.errors import InputError
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.bars.ingest_report import IngestReport


def ingest(options: argparse.Namespace) -> Answer:
    """`kline ingest`."""
    from kline_core.api.data import check_paths
    from kline_core.api.data import ingest as take_in
    from kline_core.bars.ingest_report import IngestReport, NothingUsableError

    failure = None
    check_paths(options.paths)
    if options.rejected is not None:
        check_writable("--rejected", options.rejected)
    home = named_home(options)
    try:
        report: IngestReport = take_in(home, options.paths, progress=True)
    except NothingUsableError as error:
        report, failure = error.report, str(error)
    if options.rejected is not None:
        write_rejections(report, options.rejected)
    used = len(report.files) - len(report.errors)
    lines = [
        f"{report.read} rows read = {report.stored_new} new + {report.updated} updated + {report.unchanged} stored "
        f"already + {report.rejected} rejected, from {used} of {len(report.files)} files",
        f"bars of {Home(home).uri}: version {report.version}{'' if report.changed else ', unchanged'}",
    ]
    rejections = report.rejections
    for reason, count in rejections["reason"].value_counts().items():
        lines.append(f"rejected: {count} x {reason}")
    shown = rejections.head(SHOWN_ROWS).itertuples()
    lines += [f"  {row.source}, row {row.row}: {row.reason} ({row.value})" for row in shown]
    if len(rejections) > SHOWN_ROWS and options.rejected is None:
        lines.append(f"  ... and {len(rejections) - SHOWN_ROWS} more; --rejected FILE writes them all")
    lines += [f"not used: {error}" for error in report.errors]
    for what, symbols in (
        ("restated, so that their patterns and values will be made again", report.restated),
        ("without an adjustment factor, so that prices are taken as already comparable", report.unadjusted),
    ):
        if symbols:
            lines.append(f"{len(symbols)} symbols {what}: {abbreviated(symbols)}")
    if report.skipped:
        lines.append(f"{len(report.skipped)} files of other types were passed over: {abbreviated(report.skipped)}")
    return Answer("\n".join(lines), report.to_dict(), failure)


def write_rejections(report: "IngestReport", file: Path) -> None:
    """Write every rejected row. Raises `InputError` if the file cannot be written."""
    try:
        report.rejections.to_csv(file, index=False)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--rejected is {file}, which cannot be written ({getattr(error, 'strerror', None) or error}); "
            "the rows that could be used are stored: ingest again with another file to see the rejected ones",
            source=str(file),
        ) from error


def index(options: argparse.Namespace) -> Answer:
    """`kline index`."""
    from kline_core.api.data import update_patterns

    started = perf_counter()
    report = update_patterns(
        opened_home(options),
        settings=settings_from(options).patterns,
        encoder=options.encoder,
        device=options.device,
        threads=options.threads,
        rebuild=options.rebuild,
        progress=True,
    )
    seconds = perf_counter() - started
    if report.added or report.removed:
        text = f"{report.added} patterns added, {report.removed} removed, {report.total} in all, in {seconds:.1f} s"
    elif report.total:
        text = f"nothing to add: the {report.total} patterns are up to date"
    else:
        text = "nothing to add: no window has a known outcome yet"
    if report.restated:
        text += (
            f"\n{len(report.restated)} symbols were made again because their bars changed: "
            f"{abbreviated(report.restated)}"
        )
    return Answer(text, report.to_dict() | {"seconds": round(seconds, 3)})


def verify(options: argparse.Namespace) -> Answer:
    """`kline verify`."""
    from kline_core.api.data import verify as check

    report = check(opened_home(options), settings=settings_from(options), encoder=options.encoder)
    return Answer(report.text(), report.to_dict(), None if report.ok else report.headline)


SHOWN_ROWS = 20
