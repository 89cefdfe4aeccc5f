"""Our own way: cold, and warm with 1, 2 and 4 threads, in process and over TCP.

Warm is what a run does once everything is loaded: have the sample dates chosen and scored, hold the rows. A round is
the median of several. Nothing is stored and nothing re-used. Over TCP scheduler and worker are processes of their own.
That all of these give the same answers is checked.

Cold is the time from the start of a fresh Python process until that process holds the values of all samples, with the
files in the system's cache: `tests.benchmarks.cold`.
"""

import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from kline_core.compute import tasks
from kline_core.compute.cluster import Cluster
from kline_core.compute.opening import open_cluster
from kline_core.factor.batch import Scored
from tests.benchmarks.answer import Answer, answers
from tests.benchmarks.measured import Measured, added, middle_round
from tests.benchmarks.question import Question
from tests.benchmarks.roofline import Work, least_work
from tests.support.bench import chosen_batch
from tests.support.processes import scheduler_process

THREADS = (1, 2, 4)
IN_PROCESS, TCP = "in process", "TCP"
UNCOUNTED, TIMES = 3, 9
"""How often a round does it before it measures, since new threads are slower at first (1.2 times, then 1.1); and how
often it measures: some tenths of a second, taken once, say more of the machine's moment than of us."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the question is about, in figures."""

    symbols: int
    patterns: int
    dim: int
    samples: int
    with_value: int
    first: str
    last: str
    mean_known: float
    """Mean share of the patterns that a sample may see."""
    load_seconds: dict[str, float]
    work: dict[str, Work]
    """Least work by stage."""


class Ours:
    """A cluster with everything loaded, and nothing beside it in its process, as in a run.

    It is there only while it is measured: an idle cluster takes some of a core too, and here there are several.
    """

    def __init__(self, question: Question, where: str, threads: int) -> None:
        self.question, self._where, self._threads = question, where, threads
        with self._cluster() as cluster:
            self.load_seconds = cluster.load(question.key).seconds
            self.expected = answers(samples_of(cluster, question))

    def close(self) -> None:
        """Nothing is left open."""

    @contextmanager
    def _cluster(self) -> Iterator[Cluster]:
        with ExitStack() as stack:
            address = None
            if self._where == TCP:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                address, _ = stack.enter_context(scheduler_process(folder, threads=self._threads))
            yield stack.enter_context(open_cluster(address, None if address else self._threads))

    def measure(self, round_: int) -> Measured:
        """Seconds by the clock, and by stage added up over threads; raises where the answers are not the same."""
        with self._cluster() as cluster:
            # In process it is loaded still; over TCP the processes are new.
            cluster.load(self.question.key)
            for _ in range(UNCOUNTED):
                self._once(cluster, round_)
            return middle_round([self._once(cluster, round_) for _ in range(TIMES)])

    def _once(self, cluster: Cluster, round_: int) -> Measured:
        # What checking the last answers left behind is not to be collected while the next ones are timed.
        gc.collect()
        started = perf_counter()
        scored = samples_of(cluster, self.question)
        seconds = perf_counter() - started
        if answers(scored) != self.expected:
            raise AssertionError(f"round {round_} gave other answers than before")
        return Measured(seconds, len(self.expected), added([part.seconds for part in scored]))

    def answers(self) -> dict[np.datetime64, Answer]:
        """The answer to each sample."""
        return self.expected

    def facts(self) -> Facts:
        """Loads the question into this process, where it is not there already."""
        loaded = self.question.load()
        state = loaded.state
        known = state.patterns.n_known(loaded.dates)
        return Facts(
            symbols=len(state.frames),
            patterns=len(state.patterns),
            dim=state.patterns.dim,
            samples=len(loaded.dates),
            with_value=sum(answer.value is not None for answer in self.expected.values()),
            first=str(loaded.dates[0]),
            last=str(loaded.dates[-1]),
            mean_known=float(known.mean() / len(state.patterns)),
            load_seconds=self.load_seconds,
            work=least_work(state, known),
        )


def samples_of(cluster: Cluster, question: Question) -> list[Scored]:
    """The question answered by a cluster of one worker, of which a run makes one chunk."""
    return [cluster.call(tasks.score, question.key, chosen_batch(question.symbol, question.samples))]


def cold(question: Question, threads: int) -> Measured:
    """A fresh process, from its start to all values; its stages are those of loading."""
    command = [sys.executable, "-m", "tests.benchmarks.cold", question.key.home, question.symbol]
    command += ["--samples", str(question.samples), "--threads", str(threads)]
    started = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = perf_counter() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    said = json.loads(line)
    return Measured(seconds, said["samples"], said["load"], said["peak_mib"])
