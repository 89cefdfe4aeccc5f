"""Options of the commands that learn: `kline study` and `kline train`."""

import argparse

from kline_core.cli.shared_options import add_device, add_page, add_threads, path_of

STEPS = 8000
"""Steps of `kline train` where nothing else is said."""


def add_study_options(study: argparse.ArgumentParser) -> None:
    """Options of `kline study`."""
    about = "sessions from one sample of a symbol to the next (default %(default)s)"
    study.add_argument("--every", type=int, default=1, metavar="N", help=about)
    study.add_argument("--first", metavar="DATE", help="first sample date (default: the first session)")
    study.add_argument("--last", metavar="DATE", help="last sample date (default: the newest session)")
    about = "only this learner, such as bars or charts; may be given several times, the preferred one first"
    study.add_argument("--learner", action="append", metavar="NAME", help=about)
    about = "keep what is learned for each year in this folder, so that a study that is broken off goes on"
    study.add_argument("--keep", type=path_of, metavar="FOLDER", help=about)
    add_page(study, "write the study as one page with a picture, which needs no network")
    study.add_argument("--scheduler", metavar="ADDRESS", help="standing Dask cluster, such as tcp://127.0.0.1:8786")
    add_threads(study)


def add_train_options(train: argparse.ArgumentParser) -> None:
    """Options of `kline train`."""
    about = "weights, with card and picture beside them; with --market a folder for those of all years"
    train.add_argument("--out", type=path_of, required=True, metavar="FILE", help=about)
    about = "teach the default encoder what followed the home's windows, for each year by what was known before it"
    train.add_argument("--market", action="store_true", help=about)
    about = "how often there is a new encoder of the market (default %(default)s)"
    train.add_argument("--every", choices=["year"], default="year", help=about)
    train.add_argument("--scheduler", metavar="ADDRESS", help="standing Dask cluster that trains the years of --market")
    about = f"default {STEPS}; not with --market, whose encoders are all taught alike, as are --seed and --device"
    train.add_argument("--steps", type=int, metavar="N", help=about)
    train.add_argument("--seed", type=int, metavar="N", help="default 0")
    add_device(train, training=True)
    add_threads(train)
