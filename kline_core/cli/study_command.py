"""`kline study`: learned metrics, walk-forward, beside the seed factor and simple methods."""

import argparse

from kline_core.cli.answer import Answer
from kline_core.cli.options import check_writable, opened_home, sample_days


def study(options: argparse.Namespace) -> Answer:
    """`kline study`."""
    from kline_core.api.study import study as run_study
    from kline_core.cli.process import say

    if options.html is not None:
        check_writable("--html", options.html)
    first, last = sample_days(options)
    found = run_study(
        opened_home(options),
        every=options.every,
        first=first,
        last=last,
        learners=options.learner,
        keep=options.keep,
        scheduler=options.scheduler,
        threads=options.threads,
        progress=say,
    )
    text = found.text()
    if options.html is not None:
        from kline_core.plots.study_page import study_page

        options.html.write_text(study_page(found, options.up), encoding="utf-8")
        text += f"\npage in {options.html}"
    return Answer(text, found.to_dict())
