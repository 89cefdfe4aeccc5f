"""Patterns that were made up, without bars and without an encoder."""

import numpy as np

DAY_0 = np.datetime64("2020-01-01", "D")


def columns(symbol, bar, delay=21, seed=0, dim=3):
    """Arguments of `Patterns.from_arrays`: bars are calendar days, outcomes known `delay` days later."""
    rng = np.random.default_rng(seed)
    bar = np.asarray(bar, dtype=np.int64)
    vectors = rng.standard_normal((len(bar), dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return {
        "symbol": list(symbol),
        "end": DAY_0 + bar,
        "known_on": DAY_0 + bar + delay,
        "bar": bar.astype(np.int32),
        "returns": rng.standard_normal((len(bar), 4)).astype(np.float32),
        "barrier": rng.integers(-1, 2, len(bar)).astype(np.int8),
        "content": rng.integers(0, 2**63, len(bar)).astype(np.uint64),
        "vectors": vectors,
    }
