"""Our algorithm done serially: one sample at a time, as one would write it first.

For each sample:

1. render its one chart;
2. encode it, a batch of one;
3. ask FAISS for the nearest of the patterns known on its date: one query, `IDSelectorRange(0, n_known)`, k = `search_k`
   and the few that may overlap the sample's own window;
4. order these by exact similarity, leave out what overlaps the sample or a better match, in a Python loop;
5. look each match's outcome up in a pandas table, and weigh them into the value.

Chart, network (batch normalisation folded in already) and patterns are ours, the libraries' numbers of threads are
their own defaults, and the quantiles of the returns, which ours computes as well, are left out.

Its answers (value, status, matches) equal ours bit for bit; `check` finds that out for every sample. For this, and in
the time measured too, step 3 asks again for four times as many where the ones found do not settle the answer. One
thing differs between check and clock: a network rounds the batch of one differently from the batches of 64 that ours
encodes in, so the check encodes its one chart in the padded shape, and the clock runs with the batch of one. What
differs then is reported as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import faiss
import numpy as np
import pandas as pd
import torch

from kline_core.encoder.network import to_input
from kline_core.store.schemas import FAILED, OK
from kline_core.typing import Floats32
from tests.benchmarks.answer import Answer
from tests.benchmarks.measured import Measured, added
from tests.benchmarks.question import Question
from tests.support.candles import charts_of_windows

STAGES = ("render", "encode", "search", "factor")


@dataclass(frozen=True, slots=True)
class Check:
    """How the serial answers compare with others."""

    samples: int
    identical: int
    """Equal in value, status and matches, with each chart encoded in the padded shape."""
    same_matches_alone: int
    """Equal in status and in the windows matched, with each chart encoded as a batch of one, as it is timed."""
    difference_alone: float
    """Largest difference of two values, likewise."""


class Serial:
    """Ready to answer the question one sample at a time."""

    def __init__(self, question: Question, samples: int) -> None:
        self.loaded, self.samples = question.load(), samples
        state = self.loaded.state
        self.settings, self.patterns, self.encoder = question.key.settings, state.patterns, state.encoder.loaded()
        self.own = int(self.patterns.codes_of([question.symbol])[0])
        self.flat = faiss.IndexFlatIP(self.patterns.dim)
        self.flat.add(self.patterns.vectors)
        names = np.array(self.patterns.symbols, dtype=object)[self.patterns.code]
        column = self.settings.patterns.horizons.index(self.settings.factor.return_horizon)
        self.outcomes = pd.DataFrame(
            {"return": self.patterns.returns[:, column], "barrier": self.patterns.barrier},
            index=pd.MultiIndex.from_arrays([names, self.patterns.end], names=["symbol", "end"]),
        ).sort_index()

    def close(self) -> None:
        """Nothing to end."""

    def measure(self, round_: int) -> Measured:
        """Seconds by stage, scaled up from some of the samples."""
        chosen = self.loaded.some(self.samples, round_)
        started = perf_counter()
        parts = [self.one(at, self.alone)[1] for at in chosen]
        return Measured.scaled(perf_counter() - started, added(parts), len(chosen), len(self.loaded.dates))

    def check(self, expected: dict[np.datetime64, Answer]) -> Check:
        """Compare the answers to all samples with the expected ones."""
        identical, same, difference = 0, 0, 0.0
        for at, date in enumerate(self.loaded.dates):
            other = expected[date]
            identical += self.one(at, self.encoder.encode)[0] == other
            answer = self.one(at, self.alone)[0]
            same += (answer.status, answer.windows) == (other.status, other.windows)
            if answer.value is not None and other.value is not None:
                difference = max(difference, abs(answer.value - other.value))
        return Check(len(self.loaded.dates), identical, same, difference)

    def alone(self, chart: np.ndarray) -> Floats32:
        """The vector of one chart as a batch of one."""
        with torch.inference_mode():
            vector: Floats32 = self.encoder.network(to_input(chart)).numpy()
        return vector

    def one(self, at: int, encode: Callable[[np.ndarray], Floats32]) -> tuple[Answer, dict[str, float]]:
        """The answer to one sample, and the seconds of each stage."""
        clock = [perf_counter()]
        chart = charts_of_windows(self.loaded.bars, self.loaded.ends[at : at + 1], self.settings.patterns.window_bars)
        clock.append(perf_counter())
        vector = encode(chart)
        clock.append(perf_counter())
        kept = self.nearest(vector, self.loaded.dates[at], int(self.loaded.ends[at]))
        clock.append(perf_counter())
        answer = self.weighed(kept, self.loaded.dates[at])
        clock.append(perf_counter())
        return answer, dict(zip(STAGES, np.diff(clock).tolist(), strict=True))

    def nearest(self, vector: Floats32, date: np.datetime64, bar: int) -> list[tuple[int, float]]:
        """Rows and similarities of the matches, best first."""
        known = int(np.searchsorted(self.patterns.known_on, date, side="right"))
        # Those that overlap the sample's own window may be among the nearest, and do not count.
        ask = self.settings.factor.search_k + 2 * self.settings.patterns.window_bars
        while True:
            inside = faiss.SearchParameters(sel=faiss.IDSelectorRange(0, known))
            score, row = self.flat.search(vector, ask, params=inside)
            rows = row[0][row[0] >= 0]
            kept, worst = self.walk(vector, rows, bar)
            if len(rows) < ask or worst > float(score[0, -1]) + self.loaded.state.index.score_error:
                return kept
            ask *= 4

    def walk(self, vector: Floats32, rows: np.ndarray, bar: int) -> tuple[list[tuple[int, float]], float]:
        """The matches among some rows, and the similarity of the last row that was looked at."""
        patterns, factor = self.patterns, self.settings.factor
        similarity = (patterns.vectors[rows].astype(np.float64) * vector[0]).sum(axis=1)
        kept: list[tuple[int, float]] = []
        looked_at, worst = 0, np.inf
        for place in np.lexsort((patterns.end[rows], patterns.code[rows], -similarity)):
            row = int(rows[place])
            code, end = int(patterns.code[row]), int(patterns.bar[row])
            if code == self.own and abs(end - bar) < self.settings.patterns.window_bars:
                continue
            looked_at, worst = looked_at + 1, float(similarity[place])
            if all(
                patterns.code[other] != code or abs(int(patterns.bar[other]) - end) > factor.isolation_bars
                for other, _ in kept
            ):
                kept.append((row, worst))
            if len(kept) == factor.top_k or looked_at == factor.search_k:
                return kept, worst
        return kept, -np.inf

    def weighed(self, kept: list[tuple[int, float]], date: np.datetime64) -> Answer:
        """The value of a sample from its matches."""
        factor = self.settings.factor
        total = won = rose = 0.0
        matches = []
        for row, similarity in kept:
            symbol, end = self.patterns.symbols[self.patterns.code[row]], self.patterns.end[row]
            outcome = self.outcomes.loc[(symbol, end)]
            weight = max(similarity, 0.0) * 0.5 ** ((date - end).item().days / factor.half_life_days)
            total += weight
            won += weight if outcome["barrier"] == 1 else 0.0
            rose += weight if outcome["return"] > 0 else 0.0
            matches.append((symbol, end, similarity))
        if len(kept) < factor.min_matches or total == 0:
            return Answer(None, FAILED, tuple(matches))
        value = factor.barrier_weight * (won / total) + factor.return_weight * (rose / total)
        return Answer(value, OK, tuple(matches))
