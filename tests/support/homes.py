"""Small homes and encoders for tests: windows of five bars, so that little has to be encoded."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from kline_core.encoder.encoder import save_weights
from kline_core.encoder.network import AttentionEncoder, ChartDecoder
from kline_core.encoder.synthetic import synthetic_market
from kline_core.encoder.weights import SYNTHETIC, weights_fingerprint
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema

WINDOW_BARS = 5
SMALL = PatternSettings(window_bars=WINDOW_BARS, horizons=(1, 3), barrier_bars=4)
"""Outcomes are known five bars after a window's end."""


def write_encoder(path, seed=0, dim=8, window_bars=WINDOW_BARS, trained_through=None) -> Path:
    """Untrained weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        header = {"trained_through": trained_through} if trained_through else {}
        save_weights(path, AttentionEncoder(dim, window_bars), ChartDecoder(dim, window_bars), header)
    if trained_through is None:
        write_synthetic_card(path)
    return path


def write_synthetic_card(weights: Path) -> None:
    """The part of a model card that says that weights have seen no market."""
    card = {"fingerprint": weights_fingerprint(weights), "trained_on": SYNTHETIC}
    weights.with_suffix(".json").write_text(json.dumps(card))


def market(n_symbols=3, n_bars=30, seed=0, start="2020-01-06", prefix="S") -> pd.DataFrame:
    """Synthetic bars with the columns of the `bars` table, ordered by symbol and date."""
    frame = synthetic_market(n_symbols, n_bars, seed).to_frame(start, prefix)
    return frame.assign(amount=np.nan, adj_factor=1.0, suspended=False)


def add_bars(home, frame) -> int:
    schema = table_schema("bars")
    return home.append("bars", pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False))


def make_home(path, frame) -> Home:
    home = Home(path, create=True)
    add_bars(home, frame)
    return home


def replace_bars(home, frame, symbol) -> int:
    """Put the bars of one symbol in the place of those that are stored."""
    schema = table_schema("bars")
    rows = frame[frame["symbol"] == symbol]
    return home.replace("bars", pa.Table.from_pandas(rows[schema.names], schema, preserve_index=False), [symbol])
