"""Digests of matches: they tell one match from another, and their sums one set of matches from another."""

import numpy as np
import pyarrow as pa
import pytest

from kline_core.factor.match_digest import match_digests, value_digests
from kline_core.factor.rows import match_rows

HISTORY = np.array([11, 11, 12], np.uint64)


def rows(**changed):
    columns = {
        "symbol": np.array(["A", "A", "B"], dtype=object),
        "date": np.array(["2024-01-02", "2024-01-02", "2024-01-03"], "datetime64[D]"),
        "rank": np.array([1, 2, 1], np.int16),
        "match_symbol": np.array(["X", "Y", "X"], dtype=object),
        "match_end": np.array(["2020-01-02", "2020-01-03", "2020-01-02"], "datetime64[D]"),
        "similarity": np.array([0.9, 0.8, 0.7]),
        "weight": np.array([0.5, 0.25, 0.125]),
        "r1": np.array([0.01, -0.02, 0.0], np.float32),
        "r5": np.array([0.05, 0.0, np.nan], np.float32),
        "barrier": np.array([1, -1, 0], np.int8),
    }
    return match_rows(columns | changed)


def changed(name, value):
    column = rows()[name].to_numpy(zero_copy_only=False).copy()
    column[1] = value
    return rows(**{name: column})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("rank", 3), ("match_symbol", "Z"), ("match_end", np.datetime64("2020-01-04")), ("barrier", 0)],
        *[("similarity", np.nextafter(0.8, 1)), ("weight", 0.26), ("r1", 0.02), ("r5", np.nan)],
    ],
)
def test_every_cell_counts_and_counts_for_its_own_row(name, value):
    before, after = match_digests(rows(), HISTORY), match_digests(changed(name, value), HISTORY)
    assert np.flatnonzero(before != after).tolist() == [1]


def test_the_lineage_of_the_sample_counts():
    after = match_digests(rows(), HISTORY + np.uint64(1))
    assert not (match_digests(rows(), HISTORY) == after).any()


def test_columns_of_horizons_that_others_have_do_not_count():
    wider = rows().append_column("r20", pa.nulls(3, pa.float32()))
    np.testing.assert_array_equal(match_digests(wider, HISTORY), match_digests(rows(), HISTORY))


def test_the_same_in_every_version_of_the_code():
    # Written once: stored matches carry these numbers.
    assert match_digests(rows(), HISTORY).tolist() == [
        8975374372542244340,
        11749316115563678452,
        13908401224214337291,
    ]


def test_a_value_is_tied_to_itself_and_to_all_of_its_matches():
    values, sample = np.array([0.5, np.nan, 0.25]), np.array([0, 0, 2])
    digests = np.array([2**63 + 5, 2**63 + 6, 7], np.uint64)
    ties = value_digests(values, digests, sample)
    assert len(set(ties.tolist())) == 3
    assert value_digests(values, digests[[1, 0, 2]], sample).tolist() == ties.tolist()
    for other in (
        value_digests(np.nextafter(values, 1), digests, sample),
        value_digests(values, digests, np.array([0, 1, 2])),
        value_digests(values, digests[:1], sample[:1]),
    ):
        assert (other != ties).any()
    nothing = value_digests(np.full(1, np.nan), digests[:0], sample[:0])
    assert nothing.tolist() == [ties[1]]


def test_a_value_is_tied_to_the_figures_of_its_second_one():
    values, digests, sample = np.array([0.5, np.nan, 0.25]), np.zeros(0, np.uint64), np.zeros(0, np.int64)
    none = [np.full(3, np.nan), np.full(3, np.nan)]
    ties = value_digests(values, digests, sample)
    assert value_digests(values, digests, sample, none).tolist() == ties.tolist()
    rank, quarters = np.array([0.1, np.nan, 0.2]), np.array([4.0, np.nan, 5.0])
    second = value_digests(values, digests, sample, [rank, quarters])
    assert (second == ties).tolist() == [False, True, False]
    for others in ([np.nextafter(rank, 1), quarters], [quarters, rank], [rank, none[0]], [rank, quarters + 1]):
        assert (value_digests(values, digests, sample, others) == second).tolist() == [False, True, False]
