"""Parser of `kline`, and how one command runs. Answers go to standard output, progress and logs to standard error.

Exit code 0: done. 1: failed, with one line that says why. 2: wrong usage. 3: `kline verify` found no damage, and work
that is pending or was cut off. 128 and the number of a signal: stopped by it (130 after Ctrl-C).
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from kline_core import __version__
from kline_core._text import harmless, is_utf8, refusal, shortened
from kline_core.cli import process
from kline_core.cli.console import ReaderGoneError, show, write
from kline_core.cli.learning_options import add_study_options, add_train_options
from kline_core.cli.process import entry as entry  # scripts that were installed earlier look for it here
from kline_core.cli.shared_options import (
    add_cluster,
    add_device,
    add_factor_options,
    add_min_recall,
    add_page,
    add_pattern_options,
    add_sample_days,
    add_threads,
    path_of,
)
from kline_core.errors import KlineError

_LONGEST: Final = 600
"""Characters of a message about wrong usage, which may list the names of all commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code."""
    parser = build_parser()
    words = sys.argv[1:] if arguments is None else list(arguments)
    for word in words:
        if not is_utf8(word):
            parser.error(
                f"{word!a} is not in {sys.getfilesystemencoding().upper()}; rename the file, or set PYTHONUTF8=1"
            )
        if word.startswith("--") and word.endswith("=--"):
            # argparse would take it for a list without members.
            parser.error(f"{word}: -- is no value")
    options = parser.parse_args(words)
    try:
        # The commands' own libraries: imported only now, since --help and wrong usage need none.
        from kline_core.cli.commands import COMMANDS

        # Torch's library of matrix products ends the whole process where there is no current folder.
        if not _folder_is_there():
            raise KlineError("the current folder has been removed; change to one that is there")
        process.begin_work()
        answer = COMMANDS[options.command](options)
        if answer is None:
            return 0
        show(answer.text, answer.document, options.json)
        if answer.failure is not None:
            process.say(answer.failure)
            return 1
        return answer.code
    except KlineError as error:
        return _fail(str(error), options)
    except KeyboardInterrupt as stop:
        return _stopped(stop)
    except ReaderGoneError:
        return 1
    except Exception as error:  # noqa: BLE001  whatever it was: one line for a person, everything with --debug
        if process.stopped_by() is not None:
            return _stopped(error)
        return _fail(_unforeseen(error), options)


def _fail(message: str, options: argparse.Namespace) -> int:
    if options.debug:
        raise
    process.say(message)
    return 1


def _stopped(error: BaseException) -> int:
    """Exit code after a signal, which may come out of foreign code as another error; --debug has no error to show."""
    number = process.stopped_by() or signal.SIGINT
    said = str(error) if isinstance(error, KeyboardInterrupt) else ""
    process.say(said or f"{process.STOPS[signal.Signals(number)]}; what was stored before is kept")
    return 128 + number


def _unforeseen(error: Exception) -> str:
    """Message about an error that nobody raised on purpose."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        place = error.filename if isinstance(error.filename, str) else os.fsdecode(error.filename)
        return f"{place} cannot be used ({refusal(error)}); name another, or make it usable"
    if isinstance(error, OSError) and error.strerror:
        return f"the system refuses ({error.strerror}); make room or allow it, then start again; --debug shows where"
    return f"unexpected {type(error).__name__}: {error}; --debug shows where"


def _folder_is_there() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Argparse repeats a value as it was typed, however long.
        self.exit(2, f"{self.prog}: {shortened(harmless(message), _LONGEST)} (see `{self.prog} --help`)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help, version or usage. argparse's own method passes over what cannot be written, and ends with 0."""
        if file is not sys.stdout:
            super()._print_message(message, file)
            return
        try:
            write(message)
        except ReaderGoneError:
            sys.exit(1)
        except OSError as error:
            process.say(f"standard output cannot be written ({error.strerror or error}); name another place for it")
            sys.exit(1)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="kline", description="K-line factor: after charts like this one, how often did the price rise?"
    )
    parser.add_argument("--version", action="version", version=f"kline {__version__}")
    _add_common(parser, None, False)
    # Options after the command override those before it; absent ones must not reset these.
    common = _Parser(add_help=False)
    _add_common(common, argparse.SUPPRESS, argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about, parents=[common])

    demo = command(
        "demo",
        "Everything on real bars of five US stocks, into a home of its own: the folder that --home names, else "
        "./kline-demo. KLINE_HOME is not asked.",
    )
    demo.add_argument("--samples", type=int, default=600, help="sample dates per symbol (default %(default)s)")
    add_threads(demo)

    ingest = command("ingest", "Bars from files, archives or folders of many vendors, every row accounted for.")
    ingest.add_argument("paths", nargs="+", type=path_of, metavar="PATH")
    ingest.add_argument("--rejected", type=path_of, metavar="FILE", help="write every rejected row to this CSV file")
    about = "leave out a file that holds more, unpacked (default 2 GiB)"
    ingest.add_argument("--max-file-bytes", type=int, metavar="N", help=about)
    about = 'names of columns in no known layout: date=Datum,close="Schluss, roh"; may be given several times'
    ingest.add_argument("--columns", action="append", metavar="MEANING=NAME,...", help=about)
    about = "keep --columns with the home, for later files that no layout fits (`kline notes` shows and forgets them)"
    ingest.add_argument("--keep-columns", action="store_true", help=about)

    about = "country whose exchanges the home is of, such as CN or US (default: what its first symbols tell)"
    ingest.add_argument("--market", metavar="NAME", help=about)

    about = "bring the patterns up to date as well, as `kline index` does without options"
    ingest.add_argument("--index", action="store_true", help=about)
    fetch = command(
        "fetch",
        "Bars from a live source, each symbol since its last stored bar: akshare, baostock, tushare or yfinance, each "
        "with the extra of its name.",
    )
    about = "such as akshare:csi300, baostock:600519,000001, tushare:all or yfinance:AAPL,MSFT"
    fetch.add_argument("source", metavar="SOURCE[:UNIVERSE]", help=about)
    about = "first day of symbols that are not stored yet (default: all that the source has)"
    fetch.add_argument("--since", metavar="DATE", help=about)
    about = "ask for the members of the index on past days too, from this one on (baostock, tushare)"
    fetch.add_argument("--members-since", metavar="DATE", help=about)
    fetch.add_argument("--rejected", type=path_of, metavar="FILE", help="write every rejected row to this CSV file")

    notes = command("notes", "What is kept with the home beside its tables, such as columns named by hand.")
    notes.add_argument("--forget", metavar="NAME", help="remove this note, such as columns")

    check = command(
        "check",
        "Quality of the bars: coverage, holes, stale and repeated bars, units, unexplained jumps; 1 where somebody has "
        "to look. Changes nothing.",
    )
    check.add_argument("symbols", nargs="*", metavar="SYMBOL", help="default: all")
    check.add_argument("--first", metavar="DATE", help="first day (default: the first that is stored)")
    check.add_argument("--last", metavar="DATE", help="last day (default: the newest)")
    about = "files or folders of another vendor, to compare with"
    check.add_argument("--against", nargs="+", type=path_of, metavar="PATH", help=about)
    about = "names of their columns, as for ingest"
    check.add_argument("--columns", action="append", metavar="MEANING=NAME,...", help=about)

    release = command("release", "Release an unexplained jump that is real: windows reach across it again.")
    release.add_argument("symbol", metavar="SYMBOL")
    release.add_argument("date", metavar="DATE", help="day of the bar after the jump, as `kline check` lists it")
    release.add_argument("--why", metavar="TEXT", help="what it was; kept with the home")
    release.add_argument("--undo", action="store_true", help="take the release back")

    index = command("index", "Bring the patterns up to date with the bars.")
    add_pattern_options(index)
    add_device(index)
    add_threads(index)
    index.add_argument("--rebuild", action="store_true", help="make all patterns again, with these settings")
    about = "remove the patterns of these settings instead, which are wanted no longer; values made with them stay"
    index.add_argument("--remove", action="store_true", help=about)
    index.add_argument(
        "--max-removed-share",
        type=float,
        default=0.2,
        help="refuse to remove more than this share of the patterns for good (default %(default)s)",
    )

    run = command("run", "Compute and store factor values.")
    about = "such as AAPL, 600519.SH, sh600519 or 600519 (default: all)"
    run.add_argument("symbols", nargs="*", metavar="SYMBOL", help=about)
    run.add_argument("--samples", type=int, default=600, help="sample dates per symbol (default %(default)s)")
    run.add_argument("--as-of", metavar="DATE", help="newest sample date (default: the newest bar)")
    run.add_argument(
        "--dates", type=path_of, metavar="FILE", help="CSV with columns symbol,date: these samples instead"
    )
    add_cluster(run)
    run.add_argument("--max-failed-share", type=float, default=0.2, help="fail above this share (default %(default)s)")
    add_factor_options(run)
    add_min_recall(run)
    add_pattern_options(run)
    add_device(run)
    add_threads(run)

    match = command("match", "One sample's matches, with what followed them.")
    match.add_argument("symbol", metavar="SYMBOL", help="such as AAPL, 600519.SH, sh600519 or 600519")
    match.add_argument("date", nargs="?", metavar="DATE", help="a trading day (default: the newest)")
    match.add_argument("--png", type=path_of, metavar="FILE", help="draw the query and its matches")
    about = "show a past run's value and matches, as it stored or re-used them (`kline runs` lists the ids)"
    match.add_argument("--run", metavar="RUN_ID", help=about)
    about = "draw on which candles of the chart the likeness to each match rests, by painting them over in turn"
    match.add_argument("--attention", type=path_of, metavar="FILE", help=about)
    about = "say regime, volume and money flow of the day too; no value depends on them"
    match.add_argument("--context", action="store_true", help=about)
    add_factor_options(match)
    add_min_recall(match)
    add_pattern_options(match)
    add_device(match)

    history = command("history", "A symbol's stored values beside its price.")
    history.add_argument("symbol", metavar="SYMBOL", help="such as AAPL, 600519.SH, sh600519 or 600519")
    add_sample_days(history)
    about = "which values (default: those of the settings that the other options name)"
    history.add_argument("--fingerprint", metavar="HEX", help=about)
    history.add_argument("--png", type=path_of, metavar="FILE", help="draw prices and values")
    add_factor_options(history)
    add_pattern_options(history)

    evaluate = command("evaluate", "What the stored values were worth: IC, decay, returns by value, coverage by year.")
    evaluate.add_argument("symbols", nargs="*", metavar="SYMBOL", help="symbols (default: all with values)")
    add_sample_days(evaluate)
    about = "which values (default: those of the settings that the other options name)"
    evaluate.add_argument("--fingerprint", metavar="HEX", help=about)
    about = "only values of days on which the symbol was a member of this index, as `kline fetch` kept them: csi300"
    evaluate.add_argument("--universe", metavar="NAME", help=about)
    about = "agreement with the values of this mode, or of this fingerprint, on the samples stored under both"
    evaluate.add_argument("--compare", metavar="MODE", help=about)
    about = "what is judged: value, or many: the second value of settings with --many (default %(default)s)"
    evaluate.add_argument("--of", choices=["value", "many"], default="value", help=about)
    about = "of what the portfolios buy and of what they sell, as a share of it (default 0.001, ten basis points)"
    evaluate.add_argument("--cost", type=float, metavar="X", help=about)
    evaluate.add_argument("--png", type=path_of, metavar="FILE", help="draw the IC by horizon and the returns by value")
    add_page(evaluate, "write everything as one page with pictures, which needs no network")
    about = "write all values of the fingerprint and the prices into this folder, as `kline export --format alphalens`"
    evaluate.add_argument("--alphalens", type=path_of, metavar="FOLDER", help=about)
    add_factor_options(evaluate)
    add_pattern_options(evaluate)

    baselines = command(
        "baselines",
        "The stored values beside simple methods on the same samples: similar closes, prices and pixels, an untrained "
        "network, the last 5 and 20 bars, a gradient-boosted model.",
    )
    baselines.add_argument("symbols", nargs="*", metavar="SYMBOL", help="symbols (default: all with values)")
    add_sample_days(baselines)
    about = "only this baseline, such as closes or boosting; may be given several times"
    baselines.add_argument("--only", action="append", metavar="NAME", help=about)
    add_page(baselines, "write the comparison as one page with a picture, which needs no network")
    add_factor_options(baselines)
    add_pattern_options(baselines)
    add_device(baselines)

    study = command(
        "study",
        "Metrics taught walk-forward what followed windows, and the factor that they make, beside the seed factor, "
        "similar closes, reversal, momentum and a gradient-boosted model on the same samples.",
    )
    add_study_options(study)

    export = command("export", "Stored values for other programs, as a file or, for alphalens and Qlib, as a folder.")
    about = "ends in .parquet, .arrow, .feather or .csv; a folder for alphalens and qlib"
    export.add_argument("file", type=path_of, metavar="FILE", help=about)
    about = "one row per value, one column per symbol, or as alphalens or Qlib take it (default %(default)s)"
    export.add_argument("--format", choices=["long", "wide", "alphalens", "qlib"], default="long", help=about)
    about = "which values, where there are several kinds (or name them by the other options)"
    export.add_argument("--fingerprint", metavar="HEX", help=about)
    about = "beside each value regime, volume and money flow of its day; --format long alone"
    export.add_argument("--context", action="store_true", help=about)
    add_factor_options(export)
    add_pattern_options(export)

    up = command(
        "up",
        "Prefect server, work pool, deployments, worker and warm cluster of a home, until Ctrl-C. The home is a folder "
        "and made where it is missing.",
    )
    up.add_argument("--port", type=int, default=4200, help="of the server and its pages (default %(default)s)")
    about = "address on which server and cluster listen (default %(default)s); others need --tls and a password"
    up.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=about)
    about = "TLS for server and cluster, with the certificates of Dask's configuration, else with new ones"
    up.add_argument("--tls", action="store_true", help=about)
    about = (
        "where daily runs take bars from, kept with the home: a live source such as akshare:csi300, a folder, or none"
    )
    up.add_argument("--source", metavar="SOURCE", help=about)
    add_threads(up)

    notify = command(
        "notify",
        "Messages about flow runs, sent by the Prefect server that PREFECT_API_URL names, else by that of the home's "
        "`kline up`. Set up twice, a place still gets one message.",
    )
    what = notify.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--webhook", metavar="URL", help="send a JSON document there; - reads the URL from standard input"
    )
    about = "send a mail through the server in KLINE_SMTP, such as smtps://USER:PASSWORD@smtp.example.com"
    what.add_argument("--email", metavar="ADDRESS", help=about)
    what.add_argument("--list", action="store_true", help="what is set up")
    what.add_argument("--remove", metavar="NAME", help="no more messages there; NAME as --list has it")
    about = (
        "what to tell of (default failed, crashed runs included, interrupted, late, and incomplete: completed without "
        "some symbols' bars or files); may be given several times"
    )
    notify.add_argument(
        "--on", action="append", choices=["failed", "interrupted", "late", "incomplete", "completed"], help=about
    )

    verify = command("verify", "Check every table against the others; 1 where something is wrong. Changes nothing.")
    add_factor_options(verify)
    about = "weights that the patterns were made with, or a folder of them (default: those that come along)"
    verify.add_argument("--encoder", metavar="PLACE", help=about)

    runs = command("runs", "Past runs, newest first: settings, versions read, counts and seconds.")
    runs.add_argument("--last", type=int, default=20, metavar="N", help="how many (default %(default)s)")

    replay = command(
        "replay",
        "Compute a past run again from the versions of the tables that it read; 1 where a value or match is not the "
        "same bit for bit. Stores nothing.",
    )
    replay.add_argument("run", metavar="RUN_ID", help="as `kline run` and `kline runs` name it")
    about = "weights of the run, or the folder of those of each year (default: where they lay then)"
    replay.add_argument("--encoder", metavar="PLACE", help=about)
    add_cluster(replay)
    add_threads(replay)

    command(
        "doctor",
        "What is in order, worth knowing or a problem: machine, packages, clock, calendars, servers and, if one is "
        "named, a home; 1 where there is a problem. Changes nothing.",
    )

    plan = command(
        "plan",
        "What a home, or a market of so many symbols and years, costs on this machine: patterns, memory, disk, seconds "
        "and workers, by a measurement of some ten seconds. Changes nothing.",
    )
    plan.add_argument("--symbols", type=int, metavar="N", help="a market of so many symbols, in the place of a home")
    about = "of the market's history; with a home, of the backfill (default: all of it)"
    plan.add_argument("--years", type=float, metavar="Y", help=about)
    about = "sample dates per symbol of the first run (default %(default)s)"
    plan.add_argument("--samples", type=int, default=600, help=about)
    about = "count the workers, each on a machine like this one, that are done within so many seconds"
    plan.add_argument("--within", type=float, metavar="SECONDS", help=about)
    about = "say whether a worker with so much memory (10^9 bytes each) holds everything, and what it would hold"
    plan.add_argument("--memory", type=float, metavar="GB", help=about)
    about = "memory of a worker with one of so many shards of the vectors (see `run --shards`), instead of one with all"
    plan.add_argument("--shards", type=int, metavar="N", help=about)
    add_factor_options(plan)
    add_pattern_options(plan)
    add_device(plan)
    add_threads(plan)

    backup = command(
        "backup",
        "Copy the home, while others work on it, into a new folder that is a home itself: to restore it, name it, or "
        "copy it back.",
    )
    backup.add_argument("folder", type=path_of, metavar="FOLDER", help="to make; one that holds something is refused")
    about = "leave out the Prefect server's database: history, schedules, and messages with their secrets"
    backup.add_argument("--no-prefect", action="store_true", help=about)

    train = command("train", "Train an encoder on synthetic charts; with --market, one for each year of a home.")
    add_train_options(train)
    return parser


def _add_common(parser: argparse.ArgumentParser, home: str | None, off: bool | str) -> None:
    about = "folder or object-store URL with the tables (or set KLINE_HOME)"
    parser.add_argument("--home", default=home, metavar="HOME", help=about)
    parser.add_argument("--json", action="store_true", default=off, help="print one JSON document")
    parser.add_argument("--debug", action="store_true", default=off, help="show where an error came from")
