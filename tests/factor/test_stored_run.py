"""Versions of a table that hold the rows of a run."""

import pytest

from kline_core.factor.stored_run import last_versions


def history(*writers):
    """Commits by their writers, oldest first; None for a compaction, "" for one that is no run's."""
    commits = [
        {
            "version": version,
            "operation": "OPTIMIZE" if writer is None else "MERGE",
            "metadata": {"run_id": writer} if writer else {},
        }
        for version, writer in enumerate(writers)
    ]
    return commits[::-1]


@pytest.mark.parametrize(
    ("writers", "versions"),
    [
        ([], []),
        (["", "b"], []),
        (["", "a"], [1]),
        (["", "a", "a", "b"], [2]),
        (["", "a", "b", "a", "a", ""], [1, 4]),
        (["", "a", None, "a", None, "b"], [3]),
        (["", "a", None, "b", "a"], [1, 4]),
    ],
)
def test_the_last_version_before_each_other_writer(writers, versions):
    assert last_versions(history(*writers), "a") == versions
