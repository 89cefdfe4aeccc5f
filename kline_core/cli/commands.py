"""What each command does: options in, an `Answer` out. Heavy libraries are imported by the command that needs them."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from kline_core._text import abbreviated, table
from kline_core.cli.console import show
from kline_core.compute.progress_bar import bar
from kline_core.errors import HomeError, InputError, KlineError, RunFailedError, SettingError
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.home import Home

if TYPE_CHECKING:
    from flows.local_stack.ready import Ready
    from kline_core.compute.run_report import RunReport

SHOWN_ROWS = 20
SHOWN_SYMBOLS = 40
_FACTOR_OPTIONS = ("mode", "top_k", "search_k", "min_matches", "allow_seen", "index", "probes", "min_recall")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say: to a person, to a program, and why it failed if it did after all."""

    text: str
    document: Any
    failure: str | None = None


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings that the options ask for. Raises `SettingError`."""

    def given(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(options, name, None)) is not None}

    return Settings(
        PatternSettings(**given("pattern_stride", "calendar")),
        FactorSettings(**_fitting_matches(given(*_FACTOR_OPTIONS))),
    )


def _fitting_matches(given: dict[str, Any]) -> dict[str, Any]:
    # A smaller top_k alone would fall below the default min_matches.
    if "top_k" in given and "min_matches" not in given:
        given["min_matches"] = max(1, min(given["top_k"], FactorSettings().min_matches))
    return given


def _named_home(options: argparse.Namespace) -> str:
    named = os.environ.get("KLINE_HOME") if options.home is None else options.home
    if not named:
        raise HomeError("no home is named; give --home FOLDER or set KLINE_HOME")
    return str(named)


def _check_writable(option: str, path: Path) -> None:
    """Found out before any work is done. Raises `SettingError`."""
    if path.is_dir():
        raise SettingError(f"{option} is {path}, which is a folder; name a file")
    if not path.parent.is_dir():
        raise SettingError(f"{option} is {path}; its folder does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SettingError(f"{option} is {path}, which cannot be written")


def demo(options: argparse.Namespace) -> Answer:
    """`kline demo`."""
    # KLINE_HOME names the user's own home, in which the demo's stocks have no place.
    named = "kline-demo" if options.home is None else options.home
    if not named or "://" in named:
        raise HomeError(f"--home is {named!r}; the demo needs a folder of its own, no URL")
    from flows.demo import demo as run_demo

    report = run_demo(Path(named), threads=options.threads, samples=options.samples)
    return Answer(report.text(), report.to_dict())


def ingest(options: argparse.Namespace) -> Answer:
    """`kline ingest`."""
    from kline_core.api.data import ingest as take_in
    from kline_core.bars.ingest_report import IngestReport, NothingUsableError

    failure = None
    if options.rejected is not None:
        _check_writable("--rejected", options.rejected)
    home = _named_home(options)
    try:
        report: IngestReport = take_in(home, options.paths, progress=True)
    except NothingUsableError as error:
        report, failure = error.report, str(error)
    if options.rejected is not None:
        report.rejections.to_csv(options.rejected, index=False)
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


def index(options: argparse.Namespace) -> Answer:
    """`kline index`."""
    from kline_core.api.data import update_patterns

    started = perf_counter()
    report = update_patterns(
        _named_home(options),
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
        text += f"\n{len(report.restated)} symbols were made again because their bars changed: {abbreviated(report.restated)}"
    return Answer(text, report.to_dict() | {"seconds": round(seconds, 3)})


def run(options: argparse.Namespace) -> Answer:
    """`kline run`."""
    from kline_core.api.factor import compute_factor

    failure = None
    request = request_from(options)
    try:
        result = compute_factor(
            _named_home(options),
            **request,
            settings=settings_from(options),
            encoder=options.encoder,
            device=options.device,
            scheduler=options.scheduler,
            threads=options.threads,
            progress=True,
        )
    except RunFailedError as error:
        result, failure = error.result, str(error)
    assert result.report is not None, "it was computed"
    return Answer(run_text(result.report, options.samples, options.dates is not None), result.report.to_dict(), failure)


def run_text(report: "RunReport", samples: int, dates_named: bool) -> str:
    """A run for a person: symbols (where they are not too many), totals, reasons, and where the time went."""
    shown = report.symbols if len(report.symbols) <= SHOWN_SYMBOLS else []
    header = ["symbol", "samples", "done", "failed", "re-used"]
    lines = [table(header, [[r.symbol, r.samples, r.done, r.failed, r.reused] for r in shown])] if shown else []
    total = {name: report.count(name) for name in ("samples", "done", "failed", "reused")}
    lines.append(
        f"{len(report.symbols)} symbols, {total['samples']} samples = {total['done']} done + {total['failed']} failed "
        f"+ {total['reused']} re-used; {report.n_patterns} patterns; run {report.run_id}"
    )
    if report.recall is not None:
        lines.append(str(report.recall))
    if refreshed := report.count("refreshed"):
        lines.append(f"{refreshed} values of earlier runs no longer held, and were made again")
    lines += [f"failed: {count} x {reason}" for reason, count in report.reasons.most_common(10)]
    short = [result.symbol for result in report.symbols if 0 < result.samples < samples]
    if short and not dates_named:
        lines.append(
            f"{len(short)} symbols have fewer than {samples} usable dates, so all of theirs: {abbreviated(short)}"
        )
    lines += [f"no samples for {result.symbol}: {result.problem}" for result in report.broken[:SHOWN_ROWS]]
    stages = ", ".join(f"{name} {value:.2f}" for name, value in report.seconds.items() if name != "total")
    lines.append(f"seconds: {report.seconds['total']:.2f} by the clock; {stages} (stages added up over threads)")
    return "\n".join(lines)


def request_from(options: argparse.Namespace) -> dict[str, Any]:
    """What the options of `kline run` ask for, as arguments of `compute_factor`. Raises `KlineError`."""
    from kline_core.dates import parse_date

    dates = None
    if options.dates is not None:
        if options.symbols or options.as_of:
            raise SettingError("--dates names the samples itself; leave SYMBOL and --as-of away")
        dates = read_dates(options.dates)
    return {
        "symbols": options.symbols or None,
        "samples": options.samples,
        "as_of": parse_date(options.as_of, "--as-of") if options.as_of is not None else None,
        "dates": dates,
        "max_failed_share": options.max_failed_share,
    }


def read_dates(path: Path) -> dict[str, Any]:
    """Sample dates by symbol from a CSV with columns symbol, date; each (symbol, date) once, in order.

    Raises `InputError` for a file that is no such CSV, naming the row.
    """
    import pandas as pd

    from kline_core.dates import parse_date

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a CSV in UTF-8 with columns symbol,date") from error
    if not {"symbol", "date"} <= set(frame.columns) or frame.empty:
        raise InputError(f"{path} has columns {', '.join(frame.columns)} and {len(frame)} rows; it needs symbol,date")
    dates: dict[str, set[np.datetime64]] = {}
    for row, (symbol, text) in enumerate(zip(frame["symbol"], frame["date"], strict=True), start=2):
        try:
            day = parse_date(text, "date")
        except KlineError as error:
            raise InputError(f"{path}, row {row}: {error}") from error
        dates.setdefault(symbol.strip(), set()).add(day)
    return {symbol: np.array(sorted(days), dtype="datetime64[D]") for symbol, days in dates.items()}


def match(options: argparse.Namespace) -> Answer:
    """`kline match`."""
    from kline_core.api.views import explain
    from kline_core.dates import parse_date

    if options.png is not None:
        _check_writable("--png", options.png)
    date = parse_date(options.date, "DATE") if options.date is not None else None
    view = explain(
        _named_home(options),
        options.symbol,
        date,
        settings=settings_from(options),
        encoder=options.encoder,
        device=options.device,
    )
    text = view.text()
    if options.png is not None:
        from kline_core.plots.match_plot import match_picture

        match_picture(view, options.png)
        text += f"\ndrawn in {options.png}"
    return Answer(text, view.to_dict())


def evaluate(options: argparse.Namespace) -> Answer:
    """`kline evaluate`."""
    from kline_core.api.views import evaluate as evaluated
    from kline_core.dates import parse_date

    if options.png is not None:
        _check_writable("--png", options.png)
    found = evaluated(
        _named_home(options),
        options.symbols or None,
        first=None if options.first is None else parse_date(options.first, "--first"),
        last=None if options.last is None else parse_date(options.last, "--last"),
        settings=settings_from(options),
        encoder=options.encoder,
        fingerprint=options.fingerprint,
    )
    text = found.text()
    if options.png is not None:
        from kline_core.plots.factor_plots import evaluation_picture

        options.png.write_bytes(evaluation_picture(found))
        text += f"\ndrawn in {options.png}"
    return Answer(text, found.to_dict())


def export(options: argparse.Namespace) -> Answer:
    """`kline export`."""
    from kline_core.factor.export import export_values

    rows = export_values(Home(_named_home(options)), options.file, options.format, options.fingerprint)
    return Answer(f"{rows} rows in {options.file}", {"rows": rows, "file": str(options.file)})


def verify(options: argparse.Namespace) -> Answer:
    """`kline verify`."""
    from kline_core.api.data import verify as check

    report = check(_named_home(options), settings=settings_from(options), encoder=options.encoder)
    return Answer(report.text(), report.to_dict(), None if report.ok else report.headline)


def train(options: argparse.Namespace) -> Answer:
    """`kline train`."""
    import torch

    from kline_core.compute.cluster import checked_threads
    from kline_core.encoder.encoder import save_weights
    from kline_core.encoder.model_card import reconstruction_picture, write_card
    from kline_core.encoder.training import WindowPool
    from kline_core.encoder.training import train as train_encoder

    if options.out.suffix != ".safetensors":
        raise SettingError(f"--out is {options.out}; the weights' name must end in .safetensors")
    _check_writable("--out", options.out)
    torch.set_num_threads(checked_threads(options.threads))
    started = perf_counter()
    pool = WindowPool.synthetic(options.seed)
    with bar("train", " steps") as progress:
        training = train_encoder(
            pool,
            options.steps,
            options.seed,
            device=options.device,
            progress=lambda done, losses: progress(done, options.steps, losses.line()),
        )
    save_weights(options.out, training.encoder, training.decoder, {})
    card = write_card(options.out, training, pool, options.seed, perf_counter() - started)
    picture = options.out.with_suffix(".png")
    reconstruction_picture(options.out, WindowPool.synthetic(options.seed + 1, 200, 200), picture)
    last = card["losses"][-1]
    text = (
        f"{options.steps} steps in {card['seconds']} s: "
        f"pair {last['pair']}, rank {last['rank']}, pixel {last['pixel']}\n"
        f"weights {options.out}, card {options.out.with_suffix('.json')}, reconstructions {picture}"
    )
    return Answer(text, card)


def up(options: argparse.Namespace) -> None:
    """`kline up`, which speaks as soon as everything is ready."""
    from flows.local_stack.up import up as run_all

    def announce(ready: "Ready") -> None:
        show(ready.text(), ready.to_dict(), options.json)

    run_all(_named_home(options), options.port, options.threads, announce)


COMMANDS: dict[str, Callable[[argparse.Namespace], Answer | None]] = {
    "demo": demo,
    "ingest": ingest,
    "index": index,
    "run": run,
    "match": match,
    "evaluate": evaluate,
    "export": export,
    "verify": verify,
    "train": train,
    "up": up,
}
