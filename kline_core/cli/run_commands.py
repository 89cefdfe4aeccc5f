"""`kline runs` and `replay`: past runs, and one of them computed again."""

import argparse

from kline_core._text import table
from kline_core.cli.answer import Answer
from kline_core.cli.options import opened_home
from kline_core.errors import SettingError
from kline_core.store.run_records import RunRecord


def runs(options: argparse.Namespace) -> Answer:
    """`kline runs`."""
    from kline_core.api.runs import past_runs

    if options.last < 1:
        raise SettingError(
            f"--last is {options.last}; it must be at least 1",
            parameter="--last",
            value=options.last,
            bound="at least 1",
        )
    home = opened_home(options)
    found = past_runs(home, options.last)
    lines = []
    if found.records:
        header = ["run", "state", "began (UTC)", "seconds", "symbols", "samples", "done", "failed", "re-used"]
        header += ["settings", "bars", "patterns"]
        lines.append(table(header, [_row(record, found.states[record.run_id]) for record in found.records]))
    else:
        lines.append(f"no runs are recorded in {home.uri}; `kline run` makes one")
    lines += [f"{record.run_id}: {record.problem}" for record in found.records if record.problem is not None]
    if found.total > options.last:
        lines.append(f"{found.total - options.last} older runs; --last N shows more")
    lines += [str(error) for error in found.unreadable]
    failure = None
    if found.unreadable:
        failure = f"{len(found.unreadable)} records cannot be read, such as: {found.unreadable[0]}"
    return Answer("\n".join(lines), found.to_dict(), failure)


def _row(record: RunRecord, state: str) -> list[object]:
    counts = [record.counts.get(name, "-") for name in ("samples", "done", "failed", "reused")]
    versions = [_version(record, name) for name in ("bars", "patterns")]
    seconds = record.seconds.get("total")
    return [
        *(record.run_id, state, f"{record.began:%Y-%m-%d %H:%M:%S}", "-" if seconds is None else round(seconds, 1)),
        *(record.symbols, *counts, str(record.stored_under), *versions),
    ]


def _version(record: RunRecord, kind: str) -> str:
    """Version of a table as a run read it, with the table's name where it is not that of its kind."""
    if kind == "patterns" and record.years:
        return f"of {len(record.years)} encoders"
    version, table = record.tables[kind].version, record.table_of(kind)
    said = "-" if version is None else str(version)
    return said if table == kind else f"{said} of {table}"


def replay(options: argparse.Namespace) -> Answer:
    """`kline replay`."""
    from kline_core.api.runs import replay_run

    report = replay_run(
        opened_home(options),
        options.run,
        encoder=options.encoder,
        scheduler=options.scheduler,
        shards=options.shards,
        threads=options.threads,
        progress=True,
    )
    return Answer(report.text(), report.to_dict(), report.failure)
