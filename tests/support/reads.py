"""Which data files are read whole, so that no test of how little is read relies on seconds."""

from collections import Counter

import pytest

from kline_core.store import checksums


def reads_of_files(monkeypatch: pytest.MonkeyPatch) -> "Counter[str]":
    """Reads of each data file of tables with checksums from now on, by name."""
    found: Counter[str] = Counter()
    content_of = checksums.content_of

    def counting(storage, name):
        if name.endswith(".parquet"):
            found[name] += 1
        return content_of(storage, name)

    monkeypatch.setattr(checksums, "content_of", counting)
    return found
