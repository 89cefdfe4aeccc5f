"""Options that several commands share, and the types of their values."""

import argparse
from pathlib import Path


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


# argparse names the kind of a value that it refuses.
_whole_numbers.__name__, _numbers.__name__ = "list of whole numbers", "list of numbers"


def path_of(text: str) -> Path:
    """A path as the command line has it. Without this, an empty one would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no path; name a file or a folder")
    return Path(text)


def add_cluster(command: argparse.ArgumentParser) -> None:
    """Options of a command that a standing cluster may compute."""
    command.add_argument("--scheduler", metavar="ADDRESS", help="standing Dask cluster, such as tcp://127.0.0.1:8786")
    about = "shards that the vectors lie in, over its workers (default: every worker holds all); no value depends on it"
    command.add_argument("--shards", type=int, metavar="N", help=about)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Threads of a cluster inside the process."""
    parser.add_argument("--threads", type=int, metavar="N", help="default: one per core, at most 16")


_METAVARS = {str: "NAME", int: "N", float: "X"}


def _half_life(text: str) -> float | str:
    if text.lower() == "none":
        return text.lower()
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of days nor none") from None


def _horizons(text: str) -> tuple[int, ...]:
    try:
        return _whole_numbers(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of bars such as 1,5,10,20") from None


def add_factor_options(parser: argparse.ArgumentParser) -> None:
    """How matches become values: the fields of `FactorSettings`, but for the next."""
    about = "settings to begin with: seed (the default) or broad (many matches of any age); other options count more"
    parser.add_argument("--preset", metavar="NAME", help=about)
    for name, kind, about in (
        ("mode", str, "fast (vectors only, default) or full (bars and charts of the candidates compared as well)"),
        ("top-k", int, "matches per sample (default 5; 10 in full mode)"),
        ("search-k", int, "candidates looked at, at most (default 300; 2000 in full mode)"),
        ("isolation-bars", int, "matches of one symbol lie further apart than this (default 20)"),
        ("min-matches", int, "fewer matches give no value (default 5)"),
        ("min-effective-matches", float, "fewer effective matches, 1 / sum of squared shares, give no value"),
        ("min-similarity", float, "what is less similar is no match (default: no floor)"),
        ("barrier-weight", float, "weight of the barrier win rate in the value, 0 to 1 (default 0.7)"),
        ("return-horizon", int, "horizon, in bars, of the returns that enter the value (default 5)"),
        ("many", int, "make a second value too, of so many nearest windows: their mean rank (default 0: none)"),
        ("max-price-checks", int, "full mode: candidates compared by their bars, at most (default 2000)"),
        ("rerank-k", int, "full mode: the best of them compared by their charts as well (default 80)"),
        ("pixel-weight", float, "full mode: weight of equal pixels in the similarity (default 0.2)"),
        ("edge-weight", float, "full mode: weight of equal edges in the similarity (default 0.1)"),
    ):
        parser.add_argument(f"--{name}", type=kind, metavar=_METAVARS[kind], help=about)
    about = "age at which a match weighs half, in days, or none: every age weighs the same (default 180)"
    parser.add_argument("--half-life", dest="half_life_days", type=_half_life, metavar="DAYS", help=about)
    about = "exact, or ivf: approximate, for very large histories (default exact)"
    parser.add_argument("--index", choices=["exact", "ivf"], help=about)
    about = "of 1024 lists, how many an ivf index compares a sample with (default 96)"
    parser.add_argument("--probes", type=int, metavar="N", help=about)
    about = "score dates through which the encoder was trained all the same, and mark them"
    parser.add_argument("--allow-seen", action="store_true", help=about)


def add_min_recall(parser: argparse.ArgumentParser) -> None:
    """What an approximate index must find, of commands that search."""
    about = "refuse an ivf index that finds a smaller share of the exact matches (default 0.99)"
    parser.add_argument("--min-recall", type=float, metavar="SHARE", help=about)


def add_pattern_options(parser: argparse.ArgumentParser) -> None:
    """What a pattern is: the fields of `PatternSettings`, and the encoder."""
    about = "horizons of the forward returns, in bars: 1,5,10,20 (the default)"
    parser.add_argument("--horizons", type=_horizons, metavar="N,...", help=about)
    for name, kind, about in (
        ("barrier-up", float, "distance of the upper barrier, as a fraction of the entry (default 0.05)"),
        ("barrier-down", float, "distance of the lower barrier (default 0.03)"),
        ("barrier-bars", int, "bars in which a barrier may be touched (default 20)"),
        ("entry-lag-bars", int, "bars from the window's end to the entry (default 1)"),
        ("window-bars", int, "bars in a window, as many as the encoder takes (default 20)"),
        ("max-gap-days", int, "longest hole inside a window, in calendar days (default 20)"),
    ):
        parser.add_argument(f"--{name}", type=kind, metavar=_METAVARS[kind], help=about)
    parser.add_argument("--pattern-stride", type=int, metavar="N", help="every Nth session's windows are patterns")
    parser.add_argument("--calendar", metavar="NAME", help="whose sessions --pattern-stride counts (default XSHG)")
    about = "count forward returns minus the mean of the home's symbols over the same days; barriers stay as they are"
    parser.add_argument("--market-relative", action="store_true", default=None, help=about)
    about = "let windows and outcomes reach across unexplained jumps, which `kline check` lists"
    parser.add_argument("--allow-jumps", action="store_true", default=None, help=about)
    about = "time scales, in traded bars per candle, such as 1,5,21 for daily, weekly and monthly charts (default 1)"
    parser.add_argument("--scales", type=_whole_numbers, metavar="BARS", help=about)
    about = "weight of each scale in a similarity, such as 0.6,0.3,0.1, which are those of 1,5,21 by default"
    parser.add_argument("--scale-weights", type=_numbers, metavar="WEIGHTS", help=about)
    about = (
        "weights from `kline train`, or a folder from `kline train --market`, whose encoders each serve the samples of "
        "their year (default: the weights that come along)"
    )
    parser.add_argument("--encoder", metavar="PLACE", help=about)


def add_device(parser: argparse.ArgumentParser, training: bool = False) -> None:
    """Device of the encoder, or of its training."""
    names = "auto, cpu, cuda or mps" if training else "auto, cpu, cuda, mps or onnx"
    parser.add_argument("--device", default="auto", help=f"{names} (default %(default)s)")


def add_sample_days(parser: argparse.ArgumentParser) -> None:
    """Which of the stored samples, by their dates; `kline_core.cli.options.sample_days` reads them."""
    parser.add_argument("--first", metavar="DATE", help="first sample date (default: the first that is stored)")
    parser.add_argument("--last", metavar="DATE", help="last sample date (default: the newest that is stored)")


def add_page(parser: argparse.ArgumentParser, what: str) -> None:
    """A page of what was found, and the colours of its pictures."""
    parser.add_argument("--html", type=path_of, metavar="FILE", help=what)
    about = "colour of what lies above zero in pictures: blue, red as in Shanghai, green as in New York (default blue)"
    parser.add_argument("--up", choices=["blue", "red", "green"], default="blue", help=about)
