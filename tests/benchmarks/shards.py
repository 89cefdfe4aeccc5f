"""What more workers would save where vectors lie in shards: a simulation, on one machine and one thread.

    python -m tests.benchmarks.shards --home HOME [--shards 1 2 4] [--samples 600] [--symbols 4] [--rounds 3]

The home holds patterns of the default settings. For each number n of shards, the functions that the workers of a
cluster run are called one after the other, and the processor seconds of each part are measured:

* own: what a worker does itself with a batch of samples (plan, draw, encode, choose), beginnings that broke off with a
  question among them. Batches are divided among the workers, so that each has 1/n of this.
* shard: the answers of one shard to all questions. Every question goes to all shards, one on each worker.
* client: questions and answers written and read as they travel, and merged.

Workers on hosts of their own work at the same time: a run takes the largest of own / n + shard, and the client's part.
Not in it: the network, Dask's scheduler, loading, and storing values. With one shard nothing is asked. The values are
compared: they have to be those of one shard, bit for bit.
"""

import argparse
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from kline_core._text import table
from kline_core._threads import single_threaded
from kline_core.compute import tasks
from kline_core.factor.batch import Batch, Scored, SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.state_key import StateKey
from kline_core.settings import Settings
from kline_core.store.home import Home


@dataclass(slots=True)
class Parts:
    """Processor seconds of the parts of one round."""

    shards: list[float]
    """Of each shard."""
    own: float = 0.0
    client: float = 0.0
    travelled: int = 0
    """Bytes of questions and answers, those of all shards together."""
    values: list[Scored] = field(default_factory=list)

    @property
    def worker(self) -> float:
        """The most that one worker has to do."""
        return self.own / len(self.shards) + max(self.shards)

    @property
    def seconds(self) -> float:
        """Seconds of a run on workers of a core each, the client's after theirs."""
        return self.worker + self.client


def measured(key: StateKey, batches: list[Batch], number: int) -> Parts:
    """The parts of a run of some batches with so many shards."""
    key, parts = replace(key, shards=number), Parts([0.0] * number)
    for batch in batches:
        prepared = _step(parts, tasks.prepare, key, batch)
        parts.values.append(_step(parts, tasks.finish, key, prepared))
    return parts


def _step(parts: Parts, function: Callable[..., Any], key: StateKey, argument: Any) -> Any:
    """A step of a batch, asked again and again as `kline_core.compute.shards` does."""
    answers: list[Any] = []
    while True:
        began = process_time()
        found = function(key, argument, answers)
        parts.own += process_time() - began
        if not isinstance(found, tasks.Asked):
            return found
        said = []
        for number in range(key.shards):
            began = process_time()
            asked = pickle.dumps(found.question)
            parts.client += process_time() - began
            began = process_time()
            answer = pickle.dumps(tasks.ask_shard(key, number, pickle.loads(asked)).answer)
            parts.shards[number] += process_time() - began
            said.append(answer)
            parts.travelled += len(asked) + len(answer)
        began = process_time()
        answers.append(found.question.joined([pickle.loads(answer) for answer in said]))
        parts.client += process_time() - began


def batches_of(key: StateKey, symbols: int, samples: int) -> list[Batch]:
    """The usual samples of the first symbols, none of them stored: a batch of each."""
    names = tasks.overview(key).symbols[:symbols]
    dates = tasks.plan(key, names, samples, None)
    return [
        Batch((SymbolSamples(name, days, np.full(len(days), NEVER_REUSED, np.int64)),))
        for name, days in zip(names, dates, strict=True)
    ]


def same(one: list[Scored], other: list[Scored]) -> bool:
    """Whether values and matches are the same, bit for bit."""
    return all(
        mine.factors.equals(theirs.factors) and mine.matches.equals(theirs.matches)
        for mine, theirs in zip(one, other, strict=True)
    )


def rounds_of(key: StateKey, batches: list[Batch], numbers: list[int], rounds: int) -> dict[int, list[Parts]]:
    """The rounds of each number of shards; one in which all is loaded goes before them.

    Raises `AssertionError` if values depend on their number.
    """
    single_threaded()
    found: dict[int, list[Parts]] = {}
    first: list[Scored] = []
    # One number after the other, since a process holds two states at the most.
    for number in numbers:
        found[number] = [measured(key, batches, number) for _ in range(rounds + 1)][1:]
        first = first or found[number][0].values
        for parts in found[number]:
            assert same(first, parts.values), f"other values with {number} shards"
    return found


def report(found: dict[int, list[Parts]], samples: int) -> str:
    """The table: of each number the round that took the least, which other programs delayed the least."""
    best = {number: min(parts, key=lambda part: part.seconds) for number, parts in found.items()}
    base = next(iter(best.values())).seconds
    rows: list[list[object]] = []
    for number, parts in best.items():
        every = parts.own + sum(parts.shards) + parts.client
        figures = parts.own / number, max(parts.shards), parts.client, parts.seconds, base / parts.seconds, every
        rows.append([number, *(f"{each:.3f}" for each in figures), f"{parts.travelled / max(1, samples) / 1000:.3f}"])
    head = ["workers, shards", "own", "shard", "client", "seconds", "times faster", "all processors", "kB a sample"]
    return table(head, rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--symbols", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    key = StateKey.newest(Home(options.home), Settings(), device="cpu")
    batches = batches_of(key, options.symbols, options.samples)
    samples = sum(map(len, batches))
    found = rounds_of(key, batches, options.shards, options.rounds)
    patterns = tasks.overview(key).n_patterns
    print(f"simulated, one thread: {samples} samples of {patterns:,} patterns; processor seconds, of the best round")
    print(report(found, samples))


if __name__ == "__main__":
    main()
