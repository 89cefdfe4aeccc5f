"""Markets with charts that tell what follows."""

import numpy as np

from kline_core.encoder.synthetic import random_walk
from tests.support.frames import PRICES, plain, times


def planted_market(symbols: int, n_bars: int, seed: int, tells: bool):
    """Random walks with plants at random places: a V or an inverted V, and then a rise or a fall.

    A V is a fall by 20 % over ten bars and the way back over the next nine; a rise is 15 % over ten bars, beginning
    two bars after the V, so that the entry lies before it; the inverted V and the fall mirror them in the log price.
    The daily noise is 1 %. Where the plants tell, a V is followed by a rise and an inverted V by a fall; else a coin
    decides.

    Returns the bars, and of each plant the symbol, its last bar, whether it was a V and whether a rise followed.
    """
    rng = np.random.default_rng(seed)
    shape = np.concatenate([np.full(10, np.log(0.8) / 10), np.full(9, -np.log(0.8) / 9)])
    rise = np.concatenate([[0.0], np.full(10, 0.014)])
    path = np.zeros((symbols, n_bars))
    plants = []
    for symbol in range(symbols):
        first = int(rng.integers(20, 60))
        while (end := first + len(shape) + len(rise)) + 30 < n_bars:
            is_v, coin = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
            rose = is_v if tells else coin
            path[symbol, first:end] = np.concatenate([shape if is_v else -shape, rise if rose else -rise])
            plants.append((symbol, first + len(shape) - 1, is_v, rose))
            first = end + int(rng.integers(40, 90))
    after = np.exp(np.cumsum(path, axis=1))
    before = np.concatenate([np.ones((symbols, 1)), after[:, :-1]], axis=1)
    planted = {"open": before, "high": np.maximum(before, after), "low": np.minimum(before, after), "close": after}
    levels = np.stack([planted[price] for price in PRICES], axis=-1).reshape(-1, 4)
    return times(plain(random_walk(symbols, n_bars, seed, sigma=0.01)), levels), plants
