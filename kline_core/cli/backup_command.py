"""`kline backup`: a copy of a home that is a home itself."""

import argparse

from kline_core.cli.answer import Answer
from kline_core.cli.options import opened_home


def backup(options: argparse.Namespace) -> Answer:
    """`kline backup`."""
    from kline_core.api.backup import back_up

    made = back_up(opened_home(options), options.folder, prefect=not options.no_prefect)
    return Answer(made.text(), made.to_dict())
