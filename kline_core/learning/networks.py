"""Networks whose last layer is taught to tell what follows: windows that it puts near each other were followed alike.

A network turns a window into a unit vector; a linear layer on it predicts the rank targets of all horizons
(`kline_core.patterns.outcome_ranks`). Trained, the layer is left away, and what remains is a vector to search by. Two
windows with the same vector have the same prediction; how far vectors may differ at one prediction is left to the
network.

The optimiser is AdamW under a one-cycle learning rate. The same windows, targets and seed give the same weights on one
machine, since each network is trained in one thread and draws from generators of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kline_core.encoder.encoder import network_of, one_thread
from kline_core.encoder.network import AttentionEncoder
from kline_core.encoder.weights import WeightsFile
from kline_core.learning.inputs import Inputs
from kline_core.typing import Floats32

DIM: Final = 3
"""Numbers of a vector. Little is known of what follows a window, and each direction more spreads those that are alike
in it: with 16, a mean over the nearest says less than the layer that they were trained by."""
_SLICE: Final = 256
"""Windows that are encoded together; fewer are filled up, since products of other shapes round differently."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a network is trained."""

    epochs: int
    rate: float
    """Highest learning rate."""
    batch: int = 256
    decay: float = 1e-2
    """Weight decay."""


class Dropout(nn.Module):
    """Dropout by a generator of its own, which no other thread draws from (N. Srivastava et al., JMLR 15, 2014)."""

    def __init__(self, share: float, seed: int) -> None:
        """Leave out this share of the numbers."""
        super().__init__()
        self.kept = 1.0 - share
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, numbers: Tensor) -> Tensor:
        """Leave numbers out while training."""
        if not self.training:
            return numbers
        mask = torch.empty_like(numbers).bernoulli_(self.kept, generator=self.generator)
        return numbers * mask / self.kept


class NumbersNetwork(nn.Module):
    """Numbers of windows, float (n, m), to unit vectors (n, dim)."""

    def __init__(self, numbers: int, seed: int, dim: int = DIM, width: int = 96, dropout: float = 0.2) -> None:
        """A network with random weights."""
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(
            *(nn.Linear(numbers, width), nn.GELU(), Dropout(dropout, seed)),
            *(nn.Linear(width, width), nn.GELU(), Dropout(dropout, seed + 1)),
            nn.Linear(width, dim),
        )
        draw_weights((layer for layer in self.layers if isinstance(layer, nn.Linear)), seed)

    def forward(self, numbers: Tensor) -> Tensor:
        """Encode a batch."""
        return functional.normalize(self.layers(numbers), dim=1)


Body: TypeAlias = AttentionEncoder | NumbersNetwork
"""A network to unit vectors."""


def chart_network(weights: WeightsFile, seed: int) -> AttentionEncoder:
    """The encoder of a weights file but for its last layer, whose weights are random and give `DIM` numbers."""
    start = network_of(weights)
    body = AttentionEncoder(DIM, start.window_bars)
    draw_weights([body.latent], seed)
    kept = {name: tensor for name, tensor in start.state_dict().items() if not name.startswith("latent.")}
    body.load_state_dict(kept, strict=False)
    # A third quicker to train on a processor without AVX-512.
    body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return body


def draw_weights(layers: Iterable[nn.Linear], seed: int) -> None:
    """Give layers new random weights, by the law that torch itself uses (He et al., ICCV 2015, with a = sqrt(5)).

    By a generator of their own: torch's is one of the whole process, and folds are trained in several threads.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        reach = layer.in_features**-0.5
        for tensor in (layer.weight, layer.bias):
            nn.init.uniform_(tensor, -reach, reach, generator=generator)


def train_body(body: Body, inputs: Inputs, targets: Floats32, plan: Plan, seed: int) -> Body:
    """Train a network in the calling thread: `body`, to unit vectors of length `body.dim`, which is changed.

    Args:
        body: The network, with the weights to start from.
        inputs: Of n windows.
        targets: float32 (n, h), finite.
        plan: How it is trained.
        seed: Of the order of the windows and the last layer.
    """
    head = nn.Linear(body.dim, targets.shape[1])
    draw_weights([head], seed)
    generator = torch.Generator().manual_seed(seed)
    with one_thread():
        parameters = [*body.parameters(), *head.parameters()]
        batch = min(plan.batch, len(inputs))
        steps = len(inputs) // batch
        optimiser = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=plan.decay)
        total = steps * plan.epochs
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=total, pct_start=0.2)
        body.train()
        for _ in range(plan.epochs):
            order = torch.randperm(len(inputs), generator=generator).numpy()
            for start in range(0, steps * batch, batch):
                at = np.sort(order[start : start + batch])
                predicted = head(body(inputs.take(at)))
                loss = functional.mse_loss(predicted, torch.from_numpy(targets[at]))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
    return body.eval()


def body_vectors(body: Body, inputs: Inputs) -> Floats32:
    """Unit vectors of n windows, float32 (n, dim), made in the calling thread.

    The vector of a window does not depend on the others.
    """
    found = np.empty((len(inputs), body.dim), dtype=np.float32)
    with one_thread(), torch.inference_mode():
        for start in range(0, len(inputs), _SLICE):
            taken = inputs.take(slice(start, start + _SLICE))
            count = len(taken)
            if count < _SLICE:
                taken = torch.cat([taken, taken.new_zeros((_SLICE - count, *taken.shape[1:]))])
            found[start : start + count] = body(taken)[:count].numpy()
    return found
