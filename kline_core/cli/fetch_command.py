"""`kline fetch`: bars from a live source."""

import argparse

from kline_core.cli.answer import Answer
from kline_core.cli.data_commands import row_lines, rows_line, symbol_lines, write_rejections
from kline_core.cli.options import check_writable, named_home
from kline_core.errors import SettingError
from kline_core.store.home import Home


def fetch(options: argparse.Namespace) -> Answer:
    """`kline fetch`."""
    from kline_core.api.fetch import fetch as take_in
    from kline_core.sources.fetch_report import NothingFetchedError

    failure = None
    if options.rejected is not None:
        check_writable("--rejected", options.rejected)
    home = named_home(options)
    try:
        report = take_in(home, options.source, since=options.since, members_since=options.members_since, progress=True)
    except NothingFetchedError as error:
        report, failure = error.report, str(error)
    lines = report.lines()
    if report.bars is not None:
        lines[1:1] = [f"{rows_line(report.bars)}; bars of {Home(home).uri}: version {report.bars.version}"]
        lines += [*row_lines(report.bars, options.rejected is not None), *symbol_lines(report.bars)]
        if options.rejected is not None:
            try:
                write_rejections(report.bars, options.rejected)
            except SettingError as error:
                failure = str(error) if failure is None else f"{failure}; {error}"
    return Answer("\n".join(lines), report.to_dict(), failure)
