"""Encoders that have learned from a market: one for each year, from what was known before it.

Each is what the learner `charts` teaches for the year's samples (`kline_core.learning.learners`), as weights that
`kline index` and `kline run` take: its header says `trained_through`, the last day of the year before, and samples up
to that day are refused. What it learned from is named by `learned`, so that a year whose patterns have changed since is
told from one that is done.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from kline_core.encoder.encoder import save_weights
from kline_core.encoder.network import AttentionEncoder
from kline_core.encoder.weights import DEFAULT_FINGERPRINT, weights_fingerprint
from kline_core.learning.folds import taught_horizons
from kline_core.learning.inputs import Charts
from kline_core.learning.learners import CHARTS_PLAN, MOST_CHARTS, teach_charts
from kline_core.learning.networks import DIM
from kline_core.learning.protocol import LoadedStudy

RECIPE: Final = 1
"""Version of what is taught and how. Raise it with any change, so that encoders of older and newer code are not taken
for the same."""


@dataclass(frozen=True, slots=True)
class YearWeights:
    """Weights for a year, as arrays that may be sent."""

    year: int
    window_bars: int
    horizons: list[int]
    """Bars over which the returns are whose ranks were taught."""
    arrays: dict[str, npt.NDArray[Any]]
    windows: int
    """Windows that were learned from."""
    learned: str
    """Names what was learned from: 16 hexadecimal digits."""


def learned_from(loaded: LoadedStudy, year: int) -> str:
    """Name of what the encoder of a year learns from."""
    fold = loaded.folds[year]
    history = loaded.taught.patterns.history[int(fold.learned[-1]) + 1]
    horizons = taught_horizons(loaded.state.key.settings)
    text = f"{RECIPE} {DEFAULT_FINGERPRINT} {year} {int(history):016x} {len(fold.learned)} {horizons}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def teach_year(loaded: LoadedStudy, year: int) -> YearWeights:
    """Teach the encoder of a year in the calling thread."""
    learned = loaded.folds[year].learned
    body = teach_charts(Charts, loaded.taught.windows.part(learned), loaded.taught.targets[learned])
    arrays = {name: tensor.contiguous().numpy() for name, tensor in body.state_dict().items()}
    horizons = taught_horizons(loaded.state.key.settings)
    return YearWeights(year, body.window_bars, horizons, arrays, len(learned), learned_from(loaded, year))


def write_year(found: YearWeights, path: Path, home: str) -> dict[str, Any]:
    """Write the weights of a year, and return their card. Raises `EncoderError` as `save_weights`."""
    network = AttentionEncoder(DIM, found.window_bars)
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in found.arrays.items()})
    taught = taught_alike(home, found.year, found.window_bars, found.horizons)
    save_weights(path, network, None, {"trained_through": taught["trained_through"]})
    return {
        "weights": path.name,
        "fingerprint": weights_fingerprint(path),
        **taught,
        "windows": min(found.windows, MOST_CHARTS),
        "learned": found.learned,
    }


def taught_alike(home: str, year: int, window_bars: int, horizons: list[int]) -> dict[str, Any]:
    """What the card of a year's encoder says of how it was taught, whatever the bars were then."""
    through = f"{year - 1:04d}-12-31"
    return {
        "trained_on": f"charts of {home} whose outcome was known by {through}, from the default weights",
        "trained_through": through,
        "taught": f"ranks of the returns over {' and '.join(map(str, horizons))} bars among the windows of a day",
        "window_bars": window_bars,
        "epochs": CHARTS_PLAN.epochs,
        "recipe": f"{RECIPE} {DEFAULT_FINGERPRINT}",
    }
