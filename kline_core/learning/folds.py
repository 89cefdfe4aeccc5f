"""Walk-forward folds: the samples of each year are answered by a metric that was learned before it.

1. A fold is a calendar year of sample dates. Its metric is learned from patterns whose outcome was known before the
   year began: `known_on` is earlier. At most `MOST` of them, drawn by the year alone.
2. Learned from what is known on the last day before, a metric may answer every sample of the year: `trained_through` is
   the day before the year's first.
3. A sample's neighbours are found among the patterns known on its own date, as those of the factor
   (`kline_core.search.candidates`): the nearest `NEIGHBOURS`, exactly. Patterns of the year itself are among them once
   they are known, with vectors of the same metric.
4. Its value is the kernel-weighted mean of what followed them, as ranks (`kline_core.factor.kernel_means`): the mean
   of the rank targets of all horizons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from kline_core.baselines.likeness import with_vectors
from kline_core.baselines.samples import Samples
from kline_core.factor.kernel_means import KernelMeans, kernel_means, kernel_weights
from kline_core.factor.state import LoadedState
from kline_core.learning.alike import LOOKED, full_scores
from kline_core.learning.inputs import Windows
from kline_core.patterns.outcome_ranks import rank_targets
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Queries, Visible, first_candidates
from kline_core.search.flat_index import FlatIndex
from kline_core.settings import Settings
from kline_core.typing import Dates, Floats32, Floats64, Int64s

if TYPE_CHECKING:
    from kline_core.learning.learners import Learner

MOST: Final = 100_000
"""Windows that a metric is learned from, at most."""
LEAST: Final = 1_000
"""Windows below which none is learned, and the year's samples have no value."""
NEIGHBOURS: Final = 2_000
"""Of what follows a window over some bars, a rank correlation of 0.02 is known. Against the spread of single outcomes
that drowns in a mean of fewer."""
HORIZONS: Final = (5, 20)
"""Horizons, in bars, whose rank targets are learned together, beside the one that is judged."""
SEED: Final = 0
_TOGETHER: Final = 1024
"""Samples whose neighbours are in memory at a time."""


def taught_horizons(settings: Settings) -> list[int]:
    """Horizons, in bars, whose ranks are taught: the one that is judged, and those of `HORIZONS` that patterns have."""
    others = [horizon for horizon in HORIZONS if horizon in settings.patterns.horizons]
    return list(dict.fromkeys([settings.factor.return_horizon, *others]))


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """The patterns of a home as metrics see them."""

    patterns: Patterns
    windows: Windows
    """Those of the P patterns."""
    targets: Floats32
    """float32 (P, h): rank targets, NaN where there is none."""

    @property
    def outcome(self) -> Floats64:
        """float64 (P,): mean of the rank targets of a pattern, NaN where there is none."""
        mean: Floats64 = self.targets.mean(axis=1, dtype=np.float64)
        return mean

    @classmethod
    def of(cls, state: LoadedState, settings: Settings) -> Self:
        """The patterns of a loaded state."""
        steps, patterns = settings.patterns, state.patterns
        targets = []
        for horizon in taught_horizons(settings):
            returns = patterns.returns[:, steps.horizons.index(horizon)].astype(np.float64)
            targets.append(rank_targets(patterns.end, patterns.known_on, returns))
        return cls(
            patterns,
            Windows.of_patterns(state.frames, patterns, steps.window_bars),
            np.stack(targets, axis=1).astype(np.float32),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A year of samples, and what its metric is learned from."""

    year: int
    samples: Int64s
    """int64 (s,): which of the m usable samples are of the year."""
    learned: Int64s
    """int64 (n,), ascending: rows of the patterns that are learned from."""


def folds_of(taught: Taught, dates: Dates) -> Iterator[Fold]:
    """The folds of m usable samples, by year, without years before which too little was known.

    `dates`: datetime64[D] (m,).
    """
    years = dates.astype("datetime64[Y]")
    for year in np.unique(years):
        known = int(np.searchsorted(taught.patterns.known_on, year.astype("datetime64[D]"), side="left"))
        rows = np.flatnonzero(~np.isnan(taught.targets[:known]).any(axis=1))
        if len(rows) < LEAST:
            continue
        if len(rows) > MOST:
            # By the year, so that no other year that is asked for changes the draw.
            draw = np.random.default_rng([SEED, int(year.astype(np.int64))])
            rows = np.sort(draw.choice(rows, MOST, replace=False))
        yield Fold(int(year.astype(np.int64)) + 1970, np.flatnonzero(years == year), rows)


@dataclass(frozen=True, slots=True, eq=False)
class FoldAnswer:
    """What a metric says of the s samples of a fold."""

    means: KernelMeans
    alike: Floats64
    """float64 (s,): how alike a sample's five best matches look (`kline_core.learning.alike`); NaN of those that were
    not looked at."""


def answer_fold(state: LoadedState, taught: Taught, samples: Samples, fold: Fold, learner: "Learner") -> FoldAnswer:
    """Answer the samples of a fold by a metric that is learned for it."""
    metric = learner(taught.windows.part(fold.learned), taught.targets[fold.learned])
    asked = Windows.of_samples(state.frames, samples, taught.windows.window_bars).part(fold.samples)
    return metric.answer(taught, asked, samples.dates[samples.usable][fold.samples])


def by_vectors(taught: Taught, vectors: Floats32, asked: Windows, queried: Floats32, dates: Dates) -> FoldAnswer:
    """Answer s samples by their nearest neighbours.

    Args:
        taught: The patterns.
        vectors: float32 (n, d): of the first n of them, which are all that are known on the last of the dates.
        asked: Windows of the samples.
        queried: float32 (s, d): their vectors.
        dates: datetime64[D] (s,)
    """
    patterns, outcome = with_vectors(taught.patterns, vectors), taught.outcome
    index = FlatIndex.build(patterns)
    codes = patterns.codes_of(asked.symbols)[asked.code]
    queries = Queries(queried, dates, codes, asked.bar.astype(np.int32))
    window_bars = taught.windows.window_bars
    parts = []
    for start in range(0, len(asked), _TOGETHER):
        some = queries.part(slice(start, start + _TOGETHER))
        similarity = np.full((len(some), NEIGHBOURS), np.nan)
        rows = np.zeros(similarity.shape, dtype=np.int64)
        visible = Visible.of(patterns, some, window_bars)
        for which, found, _ in first_candidates(index, patterns, some, NEIGHBOURS, window_bars, visible):
            width = found.rows.shape[1]
            rows[which, :width] = np.where(found.there, found.rows, 0)
            similarity[which, :width] = np.where(found.there, found.similarity, np.nan)
        # Fewer would be all that there are, near or not.
        similarity[np.isnan(similarity[:, -1])] = np.nan
        parts.append(kernel_means(kernel_weights(similarity), outcome[rows], patterns.end[rows]))
    alike = np.full(len(asked), np.nan)
    alike[::LOOKED] = full_scores(
        *(index, patterns, queries.part(slice(None, None, LOOKED))),
        *(asked.part(slice(None, None, LOOKED)), taught.windows),
    )
    return FoldAnswer(KernelMeans.joined(parts), alike)
