"""The leaves of a forest as a kernel: windows are near each other where many trees put them into one leaf.

What a forest predicts is a weighted mean of outcomes: with T trees, the window i weighs for the sample x

    w_i(x) = 1/T * sum over trees t of [leaf_t(i) = leaf_t(x)] / n_t(x)

where n_t(x) is the number of windows in the leaf of x (N. Meinshausen, Quantile Regression Forests, JMLR 7, 2006). Here
these are all patterns that were known on the sample's date and have an outcome, not those alone that the trees were
grown by, and without those that overlap the sample's window. A tree whose leaf then has none does not count.

The weights are summed by quarter of a year, as the mean and its error need no more (`kline_core.factor.kernel_means`):
each leaf has a table of its windows' number and outcomes by quarter, which grows from one sample date to the next.

Trees are scikit-learn's extremely randomised ones (P. Geurts, D. Ernst and L. Wehenkel, Machine Learning 63, 2006).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kline_core.factor.kernel_means import KernelMeans, means_of_quarters, quarters_of
from kline_core.learning import folds
from kline_core.learning.alike import LOOKED, scores_of
from kline_core.learning.folds import FoldAnswer, Taught
from kline_core.learning.inputs import Numbers, Windows
from kline_core.search.candidates import Candidates, Queries, Visible
from kline_core.search.selection import isolated
from kline_core.settings import FactorSettings
from kline_core.typing import Dates, Flags, Floats32, Int32s, Int64s

TREES: Final = 100
SMALLEST: Final = 500
"""Windows of a leaf that a tree is grown by, at least."""
TRIED: Final = 1 / 3
"""Share of the numbers of a window that a split is looked for among."""
SEED: Final = 0
_SLICE: Final = 16_384
"""Windows whose leaves are found at a time."""


def learn_leaves(windows: Windows, targets: Floats32) -> "LeafMetric":
    """Grow a forest by n windows and their rank targets, float32 (n, h). Raises ImportError without scikit-learn."""
    from sklearn.ensemble import ExtraTreesRegressor

    smallest = min(SMALLEST, max(1, len(windows) // 4))
    forest: Any = ExtraTreesRegressor(TREES, min_samples_leaf=smallest, max_features=TRIED, random_state=SEED, n_jobs=1)
    forest.fit(Numbers.of(windows).numbers, targets)
    return LeafMetric(forest)


@dataclass(frozen=True, slots=True, eq=False)
class LeafMetric:
    """A grown forest."""

    forest: Any

    def leaves(self, windows: Windows) -> Int32s:
        """The leaf of each of n windows in each of T trees, numbered through all trees: int32 (T, n)."""
        trees = [each.tree_ for each in self.forest.estimators_]
        ordinals = [np.cumsum(tree.children_left < 0) - 1 for tree in trees]
        first = np.concatenate([[0], np.cumsum([ordinal[-1] + 1 for ordinal in ordinals])])
        found = np.empty((len(trees), len(windows)), dtype=np.int32)
        for start in range(0, len(windows), _SLICE):
            part = slice(start, start + _SLICE)
            numbers = Numbers.of(windows.part(part)).numbers
            for number, (tree, ordinal) in enumerate(zip(trees, ordinals, strict=True)):
                found[number, part] = first[number] + ordinal[tree.apply(numbers)]
        return found

    def answer(self, taught: Taught, asked: Windows, dates: Dates) -> FoldAnswer:
        """See `kline_core.learning.learners.Metric`."""
        patterns = taught.patterns
        codes = patterns.codes_of(asked.symbols)[asked.code]
        queries = Queries(np.zeros((len(asked), 0), np.float32), dates, codes, asked.bar.astype(np.int32))
        visible = Visible.of(patterns, queries, asked.window_bars)
        seen, mine = self.leaves(taught.windows.part(slice(0, int(visible.known.max())))), self.leaves(asked)
        means = leaf_means(taught, seen, mine, queries, visible.known)
        # As of every learner: fewer would be all that there are, near or not.
        few = visible.eligible < folds.NEIGHBOURS
        for figures in (means.value, means.se, means.low, means.high, means.quarters):
            figures[few] = np.nan
        alike = np.full(len(asked), np.nan)
        looked = np.arange(0, len(asked), LOOKED)
        matches = np.stack(
            [
                _matches(taught, seen, mine[:, at], queries.part(slice(at, at + 1)), int(visible.known[at]))
                for at in looked.tolist()
            ]
        )
        alike[looked] = scores_of(matches, asked.part(looked), taught.windows)
        return FoldAnswer(means, alike)


def leaf_means(taught: Taught, seen: Int32s, mine: Int32s, queries: Queries, known: Int64s) -> KernelMeans:
    """Means of s samples over the windows of their leaves, by the weights of the text above.

    Args:
        taught: The patterns.
        seen: int32 (T, n): leaves of the first n of them, which are all that any sample may see.
        mine: int32 (T, s): leaves of the samples.
        queries: Dates, symbols and bars of the samples.
        known: int64 (s,): length of the prefix that each may see.
    """
    patterns = taught.patterns
    outcome = taught.outcome[: seen.shape[1]]
    there = ~np.isnan(outcome)
    quarter = quarters_of(patterns.end[: seen.shape[1]])
    if len(quarter):
        quarter -= quarter.min()
    width = int(quarter.max(initial=0)) + 1
    leaves = 1 + max(int(seen.max(initial=0)), int(mine.max(initial=0)))
    count, total = np.zeros((2, leaves, width))
    weight, pulled = np.zeros((2, len(known), width))
    own = _own(taught, queries, known, there)
    done = 0
    for prefix in np.unique(known).tolist():
        new = done + np.flatnonzero(there[done:prefix])
        place = (seen[:, new].astype(np.int64) * width + quarter[new]).ravel()
        np.add.at(count.reshape(-1), place, 1.0)
        np.add.at(total.reshape(-1), place, np.tile(outcome[new], len(seen)))
        done = prefix
        for query in np.flatnonzero(known == prefix).tolist():
            numbers, sums = count[mine[:, query]], total[mine[:, query]]
            for near in own.get(query, ()):
                same = seen[:, near] == mine[:, query]
                numbers[same, quarter[near]] -= 1.0
                sums[same, quarter[near]] -= outcome[near]
            each = numbers.sum(axis=1)
            use = each > 0
            share = 1.0 / (each[use] * max(1, use.sum()))
            # Summed tree by tree, so that no sum depends on how many quarters there are.
            weight[query] = (share[:, None] * numbers[use]).sum(axis=0)
            pulled[query] = (share[:, None] * sums[use]).sum(axis=0)
    return means_of_quarters(weight, pulled)


def _own(taught: Taught, queries: Queries, known: Int64s, there: Flags) -> dict[int, list[int]]:
    """Rows of the prefix of a sample that overlap its own window and have an outcome, by the sample."""
    found: dict[int, list[int]] = {}
    asked, row = taught.patterns.rows_near(queries.codes, queries.bars, taught.windows.window_bars)
    for query, near in zip(asked.tolist(), row.tolist(), strict=True):
        if near < known[query] and there[near]:
            found.setdefault(query, []).append(near)
    return found


def _matches(taught: Taught, seen: Int32s, mine: Int32s, query: Queries, known: int) -> Int64s:
    """A sample's best matches by the weights of the text above, chosen as those of the seed factor: int64 (5,).

    `mine`: int32 (T,).
    """
    patterns, settings = taught.patterns, FactorSettings()
    code, bar = patterns.code[:known], patterns.bar[:known]
    out = (code == query.codes[0]) & (np.abs(bar - query.bars[0]) < taught.windows.window_bars)
    out |= np.isnan(taught.outcome[:known])
    weight = np.zeros(known)
    for leaves, leaf in zip(seen, mine.tolist(), strict=True):
        same = np.flatnonzero((leaves[:known] == leaf) & ~out)
        weight[same] += 1.0 / max(1, len(same))
    best = np.lexsort((patterns.end[:known], code, -weight))[: settings.search_k]
    similarity = np.where(weight[best] > 0, weight[best], -np.inf)
    candidates = Candidates(best[None], code[best][None], bar[best][None], similarity[None])
    chosen = isolated(candidates, settings.top_k, settings.isolation_bars)[0]
    return np.where(chosen >= 0, best[chosen], -1)
