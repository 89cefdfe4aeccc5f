"""Frames of bars: markets with nothing to find, and what is done to them."""

import numpy as np

from kline_core.encoder.synthetic import random_walk

PRICES = ["open", "high", "low", "close"]


def plain(bars, start="2010-01-04", prefix="SYN"):
    """Synthetic bars with the columns of the `bars` table."""
    return bars.to_frame(start, prefix).assign(amount=np.nan, adj_factor=1.0, suspended=False)


def times(frame, levels):
    """The same bars with the prices of each row multiplied by `levels`, which may differ by column (n, 4)."""
    scaled = frame.copy()
    scaled[PRICES] = frame[PRICES].to_numpy() * levels
    return scaled


def walks_together(groups, per_group, n_bars, seed, share=0.8):
    """Random walks of which those of one group share part of every step, as the shares of one industry do.

    Each of them by itself is a pure random walk, and nothing in the past of all of them says anything of what comes.
    """
    frame = plain(random_walk(groups * per_group, n_bars, seed))
    common = random_walk(groups, n_bars, seed + 1).to_frame()[PRICES].to_numpy().reshape(groups, 1, n_bars, 4) / 100
    common = np.broadcast_to(common, (groups, per_group, n_bars, 4)).reshape(-1, 4)
    own = frame[PRICES].to_numpy() / 100
    return times(frame, 100 * common ** np.sqrt(share) * own ** np.sqrt(1 - share) / frame[PRICES].to_numpy())


def perturbed(frame, after, seed):
    """The frame with the bars of all symbols after a date replaced by a random walk from the last close on."""
    parts = []
    for _, bars in frame.groupby("symbol", sort=False):
        later = bars["date"].to_numpy() > after
        walk = random_walk(1, max(1, int(later.sum())), seed + len(parts), 0.04).to_frame()[PRICES].to_numpy()
        close = bars["close"].to_numpy()
        last = close[~later][-1] if (~later).any() else close[0]
        bars = bars.copy()
        bars.loc[later, PRICES] = walk[: later.sum()] / 100 * last
        bars.loc[later, ["suspended", "adj_factor"]] = [False, bars["adj_factor"].iloc[0]]
        parts.append(bars)
    return type(frame)(np.concatenate([part.to_numpy() for part in parts]), columns=frame.columns).astype(frame.dtypes)
