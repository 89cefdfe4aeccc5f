"""`kline ingest`, `index` and `verify`: ingest bars, update patterns, check tables."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kline_core._text import abbreviated, harmless, refusal
from kline_core.cli.answer import Answer
from kline_core.cli.options import check_writable, named_home, opened_home, pattern_settings_from, settings_from
from kline_core.errors import KlineError, SettingError
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.bars.ingest_report import IngestReport


def ingest(options: argparse.Namespace) -> Answer:
    """`kline ingest`."""
    from kline_core.api.data import check_paths
    from kline_core.api.data import ingest as take_in
    from kline_core.bars.ingest_report import NothingUsableError
    from kline_core.bars.named_columns import parse_columns

    failure = None
    columns = None if options.columns is None else parse_columns(options.columns)
    check_paths(options.paths)
    home = named_home(options)
    if options.rejected is not None:
        check_writable("--rejected", options.rejected)
        _check_not_read(options.rejected, options.paths, None if "://" in home else Path(home))
    try:
        report: IngestReport = take_in(
            home,
            options.paths,
            progress=True,
            max_file_bytes=options.max_file_bytes,
            columns=columns,
            keep_columns=options.keep_columns,
            market=options.market,
        )
    except NothingUsableError as error:
        report, failure = error.report, str(error)
    usable = failure is None
    if options.rejected is not None:
        try:
            write_rejections(report, options.rejected)
        except SettingError as error:
            # The rows are stored, and the report of them is shown all the same.
            failure = str(error) if failure is None else f"{failure}; {error}"
    used = len(report.files) - len(report.errors)
    lines = [
        f"{rows_line(report)}, from {used} of {len(report.files)} files",
        f"bars of {Home(home).uri}: version {report.version}{'' if report.changed else ', unchanged'}",
    ]
    if report.market is None and report.read:
        lines.append("no market is kept with this home, so that symbols of any go in; name it with --market")
    lines += row_lines(report, options.rejected is not None)
    lines += [f"not used: {error}" for error in report.errors]
    lines += [f"left out: {reason}" for reason in report.left_out]
    lines += symbol_lines(report)
    if options.keep_columns and failure is None:
        lines.append("the columns are kept with the home; `kline notes` shows them, and --forget columns removes them")
    if report.skipped:
        lines.append(f"{len(report.skipped)} files of other types were passed over: {abbreviated(report.skipped)}")
    document = report.to_dict()
    if options.index and usable:
        try:
            text, patterns = _brought_up_to_date(opened_home(options))
        except KlineError as error:
            # The rows are stored, and the report of them is shown all the same.
            failure = str(error) if failure is None else f"{failure}; {error}"
        else:
            lines.append(text)
            document |= {"patterns": patterns}
    return Answer("\n".join(lines), document, failure)


def rows_line(report: "IngestReport") -> str:
    """The sum of all rows of an ingest."""
    return (
        f"{report.read} rows read = {report.stored_new} new + {report.updated} updated + {report.unchanged} stored "
        f"already + {report.rejected} rejected"
    )


def row_lines(report: "IngestReport", written: bool) -> list[str]:
    """What there is to say of the rows of an ingest; `written`: all rejected ones stand in a file."""
    rejections = report.rejections
    lines = [f"rejected: {count} x {reason}" for reason, count in rejections["reason"].value_counts().items()]
    shown = rejections.head(SHOWN_ROWS).itertuples()
    lines += [
        f"  {row.source}, row {row.row}: {row.reason} ({harmless(row.value, longest=SHOWN_SIGNS)})" for row in shown
    ]
    if len(rejections) > SHOWN_ROWS and not written:
        lines.append(f"  ... and {len(rejections) - SHOWN_ROWS} more; --rejected FILE writes them all")
    if report.joined:
        lines.append(f"{report.joined} rows more are no bars: they told the adjustment of bars in other files")
    lines += [f"{count} rows: {what}" for what, count in report.mended.items()]
    return lines + [f"note: {note}: {abbreviated(files)}" for note, files in report.notes.items()]


def symbol_lines(report: "IngestReport") -> list[str]:
    """What there is to say of the symbols of an ingest."""
    found = (
        ("restated, so that what depends on their bars will be made again", report.restated),
        ("whose factors came on another base, and were chained to the stored ones", report.rebased),
        ("without an adjustment factor, so that prices are taken as already comparable", report.unadjusted),
    )
    lines = [f"{len(symbols)} symbols {what}: {abbreviated(symbols)}" for what, symbols in found if symbols]
    if report.quality is not None and report.quality.findings.shape[0]:
        counts = ", ".join(f"{count} x {kind}" for kind, count in report.quality.counts.items())
        lines.append(f"quality since {report.quality.first}: {counts}; `kline check` lists them")
    return lines


def index(options: argparse.Namespace) -> Answer:
    """`kline index`."""
    if options.remove:
        return _removed(options)
    text, document = _brought_up_to_date(
        opened_home(options),
        settings=pattern_settings_from(options),
        encoder=options.encoder,
        device=options.device,
        threads=options.threads,
        rebuild=options.rebuild,
        max_removed_share=options.max_removed_share,
    )
    return Answer(text, document)


def _removed(options: argparse.Namespace) -> Answer:
    """`kline index --remove`."""
    from kline_core.api.removal import remove_patterns

    if options.rebuild:
        raise SettingError(
            "--rebuild makes the patterns again, and --remove removes them; leave one away",
            parameter="--remove",
            value=options.remove,
        )
    found = remove_patterns(opened_home(options), settings=pattern_settings_from(options), encoder=options.encoder)
    text = f"{found.patterns} patterns removed, table {found.table}; values that were made with them stay stored"
    if found.runs:
        text += f"\n{found.runs} past runs read them, and cannot be replayed any more"
    return Answer(text, found.to_dict())


def _brought_up_to_date(home: Home, **given: Any) -> tuple[str, dict[str, Any]]:
    """Text and document about an update of the patterns. `given`: arguments of `update_patterns`."""
    from kline_core.api.data import update_patterns

    started = perf_counter()
    report = update_patterns(home, **given, progress=True)
    seconds = perf_counter() - started
    if report.added or report.removed:
        text = f"{report.added} patterns added, {report.removed} removed, {report.total} in all, in {seconds:.1f} s"
    elif report.total:
        text = f"nothing to add: the {report.total} patterns are up to date"
    else:
        text = "nothing to add: no window has a known outcome yet"
    if report.restated:
        text += (
            f"\n{len(report.restated)} symbols were made again, since their bars or releases of jumps changed: "
            f"{abbreviated(report.restated)}"
        )
    return text, report.to_dict() | {"seconds": round(seconds, 3)}


def notes(options: argparse.Namespace) -> Answer:
    """`kline notes`."""
    home = opened_home(options)
    from kline_core.bars.home_market import NOTE as MARKET

    held = home.notes()
    if options.forget is not None:
        if options.forget not in held:
            raise SettingError(
                f"--forget is {options.forget}, and home {home.uri} keeps "
                + (f"only {', '.join(sorted(held))}" if held else "no notes"),
                parameter="--forget",
                value=options.forget,
            )
        if options.forget == MARKET:
            raise SettingError(
                f"--forget is {MARKET}, which is what the bars of home {home.uri} are of, and stays with them",
                parameter="--forget",
                value=options.forget,
            )
        home.set_note(options.forget, None)
        held = home.notes()
    lines = [f"{name}: {_note(value)}" for name, value in sorted(held.items())]
    return Answer("\n".join(lines) or f"home {home.uri} keeps no notes", held)


def _note(value: object) -> str:
    from kline_core.bars.named_columns import written

    if isinstance(value, dict) and all(isinstance(part, str) for part in value.values()):
        return written(value)
    return str(value)


def verify(options: argparse.Namespace) -> Answer:
    """`kline verify`."""
    from kline_core.api.data import verify as check

    report = check(opened_home(options), settings=settings_from(options), encoder=options.encoder)
    code = 0 if report.state == "sound" else UNFINISHED
    return Answer(report.text(), report.to_dict(), None if report.ok else report.headline, code)


def _check_not_read(file: Path, paths: Sequence[Path], home: Path | None) -> None:
    """Raise `SettingError` if the rejected rows would overwrite an input or come to lie where inputs or a home lie."""
    from kline_core.bars.delivery import find_files
    from kline_core.bars.readers import may_read

    there = file.exists()
    given = [path for path in find_files(paths).files if there and path.exists() and path.samefile(file)]
    above = Path(os.path.realpath(file)).parents
    around = [Path(os.path.realpath(folder)) for folder in paths if folder.is_dir() and may_read(file)]
    inside = [folder for folder in around if folder in above]
    if given or inside:
        where = "is a file to ingest" if given else f"lies in {inside[0]}, where it would be ingested the next time"
    elif home is not None and Path(os.path.realpath(home)) in above:
        where = f"lies in the home {home}"
    else:
        return
    raise SettingError(f"--rejected is {file}, which {where}; name another place", parameter="--rejected", value=file)


def write_rejections(report: "IngestReport", file: Path) -> None:
    """Write every rejected row. Raises `SettingError` if the file cannot be written."""
    try:
        report.rejections.to_csv(file, index=False)
    except (OSError, UnicodeError) as error:
        raise SettingError(
            f"--rejected is {file}, which cannot be written ({refusal(error)}); the good "
            "rows are stored; ingest again with another file to see the others",
            parameter="--rejected",
            value=file,
        ) from error


SHOWN_ROWS = 20
UNFINISHED = 3
"""Exit code of `verify` for work that is pending or was cut off."""
SHOWN_SIGNS = 200
