"""Charts to be encoded, and what is expected of whatever encodes them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kline_core.encoder.encoder import BATCH
from kline_core.encoder.synthetic import synthetic_market
from kline_core.encoder.training import WindowPool


def some_charts():
    """More than one batch of them."""
    pool = WindowPool.from_bars(synthetic_market(8, 200, 5), stride=7, seed=5)
    return pool.charts(np.arange(BATCH + 9))


def assert_threads_encode_the_same(encoder, vectors, charts):
    start = threading.Barrier(3)

    def work(first):
        start.wait()
        return encoder.encode(charts[first:])

    with ThreadPoolExecutor(3) as pool:
        for first, encoded in zip((0, 5, 30), pool.map(work, (0, 5, 30)), strict=True):
            np.testing.assert_array_equal(encoded, vectors[first:])
