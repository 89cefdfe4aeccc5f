"""The least work that the samples of our own algorithm ask for, and the time that it takes at the machine's peak.

The limit of a stage is the larger of two times: its float32 operations at the best rate of a matrix product, and its
bytes at the best rate of memory, each measured on this machine in the same run. It assumes that

* the work is exact and in float32, with this network and these patterns: every chart passes the whole network once, and
  every sample's vector is multiplied with every pattern known on its date, once (a multiplication and an addition count
  as two operations; the taps of a convolution that fall on its padding count too);
* every byte moves once: weights and the rows that any sample may see are read once for all samples, charts and vectors
  are written once and read once, scores are never written;
* all else is free: element-wise functions, the choice of the best, the second look at candidates, Python, the cluster.

So no program of this algorithm can beat it, and one that reaches it does nothing but matrix products.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kline_core.encoder.network import AttentionEncoder
from kline_core.factor.state import LoadedState
from kline_core.patterns.patterns import Patterns
from kline_core.typing import Int64s
from kline_core.windows.chart_rows import HEIGHT, PIXELS_PER_BAR

PRICES = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be done at least."""

    operations: float
    """Float32 additions and multiplications."""
    bytes: float

    def seconds(self, operations_per_second: float, bytes_per_second: float) -> float:
        """The shortest time that it can take."""
        return max(self.operations / operations_per_second, self.bytes / bytes_per_second)


def least_work(state: LoadedState, known: Int64s) -> dict[str, Work]:
    """Work by stage for samples that may see the first `known` (q,) patterns each."""
    window_bars, top_k = state.key.settings.patterns.window_bars, state.key.settings.factor.top_k
    network, patterns = state.encoder.loaded().network, state.patterns
    count = len(known)
    prices = count * window_bars * PRICES * 8
    charts = count * window_bars * PIXELS_PER_BAR * HEIGHT
    vectors = count * patterns.dim * 4
    weights = sum(tensor.numel() * 4 for tensor in network.parameters())
    seen = int(known.max(initial=0)) * patterns.dim * 4
    return {
        "render": Work(0, prices + charts),
        "encode": Work(count * encoder_operations(network), charts + weights + vectors),
        "search": Work(search_operations(patterns.dim, known), vectors + seen),
        "factor": Work(0, count * top_k * _match_bytes(patterns)),
    }


def search_operations(dim: int, known: Int64s) -> float:
    """Of the products of each sample's vector with all that it may see."""
    return 2.0 * dim * float(known.sum())


def encoder_operations(network: AttentionEncoder) -> int:
    """Of the matrix products for one chart: convolutions, attention and linear layers."""
    total = 0

    def layer(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d) and isinstance(output, Tensor):
            height, width = module.kernel_size
            taps = module.in_channels // module.groups * height * width
            total += 2 * output.numel() * taps
        elif isinstance(module, nn.MultiheadAttention):
            places, width = inputs[0].shape[1:]
            # Four projections of every place, then the scores and the weighted sum of every pair of places.
            total += 2 * places * width * (4 * width + 2 * places)
        elif isinstance(module, nn.Linear) and isinstance(output, Tensor):
            total += 2 * output.numel() * module.in_features

    # The attention's own linear layer is never called as a module, so nothing is counted twice.
    hooks = [module.register_forward_hook(layer) for module in network.modules()]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 1, network.window_bars * PIXELS_PER_BAR, HEIGHT))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _match_bytes(patterns: Patterns) -> int:
    columns = (patterns.code, patterns.bar, patterns.end, patterns.barrier)
    return sum(column.itemsize for column in columns) + patterns.returns.shape[1] * np.dtype(np.float32).itemsize
