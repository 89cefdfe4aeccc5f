"""How well vectors find what the full-mode score would have found, on the bars of any home.

    python -m tests.benchmarks.encoder --home H [--weights FILE ...]

Random windows of the home's bars are the queries, others the history; windows that overlap the query's own are left
out. For each kind of vector: the mean full score of its five nearest, the share of the five windows with the best full
score found among its five and its 300 nearest, and the mean cosine of random pairs. The point-in-time rule plays no
part here: this measures likeness, not prediction.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.network import AttentionEncoder
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.typing import Floats32, Pixels
from kline_core.windows.charts import render_charts
from kline_core.windows.similarity import Shapes, pair_scores
from kline_core.windows.windows import usable_ends

BARS, COMPONENTS = 20, 64


class Windows:
    """Random windows of a home, the queries first."""

    def __init__(self, home: str, queries: int, history: int, seed: int) -> None:
        frames = list(bars_by_symbol(Home(home).read("bars")).values())
        ends = [usable_ends(bars, PatternSettings(window_bars=BARS)) for bars in frames]
        which = np.concatenate([np.full(len(end), at) for at, end in enumerate(ends)])
        end = np.concatenate(ends)
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(end), min(queries + history, len(end)), replace=False)
        self.symbol, self.end, self.queries = which[chosen], end[chosen], queries
        self.prices = [np.empty((len(chosen), BARS)) for _ in range(4)]
        for at, bars in enumerate(frames):
            rows = np.flatnonzero(self.symbol == at)
            place = self.end[rows][:, None] + np.arange(1 - BARS, 1)
            for price, column in zip(self.prices, (bars.open, bars.high, bars.low, bars.close), strict=True):
                price[rows] = column[place]
        self.charts = render_charts(*self.prices)
        self.shapes = Shapes.of(*self.prices)

    def full_scores(self) -> Floats32:
        """Full score of every query with every window of the history, NaN where the windows overlap."""
        history = slice(self.queries, None)
        count = len(self.end) - self.queries
        scores = np.empty((self.queries, count), np.float32)
        for query in range(self.queries):
            scores[query] = pair_scores(self.shapes[np.full(count, query)], self.shapes[history])
            overlap = np.abs(self.end[history] - self.end[query]) < BARS
            scores[query, overlap & (self.symbol[history] == self.symbol[query])] = np.nan
        return scores


def unit(rows: Floats32) -> Floats32:
    """Rows of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def pixel_components(charts: Pixels) -> Floats32:
    """The charts' first principal components, fitted on every sixth of them."""
    pixels = charts.reshape(len(charts), -1).astype(np.float32) / 255
    pixels -= pixels.mean(axis=0)
    _, directions = np.linalg.eigh(pixels[::6].T @ pixels[::6])
    return unit(pixels @ directions[:, -COMPONENTS:])


def kinds(windows: Windows, weights: list[Path]) -> Iterator[tuple[str, Floats32]]:
    """Vectors to compare, by name."""
    yield "normalised closes, no image", unit(windows.shapes.closes)
    yield f"{COMPONENTS} principal components of pixels", pixel_components(windows.charts)
    torch.manual_seed(0)
    yield "untrained network", Encoder(AttentionEncoder(), "untrained").encode(windows.charts)
    yield "default encoder", Encoder.load(device="cpu").encode(windows.charts)
    for path in weights:
        yield path.name, Encoder.load(path, "cpu").encode(windows.charts)


def measure(windows: Windows, scores: Floats32, vectors: Floats32) -> dict[str, float]:
    """The four figures of one kind of vector."""
    overlap = np.isnan(scores)
    best = np.argsort(-np.where(overlap, -1, scores), axis=1)[:, :5]
    likeness = np.where(overlap, -np.inf, vectors[: windows.queries] @ vectors[windows.queries :].T)
    nearest = np.argsort(-likeness, axis=1)[:, :300]
    found = (best[:, :, None] == nearest[:, None, :]).any(axis=2) if nearest.size else np.zeros_like(best)
    found5 = (best[:, :, None] == nearest[:, None, :5]).any(axis=2)
    a, b = np.random.default_rng(0).integers(0, len(vectors), (2, 50_000))
    return {
        "mean full score of its top 5": float(np.take_along_axis(scores, nearest[:, :5], 1).mean()),
        "of full mode's top 5, in its top 5": float(found5.mean()),
        "in its top 300": float(found.mean()),
        "mean cosine of random pairs": float((vectors[a] * vectors[b]).sum(axis=1).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", required=True)
    parser.add_argument("--weights", type=Path, nargs="*", default=[])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--history", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    windows = Windows(options.home, options.queries, options.history, options.seed)
    scores = windows.full_scores()
    ordered = np.sort(np.where(np.isnan(scores), -1, scores), axis=1)
    print(f"{windows.queries} queries, {scores.shape[1]} windows; full score of random pairs {np.nanmean(scores):.4f},")
    print(f"best possible mean of a top 5 {ordered[:, -5:].mean():.4f}\n")
    results = {}
    for name, vectors in kinds(windows, options.weights):
        results[name] = measure(windows, scores, vectors)
        if len(results) == 1:
            print("| vector | " + " | ".join(results[name]) + " |\n|---|" + "---:|" * len(results[name]))
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in results[name].values()) + " |", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
