"""The model card of trained weights, as JSON, and a picture of what their vectors keep of charts."""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from kline_core import __version__
from kline_core.encoder.encoder import Encoder, load_decoder
from kline_core.encoder.training import GROUP_SIZE, GROUPS, Training, WindowPool
from kline_core.encoder.weights import SYNTHETIC, weights_fingerprint
from kline_core.windows.charts import to_picture

PICTURED = 12
"""Charts in the picture."""


def write_card(weights: Path, training: Training, pool: WindowPool, seed: int, seconds: float) -> dict[str, Any]:
    """Write the model card beside the weights, in a file of the same name that ends in `.json`, and return it.

    `seconds` is the time that the training took.
    """
    every = max(1, len(training.history) // 40)
    card = {
        "weights": weights.name,
        "fingerprint": weights_fingerprint(weights),
        "trained_on": f"{SYNTHETIC} (kline_core.encoder.synthetic.synthetic_market); no market data",
        "windows": len(pool),
        "seed": seed,
        "steps": 100 * len(training.history),
        "batch": GROUPS * GROUP_SIZE,
        "dim": training.encoder.dim,
        "parameters": sum(weight.numel() for weight in training.encoder.parameters()),
        "mean_score_of_random_pairs": round(training.random_score, 4),
        "losses": [
            {
                "step": 100 * (at + 1),
                "pair": round(loss.pair, 5),
                "rank": round(loss.rank, 5),
                "pixel": round(loss.pixel, 5),
            }
            for at, loss in enumerate(training.history)
            if (at + 1) % every == 0 or at + 1 == len(training.history)
        ],
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "versions": {"kline": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "processor": platform.machine(),
    }
    weights.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def reconstruction_picture(weights: Path, pool: WindowPool, path: Path) -> None:
    """Draw charts of the pool (upper row of each pair) above the decoder's reconstructions from vectors (lower row)."""
    charts = pool.charts(np.arange(PICTURED))
    vectors = Encoder.load(weights, "cpu").encode(charts)
    with torch.inference_mode():
        decoded = torch.sigmoid(load_decoder(weights)(torch.from_numpy(vectors))).squeeze(1).mul(255).byte().numpy()
    across = PICTURED // 2
    width, height = (side + 12 for side in to_picture(charts[0], 3).size)
    sheet = Image.new("L", (across * width, 4 * height), 64)
    for at in range(PICTURED):
        left, top = at % across * width, at // across * 2 * height
        sheet.paste(to_picture(charts[at], 3), (left, top))
        sheet.paste(to_picture(decoded[at], 3), (left, top + height))
    sheet.save(path)
