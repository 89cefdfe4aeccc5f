"""How fast the samples of one symbol are computed, beside other ways of answering the same question.

    python -m tests.benchmarks [--home H [--symbol S] | --place DIR] [--only a,b,c,d,e,f]
                               [--without avx512_vnni,avx512f] [--json FILE] [--keep]

    a  the serial way of the note that this project grew from
    b  the same by a pool of 16 threads
    c  our own algorithm, one sample at a time
    d  ours: cold, and warm with 1, 2 and 4 threads, in process and over TCP
    e  stumpy.match, and FAISS on normalised closes
    f  ours in full mode: warm with 2 threads in process

Every way works in a process of its own, and they take turns: a round is one turn of each, and only what was measured in
one run is compared. Before the rounds each has a turn that does not count. Where a way does a part of the samples in a
round, its seconds are scaled up, and the table says so. Ours with two threads in process is measured in any case, since
it is what all are compared with; so is the machine's own peak, from which the limit follows.

`--without` leaves out abilities of the processor, so that what is done on lesser ones is measured on this one: without
avx512_vnni the search multiplies bytes in pairs; without avx512f or avx2 torch, oneDNN, OpenBLAS and MKL go without
them too, and so does the limit. FAISS takes what it finds.

With `--keep` everything that was found is kept with the version; see `tests.benchmarks.history`.

Without a home, a synthetic market is built first (a minute for the default size), and kept where `--place` says.
a, b and stumpy need `pip install '.[bench]'`.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

from tests.benchmarks.away import Away
from tests.benchmarks.history import keep
from tests.benchmarks.machine import LIBRARIES, Elsewhere, Machine, Peaks, best, description, leave_out
from tests.benchmarks.measured import Measured
from tests.benchmarks.ours import IN_PROCESS, TCP, THREADS, TIMES, Ours, cold
from tests.benchmarks.question import Question, synthetic_home
from tests.benchmarks.serial import Serial
from tests.benchmarks.speed_report import OURS, Results, document, text

NOTE_SAMPLES, POOL_SAMPLES, STUMPY_SAMPLES = 30, 32, 12
Way = Callable[[int], Measured]


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    if options.without:
        leave_out(options.without)
    home = options.home or synthetic_home(options.place, options.symbols, options.bars).uri
    question = Question.of(home, options.symbol, options.samples)
    extra: tuple[str, ...] = ()
    with ExitStack() as stack:
        ways: dict[str, Way] = {}
        said: dict[str, str] = {}

        def away(make: Callable[..., object], *more: object) -> Away:
            return stack.enter_context(Away(make, *more))

        def add(name: str, what: str, way: Way) -> None:
            ways[name], said[name] = way, what

        ours = away(Ours, question, IN_PROCESS, 2)
        expected = ours.ask("answers")
        machine = away(Machine)
        if {"a", "b"} & options.only:
            from tests.benchmarks.note import Note

            extra += "mplfinance", "matplotlib", "pillow"
            note = away(Note, question, NOTE_SAMPLES, POOL_SAMPLES)
            if "a" in options.only:
                add("a the note, serial", "PNG, 1024 numbers, k = 300, CSV", partial(note.ask, "serial"))
            if "b" in options.only:
                add("b the note, 16 threads", "the same with a lock for drawing", partial(note.ask, "pooled"))
        check = None
        if "c" in options.only:
            serial = away(Serial, question, options.serial_samples)
            check = serial.ask("check", expected)
            add("c ours, done serially", "one sample at a time", partial(serial.ask, "measure"))
        if "d" in options.only:
            add("ours, cold", "a fresh process with 2 threads", lambda _: cold(question, 2))
            for where, threads in product((IN_PROCESS, TCP), THREADS):
                name = f"ours, {threads} thread" + "s" * (threads > 1) + ", TCP" * (where == TCP)
                cluster = ours if name == OURS else away(Ours, question, where, threads)
                if cluster.ask("answers") != expected:
                    raise AssertionError(f"{name}: other answers than with two threads in process")
                add(name, f"loaded, {where}; {TIMES} times a round", partial(cluster.ask, "measure"))
        else:
            add(OURS, f"loaded, in process; {TIMES} times a round", partial(ours.ask, "measure"))
        if "e" in options.only:
            from tests.benchmarks.others import Closes, Stumpy

            extra += "stumpy", "numba"
            add("e stumpy.match", "5 nearest", partial(away(Stumpy, question, STUMPY_SAMPLES).ask, "measure"))
            add("e FAISS on closes", "20 numbers, k = 5", partial(away(Closes, question).ask, "measure"))
        if "f" in options.only:
            full = away(Ours, Question.of(home, question.symbol, options.samples, "full"), IN_PROCESS, 2)
            what = f"2,000 candidates compared by bars, loaded, in process; {TIMES} times a round"
            add("f ours, full mode, 2 threads", what, partial(full.ask, "measure"))
        rounds: dict[str, list[Measured]] = {name: [] for name in ways}
        peaks: list[Peaks] = []
        elsewhere = Elsewhere()
        for number in range(options.rounds + 1):
            for name, way in ways.items():
                print(f"round {number} of {options.rounds}: {name}", file=sys.stderr, flush=True)
                measured = way(number)
                if number:
                    rounds[name].append(measured)
            if number:
                peaks.append(machine.ask("peaks"))
        busy, facts = elsewhere.cores(), ours.ask("facts")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    seen = description(LIBRARIES + extra)
    results = Results(date, seen, home, question.symbol, facts, best(peaks), busy, rounds, check, said)
    print(text(results))
    if options.json is not None:
        options.json.write_text(json.dumps(document(results), indent=2) + "\n")
    if options.keep:
        print(f"kept in {keep(document(results))}")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", help="bars and patterns to measure on")
    parser.add_argument("--symbol", help="whose samples are computed; by default the first of those with the most bars")
    parser.add_argument("--place", type=Path, help="folder for the synthetic market, used again where it is there")
    parser.add_argument("--symbols", type=int, default=135)
    parser.add_argument("--bars", type=int, default=3008)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--serial-samples", type=int, default=600, help="samples that c computes in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=_letters, default="a,b,c,d,e,f", help="the ways to measure, such as a,c")
    parser.add_argument("--without", help="abilities of the processor to leave out, such as avx512_vnni,avx512f")
    parser.add_argument("--json", type=Path, help="file for everything that was found")
    parser.add_argument("--keep", action="store_true", help="keep it in the history of versions")
    return parser.parse_args(arguments)


def _letters(given: str) -> set[str]:
    letters = set(given.split(","))
    if not letters <= set("abcdef"):
        raise argparse.ArgumentTypeError(f"{given}: give some of a,b,c,d,e,f")
    return letters


if __name__ == "__main__":
    main()
