"""The network: an attention convolutional autoencoder for candlestick charts.

Strided convolutions reduce the `60 x 64` chart to a grid of 10 times 2 places, multi-head self-attention (Vaswani et
al., "Attention Is All You Need", 2017) lets every place see the whole chart, and one linear layer gives the latent
vector, which is scaled to length 1. The decoder serves only training, and pictures of what a vector keeps.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kline_core.encoder.weights import DECODER_CHANNELS, DECODER_ROWS
from kline_core.typing import Pixels
from kline_core.windows.chart_rows import HEIGHT, PIXELS_PER_BAR


class AttentionEncoder(nn.Module):
    """Charts `(n, 1, 3 * bars, 64)` float in 0..1 to latents `(n, dim)` of length 1."""

    def __init__(self, dim: int = 64, window_bars: int = 20, heads: int = 4) -> None:
        """A network with random weights."""
        super().__init__()
        self.dim, self.window_bars = dim, window_bars
        self.convolutions = nn.Sequential(
            # One step of the first layer is one bar: the stride along time is the bar's three columns.
            nn.Conv2d(1, 24, (PIXELS_PER_BAR, 8), (PIXELS_PER_BAR, 4), (0, 2), bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 48, (3, 4), (1, 2), (1, 1), bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, (1, 2), 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
        )
        places = self._places(window_bars)
        self.place = nn.Parameter(torch.randn(places, 128) * 0.02)
        self.norm = nn.LayerNorm(128)
        self.attention = nn.MultiheadAttention(128, heads, batch_first=True)
        self.latent = nn.Linear(places * 128, dim)

    @staticmethod
    def _places(window_bars: int) -> int:
        return ((window_bars + 1) // 2) * (HEIGHT // 32)

    @classmethod
    def largest_layer(cls, dim: int, window_bars: int) -> int:
        """Numbers in the layer that grows with both sizes."""
        return dim * cls._places(window_bars) * 128

    def forward(self, charts: Tensor) -> Tensor:
        """Encode a batch."""
        places = self.convolutions(charts).flatten(2).transpose(1, 2) + self.place
        seen = self.norm(places)
        places = places + self.attention(seen, seen, seen, need_weights=False)[0]
        return functional.normalize(self.latent(places.flatten(1)), dim=1)


class ChartDecoder(nn.Module):
    """Latents `(n, dim)` back to charts `(n, 1, 3 * bars, 64)`, as logits of the brightness."""

    def __init__(self, dim: int = 64, window_bars: int = 20) -> None:
        """A network with random weights."""
        super().__init__()
        self.bars = window_bars
        self.spread = nn.Linear(dim, DECODER_CHANNELS * window_bars * DECODER_ROWS)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(DECODER_CHANNELS, 32, (3, 4), (1, 4), (1, 0)),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, (PIXELS_PER_BAR, 4), (PIXELS_PER_BAR, 4)),
        )

    @classmethod
    def largest_layer(cls, dim: int, window_bars: int) -> int:
        """Numbers in the layer that grows with both sizes."""
        return dim * DECODER_CHANNELS * window_bars * DECODER_ROWS

    def forward(self, latents: Tensor) -> Tensor:
        """Decode a batch."""
        logits: Tensor = self.layers(self.spread(latents).view(-1, DECODER_CHANNELS, self.bars, DECODER_ROWS))
        return logits


def to_input(charts: Pixels, device: torch.device | None = None) -> Tensor:
    """uint8 charts `(n, width, 64)` as the network's float32 input `(n, 1, width, 64)` in 0..1."""
    return torch.from_numpy(charts).to(device).unsqueeze(1).float().div_(255.0)


def without_batch_norm(network: AttentionEncoder) -> AttentionEncoder:
    """The same function with every batch normalisation folded into the convolution before it."""
    network = copy.deepcopy(network)
    layers = list(network.convolutions)
    fused: list[nn.Module] = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            fused.append(fuse_conv_bn_eval(layer, following))
        elif not isinstance(layer, nn.BatchNorm2d):
            fused.append(layer)
    network.convolutions = nn.Sequential(*fused)
    return network
