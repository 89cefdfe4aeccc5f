"""The kernel of a forest's leaves equals a loop over all windows, trees and quarters."""

import numpy as np
import pytest

from kline_core.learning.leaves import leaf_means, learn_leaves
from kline_core.search.candidates import Queries
from tests.naive import mean_by_quarters

pytestmark = pytest.mark.slow
TREES, LEAVES = 7, 4


def slow_leaf_mean(taught, seen, mine, query, known):
    """Mean, error and quarters of one sample: a weight for each window that it may see, then `mean_by_quarters`."""
    code, bar = query
    patterns, outcome = taught.patterns, taught.outcome
    eligible = [
        row
        for row in range(known)
        if not np.isnan(outcome[row])
        and not (patterns.code[row] == code and abs(patterns.bar[row] - bar) < taught.windows.window_bars)
    ]
    weights = dict.fromkeys(eligible, 0.0)
    filled = 0
    for tree in range(len(seen)):
        leaf = [row for row in eligible if seen[tree, row] == mine[tree]]
        filled += bool(leaf)
        for row in leaf:
            weights[row] += 1 / len(leaf)
    rows = np.array(eligible, dtype=np.int64)
    quarter = patterns.end[rows].astype("datetime64[M]").astype(int) // 3
    return mean_by_quarters(np.array([weights[row] / max(filled, 1) for row in eligible]), outcome[rows], quarter)


def test_means_are_those_of_a_loop_over_all_windows(noise_study):
    taught, rng = noise_study.taught, np.random.default_rng(1)
    patterns = taught.patterns
    number = len(patterns)
    first = LEAVES * np.arange(TREES, dtype=np.int32)[:, None]
    # A leaf of the last tree has no window at all, and that of the first one few.
    seen = (rng.integers(0, LEAVES - 1, (TREES, number)) + first).astype(np.int32)
    seen[0, rng.permutation(number)[:5]] = LEAVES - 1
    known = np.sort(rng.integers(0, number, 12))
    known[:3] = 0, 1, 30
    mine = (rng.integers(0, LEAVES, (TREES, 12)) + first).astype(np.int32)
    near = np.maximum(known - 40, 0)
    bars = patterns.bar[near] + rng.integers(-5, 5, 12).astype(np.int32)
    queries = Queries(np.zeros((12, 0), np.float32), patterns.known_on[near], patterns.code[near], bars)
    found = leaf_means(taught, seen, mine, queries, known)
    wanted = [
        slow_leaf_mean(taught, seen, mine[:, at], (queries.codes[at], bars[at]), int(known[at])) for at in range(12)
    ]
    figures = np.array([found.value, found.se, found.quarters]).T
    assert figures == pytest.approx(np.array(wanted), rel=1e-9, abs=1e-12, nan_ok=True)
    assert np.isnan(found.value[:3]).all()
    assert not np.isnan(found.value[-2:]).any()


def test_a_window_has_the_same_leaves_whatever_stands_beside_it(noise_study):
    taught = noise_study.taught
    some = noise_study.folds[2016].learned[:300]
    metric = learn_leaves(taught.windows.part(some), taught.targets[some])
    together = metric.leaves(taught.windows.part(slice(0, 700)))
    np.testing.assert_array_equal(metric.leaves(taught.windows.part(slice(37, 391))), together[:, 37:391])
    # Leaves of two trees have no number in common.
    assert (np.diff(together.min(axis=1)) > 0).all()
    assert len(np.unique(together)) == sum(len(np.unique(tree)) for tree in together)
