"""`kline doctor`: what is in order on this machine, what is worth knowing, and what is a problem."""

import argparse
import os

from kline_core.cli.answer import Answer


def doctor(options: argparse.Namespace) -> Answer:
    """`kline doctor`."""
    from kline_core.api.doctor import checkup

    named = os.environ.get("KLINE_HOME") if options.home is None else options.home
    found = checkup(named or None)
    return Answer(found.text(), found.to_dict(), found.failure)
