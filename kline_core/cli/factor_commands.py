"""`kline run`, `match`, `evaluate` and `export`: compute, inspect, judge and export factor values."""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kline_core._text import abbreviated, table
from kline_core.cli.answer import Answer
from kline_core.cli.data_commands import SHOWN_ROWS
from kline_core.cli.options import check_outside_tables, check_writable, opened_home, sample_days, settings_from
from kline_core.errors import RunFailedError, SettingError
from kline_core.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from kline_core.compute.run_report import RunReport


def run(options: argparse.Namespace) -> Answer:
    """`kline run`."""
    from kline_core.api.factor import compute_factor

    failure = None
    home, settings = opened_home(options), settings_from(options)
    request = request_from(options)
    try:
        result = compute_factor(
            home,
            **request,
            settings=settings,
            encoder=options.encoder,
            device=options.device,
            scheduler=options.scheduler,
            shards=options.shards,
            threads=options.threads,
            progress=True,
        )
    except RunFailedError as error:
        result, failure = error.result, str(error)
    assert result.report is not None, "it was computed"
    return Answer(run_text(result.report, options.samples, options.dates is not None), result.report.to_dict(), failure)


def _without_second(reasons: Counter[str]) -> Iterator[str]:
    """Why samples have no second value: the commonest reasons, and how many have another."""
    most = reasons.most_common(5)
    yield from (f"no second value: {count} x {reason}" for reason, count in most)
    if rest := reasons.total() - sum(count for _, count in most):
        yield f"no second value: {rest} x one of {len(reasons) - len(most)} other reasons, which --json lists"


def run_text(report: "RunReport", samples: int, dates_named: bool) -> str:
    """A run as text: symbols (unless there are too many), totals, reasons, and seconds by stage."""
    shown = report.symbols if len(report.symbols) <= SHOWN_SYMBOLS else []
    header = ["symbol", "samples", "done", "failed", "re-used"]
    lines = [table(header, [[r.symbol, r.samples, r.done, r.failed, r.reused] for r in shown])] if shown else []
    total = {name: report.count(name) for name in ("samples", "done", "failed", "reused")}
    lines.append(
        f"{len(report.symbols)} symbols, {total['samples']} samples = {total['done']} done + {total['failed']} failed "
        f"+ {total['reused']} re-used; {report.n_patterns} patterns; run {report.run_id}"
    )
    if report.years:
        lines.append(
            f"encoders of {min(report.years)} to {max(report.years)}, each for the samples of its year, the last for "
            "later ones too"
        )
    if report.recall is not None:
        lines.append(str(report.recall))
    if report.newer is not None:
        lines.append(f"{report.newer}; `kline index` and `kline run` take them")
    if refreshed := report.count("refreshed"):
        lines.append(f"{refreshed} values of earlier runs no longer held, and were made again")
    lines += [f"failed: {count} x {reason}" for reason, count in report.reasons.most_common(10)]
    if (many := report.many) is not None:
        lines.append(f"{many.values} samples have a second value, from many")
        lines += _without_second(many.reasons)
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
    """Arguments of `compute_factor` from the options of `kline run`. Raises `KlineError`."""
    from kline_core.dates import parse_date
    from kline_core.factor.dates_file import read_dates

    dates = None
    if options.dates is not None:
        if options.symbols or options.as_of:
            raise SettingError(
                "--dates names the samples itself; leave SYMBOL and --as-of away",
                parameter="--dates",
                value=options.dates,
            )
        dates = read_dates(options.dates)
    return {
        "symbols": options.symbols or None,
        "samples": options.samples,
        "as_of": parse_date(options.as_of, "--as-of") if options.as_of is not None else None,
        "dates": dates,
        "max_failed_share": options.max_failed_share,
    }


def match(options: argparse.Namespace) -> Answer:
    """`kline match`."""
    from kline_core.api.context import context
    from kline_core.api.views import explain
    from kline_core.dates import parse_date

    if options.run is not None and options.context:
        raise SettingError(
            "--context is computed from the bars as they are now, and --run shows what was stored then; leave one away",
            parameter="--context",
            value=options.run,
        )
    for option in ("png", "attention"):
        if getattr(options, option) is not None:
            check_writable(f"--{option}", getattr(options, option))
    home, settings = opened_home(options), settings_from(options)
    date = parse_date(options.date, "DATE") if options.date is not None else None
    view = explain(
        home,
        options.symbol,
        date,
        settings=settings,
        encoder=options.encoder,
        device=options.device,
        run=options.run,
        attention=options.attention is not None,
    )
    text, document = view.text(), view.to_dict()
    if options.context:
        found = plain_context(context(home, dates={view.symbol: [view.date]}))
        text += "\n\n" + context_text(found)
        document["context"] = found
    if options.png is not None:
        from kline_core.plots.match_plot import match_picture

        match_picture(view, options.png)
        text += f"\ndrawn in {options.png}"
    if options.attention is not None:
        from kline_core.plots.attention_plot import attention_picture

        if view.attention is None:
            text += "\nno attention map: there are no matches"
        else:
            attention_picture(view, options.attention)
            text += f"\nattention drawn in {options.attention}"
    return Answer(text, document)


def plain_context(frame: "pd.DataFrame") -> dict[str, Any]:
    """The context of one sample as plain JSON values."""
    row = frame.iloc[0].drop(["symbol", "date"])
    return {str(name): None if row.isna()[name] else row[name] for name in row.index}


def context_text(found: dict[str, Any]) -> str:
    """The context of one sample as text."""

    def shown(name: str, form: str) -> str:
        return "-" if found[name] is None else format(found[name], form)

    def trend(who: str, return_: str, volatility: str, regime: str) -> str:
        regime = found[regime] or "regime not known"
        return f"{who} {regime} (60 bars: {shown(return_, '+.1%')}, volatility {shown(volatility, '.2%')} a bar)"

    lines = [
        "context, on which no value depends: "
        + trend("symbol", "trailing_return", "volatility", "regime")
        + "; "
        + trend("market", "market_return", "market_volatility", "market_regime"),
        f"volume {shown('volume_ratio', '.2f')} of the usual, OBV slope {shown('obv_slope', '+.3f')}, CMF "
        f"{shown('cmf', '+.3f')}, MFI {shown('mfi', '.0f')}, turnover {shown('turnover', ',.0f')}",
    ]
    return "\n".join(lines)


def history(options: argparse.Namespace) -> Answer:
    """`kline history`."""
    from kline_core.api.views import history as stored

    if options.png is not None:
        check_writable("--png", options.png)
    home, settings = opened_home(options), settings_from(options)
    first, last = sample_days(options)
    found = stored(
        home,
        options.symbol,
        first=first,
        last=last,
        settings=settings,
        encoder=options.encoder,
        fingerprint=options.fingerprint,
    )
    text = found.text()
    if options.png is not None:
        from kline_core.plots.history_plot import history_png

        options.png.write_bytes(history_png(found))
        text += f"\ndrawn in {options.png}"
    return Answer(text, found.to_dict())


def evaluate(options: argparse.Namespace) -> Answer:
    """`kline evaluate`."""
    from kline_core.api.agreement import compare
    from kline_core.api.views import evaluate as evaluated

    for option, file in (("--png", options.png), ("--html", options.html)):
        if file is not None:
            check_writable(option, file)
    if options.alphalens is not None:
        check_outside_tables("--alphalens", options.alphalens)
        if options.symbols or any((options.first, options.last, options.universe)):
            raise SettingError(
                "--alphalens writes all values of the fingerprint; leave SYMBOL, --first, --last and --universe away",
                parameter="--alphalens",
                value=options.alphalens,
            )
    if options.of != "value" and (options.compare is not None or options.alphalens is not None):
        raise SettingError(
            "--compare and --alphalens are of values; leave --of away, or these", parameter="--of", value=options.of
        )
    if options.compare is not None and options.universe is not None:
        raise SettingError(
            "--compare compares all samples stored under both; leave --universe away",
            parameter="--compare",
            value=options.compare,
        )
    home, settings = opened_home(options), settings_from(options)
    first, last = sample_days(options)
    agreed = None
    if options.compare is not None:
        agreed = compare(
            home,
            options.compare,
            options.symbols or None,
            first=first,
            last=last,
            settings=settings,
            encoder=options.encoder,
            fingerprint=options.fingerprint,
        )
    found = evaluated(
        home,
        options.symbols or None,
        first=first,
        last=last,
        settings=settings,
        encoder=options.encoder,
        fingerprint=options.fingerprint,
        universe=options.universe,
        of=options.of,
        **({} if options.cost is None else {"cost": options.cost}),
    )
    text, document = found.text(), found.to_dict()
    if agreed is not None:
        text, document = f"{text}\n\n{agreed.text()}", document | {"agreement": agreed.to_dict()}
    if options.png is not None:
        from kline_core.plots.factor_plots import evaluation_picture

        options.png.write_bytes(evaluation_picture(found, options.up))
        text += f"\ndrawn in {options.png}"
    if options.html is not None:
        options.html.write_text(found.html(options.up), encoding="utf-8")
        text += f"\npage in {options.html}"
    if options.alphalens is not None:
        from kline_core.encoder.year_folder import stored_under
        from kline_core.factor.alphalens_folder import write_alphalens

        rows = write_alphalens(home, options.alphalens, options.fingerprint or stored_under(settings, options.encoder))
        text += f"\n{rows} values and their prices in {options.alphalens}"
    return Answer(text, document)


def baselines(options: argparse.Namespace) -> Answer:
    """`kline baselines`."""
    from kline_core.api.baselines import compare_baselines
    from kline_core.cli.process import say

    if options.html is not None:
        check_writable("--html", options.html)
    home = opened_home(options)
    first, last = sample_days(options)
    found = compare_baselines(
        home,
        options.symbols or None,
        first=first,
        last=last,
        only=options.only,
        settings=settings_from(options),
        encoder=options.encoder,
        device=options.device,
        progress=say,
    )
    text = found.text()
    if options.html is not None:
        from kline_core.plots.baselines_page import baselines_page

        options.html.write_text(baselines_page(found, options.up), encoding="utf-8")
        text += f"\npage in {options.html}"
    return Answer(text, found.to_dict())


def export(options: argparse.Namespace) -> Answer:
    """`kline export`."""
    from kline_core.api.factor import named_values
    from kline_core.factor.alphalens_folder import FACTOR, PRICES, write_alphalens
    from kline_core.factor.export import export_values
    from kline_core.factor.qlib_folder import write_qlib

    place: Path = options.file
    if options.context and options.format != "long":
        raise SettingError(
            f"--context adds columns to rows, and --format is {options.format}; use --format long",
            parameter="--context",
            value=options.format,
            bound="long",
        )
    check_outside_tables("FILE", place)
    home, settings = opened_home(options), settings_from(options)
    named = named_values(options.fingerprint, settings if settings != Settings() else None, options.encoder)
    if options.format == "qlib":
        report = write_qlib(home, place, named)
        lines = [f"{report.rows} values of {report.instruments} instruments and {report.days} days in {place}"]
        lines += [f"left out: {reason}" for reason in report.left_out]
        return Answer("\n".join(lines), asdict(report) | {"file": str(place)})
    if options.format == "alphalens":
        rows = write_alphalens(home, place, named)
        text = f"{rows} values in {place / FACTOR}, the prices at which they can be traded in {place / PRICES}"
        return Answer(text, {"rows": rows, "file": str(place)})
    rows = export_values(home, place, options.format, named, options.context)
    return Answer(f"{rows} rows in {place}", {"rows": rows, "file": str(place)})


SHOWN_SYMBOLS = 40
