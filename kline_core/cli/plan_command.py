"""`kline plan`: what a market costs on this machine."""

import argparse
import os

from kline_core.cli.answer import Answer
from kline_core.cli.options import settings_from
from kline_core.errors import SettingError


def plan(options: argparse.Namespace) -> Answer:
    """`kline plan`."""
    from kline_core.api.plan import plan as planned

    if options.home is not None and options.symbols is not None:
        raise SettingError(
            "--home and --symbols name two markets; give one of them", parameter="symbols", value=options.symbols
        )
    # A market that is asked for by numbers is meant, whatever home the environment names.
    home = options.home if options.home is not None or options.symbols is not None else os.environ.get("KLINE_HOME")
    made = planned(
        home or None,
        symbols=options.symbols,
        years=options.years,
        samples=options.samples,
        within=options.within,
        memory=options.memory,
        shards=options.shards,
        settings=settings_from(options),
        encoder=options.encoder,
        device=options.device,
        threads=options.threads,
    )
    return Answer(made.text(), made.to_dict())
