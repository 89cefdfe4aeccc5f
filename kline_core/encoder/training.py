"""Training of the encoder, on a pool of windows.

Each step:

1. Take a random stretch of the pool, and 16 anchors in it. Every anchor brings 15 of its thousand nearest neighbours by
   normalised closes, near ones preferred, so that a batch of 256 holds pairs as close as those that a search has to
   tell apart, beside pairs that have nothing in common.
2. The full-mode score (`kline_core.windows.similarity`) of all pairs in the batch is the teacher, stretched so that
   random pairs lie at cosine 0:
   `target = (score - mean score of random pairs) / (1 - mean score of random pairs)`.
3. The loss is the weighted sum of the squared difference of cosine and target (pairs of one group and of different
   groups weighing alike), the Kullback-Leibler divergence between the rankings (softmax at temperature 0.05 over each
   row), and the binary cross-entropy of the reconstructed pixels of a quarter of the batch.

The optimiser is AdamW under a one-cycle learning rate. The same seed, steps and number of threads on the same machine
give the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kline_core.encoder.encoder import choose_device
from kline_core.encoder.network import AttentionEncoder, ChartDecoder, to_input
from kline_core.encoder.synthetic import SyntheticBars, synthetic_market
from kline_core.errors import SettingError
from kline_core.typing import Floats32, Pixels, Positions
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import window_positions
from kline_core.windows.similarity import Shapes, pair_scores

MAX_STEPS, MAX_SEED = 1_000_000, 2**32 - 2
GROUPS, GROUP_SIZE, STRETCH, NEIGHBOURS = 16, 16, 60_000, 1_000
"""Anchors of a batch, windows of each anchor's group, windows of the stretch, and neighbours that the group is drawn
from."""
TEMPERATURE = 0.05
PAIR_WEIGHT, RANK_WEIGHT, PIXEL_WEIGHT = 10.0, 1.0, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class WindowPool:
    """Windows to train on: price arrays float32 `(n, bars)`, and their shapes."""

    open: Floats32
    high: Floats32
    low: Floats32
    close: Floats32
    shapes: Shapes

    @classmethod
    def from_bars(cls, bars: SyntheticBars, stride: int, seed: int, window_bars: int = 20) -> Self:
        """Every `stride`-th window of every symbol, in random order."""
        ends = np.arange(window_bars - 1, bars.close.shape[1], stride)
        at = window_positions(ends, window_bars)
        order = np.random.default_rng(seed).permutation(bars.close.shape[0] * len(ends))
        open_, high, low, close = (
            price[:, at].reshape(-1, window_bars)[order] for price in (bars.open, bars.high, bars.low, bars.close)
        )
        return cls(
            open=open_.astype(np.float32),
            high=high.astype(np.float32),
            low=low.astype(np.float32),
            close=close.astype(np.float32),
            shapes=Shapes.of(open_, high, low, close),
        )

    @classmethod
    def synthetic(cls, seed: int, n_symbols: int = 3_000, n_bars: int = 720) -> Self:
        """The pool on which the default encoder is trained: every seventh window of a synthetic market."""
        return cls.from_bars(synthetic_market(n_symbols, n_bars, seed), stride=7, seed=seed)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.close)

    def charts(self, at: Positions) -> Pixels:
        """Charts of the windows at positions `at`: uint8 `(len(at), 3 * bars, 64)`."""
        return render_charts(*(p[at].astype(np.float64) for p in (self.open, self.high, self.low, self.close)))


@dataclass(slots=True)
class Losses:
    """Mean losses of some steps, for progress and for the model card."""

    pair: float = 0.0
    rank: float = 0.0
    pixel: float = 0.0

    def line(self) -> str:
        """One short line for a progress bar."""
        return f"pair {self.pair:.4f} rank {self.rank:.4f} pixel {self.pixel:.4f}"


@dataclass(slots=True)
class Training:
    """A finished training: both halves of the network and the mean losses of every hundred steps."""

    encoder: AttentionEncoder
    decoder: ChartDecoder
    random_score: float
    """Mean full-mode score of random pairs."""
    history: list[Losses] = field(default_factory=list)


def check_training(steps: int, seed: int) -> None:
    """Check the bounds, which takes no time, before a pool is made. Raises `SettingError`."""
    for name, value, least, most in (("steps", steps, 100, MAX_STEPS), ("seed", seed, 0, MAX_SEED)):
        if not least <= value <= most:
            bound = f"between {least} and {most}"
            raise SettingError(f"{name} is {value}; it must be {bound}", parameter=name, value=value, bound=bound)


def train(
    pool: WindowPool,
    steps: int,
    seed: int = 0,
    dim: int = 64,
    device: str = "auto",
    progress: Callable[[int, Losses], None] | None = None,
) -> Training:
    """Train an autoencoder; `progress` is called every hundred steps with the steps done and their mean losses.

    Raises `SettingError` as `check_training`, and for a pool of fewer than 2,000 windows; and as `choose_device`.
    """
    check_training(steps, seed)
    if len(pool) < 2 * NEIGHBOURS:
        bound = f"at least {2 * NEIGHBOURS}"
        raise SettingError(
            f"{len(pool)} windows are too few to train on; give {bound}",
            parameter="pool",
            value=len(pool),
            bound=bound,
        )
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    where = choose_device(device)
    window_bars = pool.close.shape[1]
    encoder = AttentionEncoder(dim, window_bars).to(where).train()
    decoder = ChartDecoder(dim, window_bars).to(where).train()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    random_score = _random_score(pool, rng)
    result = Training(encoder, decoder, random_score)
    sums = np.zeros(3)
    for step in range(1, steps + 1):
        at = batch_positions(pool, rng)
        charts = to_input(pool.charts(at), where)
        target = (torch.from_numpy(score_matrix(pool.shapes[at])).to(where) - random_score) / (1 - random_score)
        latents = encoder(charts)
        pair, rank = similarity_losses(latents @ latents.T, target)
        shown = slice(0, None, 4)
        pixel = functional.binary_cross_entropy_with_logits(decoder(latents[shown]), charts[shown])
        loss = PAIR_WEIGHT * pair + RANK_WEIGHT * rank + PIXEL_WEIGHT * pixel
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        sums += [pair.item(), rank.item(), pixel.item()]
        if step % 100 == 0:
            result.history.append(Losses(*(sums / 100)))
            sums[:] = 0
            if progress is not None:
                progress(step, result.history[-1])
    return result


def batch_positions(pool: WindowPool, rng: np.random.Generator) -> Positions:
    """Positions of one batch, intp (256,): group after group, each with its anchor first (step 1 of the module)."""
    size = min(STRETCH, len(pool))
    start = rng.integers(0, len(pool) - size + 1)
    closes = pool.shapes.closes[start : start + size]
    anchors = rng.choice(size, GROUPS, replace=False)
    likeness = closes[anchors] @ closes.T
    likeness[np.arange(GROUPS), anchors] = -np.inf
    count = min(NEIGHBOURS, size - 1)
    nearest = np.argpartition(-likeness, count, axis=1)[:, :count]
    nearest = np.take_along_axis(nearest, np.argsort(-np.take_along_axis(likeness, nearest, 1), axis=1), 1)
    groups = np.empty((GROUPS, GROUP_SIZE), dtype=np.intp)
    groups[:, 0] = anchors
    # Log-uniform ranks prefer near neighbours: as many lie between 1 and 10 as between 100 and 1,000.
    ranks = np.exp(rng.uniform(0, np.log(count), (GROUPS, 4 * GROUP_SIZE))).astype(np.intp) - 1
    for group, (rank, near) in enumerate(zip(ranks, nearest, strict=True)):
        distinct = rank[np.sort(np.unique(rank, return_index=True)[1])]
        spare = np.setdiff1d(np.arange(GROUP_SIZE), distinct)
        groups[group, 1:] = near[np.concatenate([distinct, spare])[: GROUP_SIZE - 1]]
    return start + groups.ravel()


def score_matrix(shapes: Shapes) -> Floats32:
    """Full-mode scores of all pairs, float32 `(n, n)`; each unordered pair is computed once."""
    count = len(shapes)
    row, column = np.triu_indices(count, 1)
    scores = np.ones((count, count), dtype=np.float32)
    scores[row, column] = scores[column, row] = pair_scores(shapes[row], shapes[column])
    return scores


def similarity_losses(cosine: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Pair loss and rank loss of a batch in the order of `batch_positions` (step 3 of the module)."""
    count = len(cosine)
    group = torch.arange(count, device=cosine.device) // GROUP_SIZE
    itself = torch.eye(count, dtype=torch.bool, device=cosine.device)
    near = (group[:, None] == group[None, :]) & ~itself
    square = (cosine - target).square()
    pair = 0.5 * square[near].mean() + 0.5 * square[~near & ~itself].mean()
    teacher = (target / TEMPERATURE).masked_fill(itself, -torch.inf).log_softmax(1).masked_fill(itself, 0.0)
    student = (cosine / TEMPERATURE).masked_fill(itself, -torch.inf).log_softmax(1).masked_fill(itself, 0.0)
    chance = teacher.exp().masked_fill(itself, 0.0)
    rank = (chance * (teacher - student)).sum(1).mean()
    return pair, rank


def _random_score(pool: WindowPool, rng: np.random.Generator) -> float:
    """Mean full-mode score of 50,000 random pairs."""
    a, b = rng.integers(0, len(pool), (2, 50_000))
    return float(pair_scores(pool.shapes[a], pool.shapes[b]).mean())
