"""`kline check` and `release`: quality of the bars, and release of jumps that are real."""

import argparse

from kline_core.cli.answer import Answer
from kline_core.cli.options import opened_home
from kline_core.errors import SettingError
from kline_core.symbols import canonical_symbol


def check(options: argparse.Namespace) -> Answer:
    """`kline check`."""
    from kline_core.api.quality import check as check_bars
    from kline_core.bars.named_columns import parse_columns

    columns = None if options.columns is None else parse_columns(options.columns)
    report = check_bars(
        opened_home(options),
        options.symbols or None,
        first=options.first,
        last=options.last,
        against=options.against,
        columns=columns,
    )
    return Answer(report.text(), report.to_dict(), report.headline if report.problems else None)


def release(options: argparse.Namespace) -> Answer:
    """`kline release`."""
    from kline_core.api.quality import hold_jump, release_jump

    home = opened_home(options)
    what = f"jump of {canonical_symbol(options.symbol)} on {options.date}"
    then = "; `kline index` and `kline run` make anew what depends on it"
    if options.undo:
        hold_jump(home, options.symbol, options.date)
        return Answer(f"the {what} is quarantined again{then}", {"released": False})
    if options.why is None:
        raise SettingError(
            "--why is missing; say what the jump was, for whoever asks later, or take a release back with --undo",
            parameter="--why",
        )
    release_jump(home, options.symbol, options.date, options.why)
    return Answer(f"the {what} is released{then}", {"released": True})
