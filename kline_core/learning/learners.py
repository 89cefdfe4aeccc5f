"""Ways to learn what to call similar. Each makes, of windows and what followed them, a metric to search by.

* `bars`: a small network on the numbers of a window, three of them from different seeds, whose unit vectors stand one
  after the other;
* `charts`: the encoder of the package, which has seen synthetic charts alone, with a new last layer, trained on to tell
  what follows;
* `volume_charts`: the same on charts that carry volume and a moving average (`kline_core.windows.volume_charts`);
* `leaves`: a forest on the numbers of a window, whose leaves tell what is near (`kline_core.learning.leaves`).

The study counts them as tries.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from kline_core.encoder.network import AttentionEncoder
from kline_core.encoder.weights import WeightsFile
from kline_core.learning.folds import FoldAnswer, Taught, by_vectors
from kline_core.learning.inputs import Charts, Numbers, VolumeCharts, Windows
from kline_core.learning.leaves import learn_leaves
from kline_core.learning.networks import NumbersNetwork, Plan, body_vectors, chart_network, train_body
from kline_core.typing import Dates, Floats32

SEEDS: Final = (0, 1, 2)
NUMBERS_PLAN: Final = Plan(epochs=3, rate=3e-3, batch=1024)
CHARTS_PLAN: Final = Plan(epochs=2, rate=1e-3)
MOST_CHARTS: Final = 50_000
"""Windows whose charts a network is taught, at most: an epoch of them takes a core half a minute."""


class Metric(Protocol):
    """What was learned."""

    def answer(self, taught: Taught, asked: Windows, dates: Dates) -> FoldAnswer:
        """Answer s samples by the patterns known on their dates, datetime64[D] (s,).

        `asked`: their windows.
        """


class Learner(Protocol):
    """A way to learn a metric."""

    def __call__(self, windows: Windows, targets: Floats32) -> Metric:
        """Learn from n windows and their rank targets, float32 (n, h)."""


@dataclass(frozen=True, slots=True)
class VectorMetric:
    """A metric by the inner product of vectors."""

    vectors: Callable[[Windows], Floats32]
    """Unit vectors of n windows: float32 (n, d)."""

    def answer(self, taught: Taught, asked: Windows, dates: Dates) -> FoldAnswer:
        """See `Metric`."""
        # What nobody may see on the last of these dates needs no vector.
        seen = slice(0, int(taught.patterns.n_known(dates).max()))
        return by_vectors(taught, self.vectors(taught.windows.part(seen)), asked, self.vectors(asked), dates)


def learn_bars(windows: Windows, targets: Floats32) -> VectorMetric:
    """See `bars` at the top of this module."""
    taught, bodies = Numbers.of(windows), []
    for seed in SEEDS:
        body = NumbersNetwork(taught.numbers.shape[1], seed)
        bodies.append(train_body(body, taught, targets, NUMBERS_PLAN, seed))

    def vectors(asked: Windows) -> Floats32:
        numbers = Numbers.of(asked)
        parts = [body_vectors(body, numbers) for body in bodies]
        return np.concatenate(parts, axis=1) / np.float32(math.sqrt(len(parts)))

    return VectorMetric(vectors)


def teach_charts(drawn: type[Charts] | type[VolumeCharts], windows: Windows, targets: Floats32) -> AttentionEncoder:
    """The encoder that learns from charts of n windows and their rank targets, float32 (n, h)."""
    if len(windows) > MOST_CHARTS:
        at = np.linspace(0, len(windows) - 1, MOST_CHARTS).astype(np.int64)
        windows, targets = windows.part(at), targets[at]
    body = chart_network(WeightsFile.read(), SEEDS[0])
    train_body(body, drawn.of(windows), targets, CHARTS_PLAN, SEEDS[0])
    return body


def _learn_charts(drawn: type[Charts] | type[VolumeCharts]) -> Learner:
    def learn(windows: Windows, targets: Floats32) -> VectorMetric:
        body = teach_charts(drawn, windows, targets)
        return VectorMetric(lambda asked: body_vectors(body, drawn.of(asked)))

    return learn


LEARNERS: Final[Mapping[str, Learner]] = {
    "bars": learn_bars,
    "charts": _learn_charts(Charts),
    "volume_charts": _learn_charts(VolumeCharts),
    "leaves": learn_leaves,
}
