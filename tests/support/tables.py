"""Rows of tables that were made up, for tests of how they are stored."""

import numpy as np
import pyarrow as pa

DAY = np.datetime64("2020-01-02", "D")


KEYS = ["symbol", "date", "fingerprint", "rank"]


def bar_rows(symbol: str, days: int, close: float = 10.0) -> pa.Table:
    prices = pa.array([close] * days)
    return pa.table(
        {
            "symbol": [symbol] * days,
            "date": pa.array(DAY + np.arange(days)),
            **dict.fromkeys(("open", "high", "low", "close"), prices),
            "adj_factor": [1.0] * days,
            "suspended": [False] * days,
        }
    )


def match_rows(ranks: list[int], horizon: int = 1, run: str = "a", symbol: str = "A") -> pa.Table:
    n = len(ranks)
    return pa.table(
        {
            "symbol": [symbol] * n,
            "date": pa.array(np.repeat(DAY, n)),
            "fingerprint": ["f"] * n,
            "rank": pa.array(ranks, pa.int16()),
            "match_symbol": ["B"] * n,
            "match_end": pa.array(np.repeat(DAY, n)),
            "similarity": [0.5] * n,
            "weight": [0.5] * n,
            f"r{horizon}": pa.array([0.1] * n, pa.float32()),
            "barrier": pa.array([1] * n, pa.int8()),
            "run_id": [run] * n,
        }
    )
