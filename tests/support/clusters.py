"""Questions to either kind of cluster."""

import pytest

from kline_core.compute import tasks

STANDING = pytest.param("standing", marks=[pytest.mark.cluster, pytest.mark.slow])
both = pytest.mark.parametrize("opened", ["in process", STANDING], indirect=True)


def planned(cluster, key, symbol, samples):
    (dates,) = cluster.call(tasks.plan, key, [symbol], samples, None)
    return dates


def scored(cluster, key, batch, chunks=1):
    answers = cluster.submit(tasks.score, [(key, chunk) for chunk in batch.chunks(chunks)])
    return [answer.result() for answer in answers]
