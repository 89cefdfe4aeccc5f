"""A market for runs, and what they count and say."""

import dataclasses

import numpy as np

from tests.support.homes import market

BARS = 80
FRAME = market(4, BARS)
DAYS = np.unique(FRAME["date"].to_numpy()).astype("datetime64[D]")
SYMBOLS = [f"S0000{number}" for number in range(4)]


def first(frame, bars):
    return frame[frame.groupby("symbol").cumcount() < bars]


def counts(report):
    found = {name: report.count(name) for name in ("samples", "done", "failed", "reused")}
    assert found["samples"] == found["done"] + found["failed"] + found["reused"]
    for result in report.symbols:
        assert result.samples == result.done + result.failed + result.reused
        assert sum(result.reasons.values()) == result.failed
    return tuple(found.values())


def overheard(cluster):
    """The cluster, and what is said of its work from now on."""
    said = []
    return dataclasses.replace(cluster, log=lambda *record: said.append(record)), said
